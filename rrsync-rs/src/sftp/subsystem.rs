//! The request for SFTP: the server's `Subsystem` line, as sshd hands it over.

/// What the server's administrator says in the `Subsystem` line, as far as it concerns a client.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub struct Subsystem {
    /// `-u`: the umask.
    pub umask: Option<u16>,
}

impl Subsystem {
    /// Reads a `Subsystem` line, which sshd hands over as the client's command: `internal-sftp` or the path of
    /// `sftp-server`, with options that an administrator writes. The line itself is never run.
    ///
    /// Options that would change what a client may do (`-R`, `-P`, `-d`) are refused: here the grant says that.
    pub fn read(line: &[u8]) -> Option<Self> {
        let text = std::str::from_utf8(line).ok()?;
        let mut words = text.split(' ');
        let program = words.next()?;
        let server = program.strip_suffix("/sftp-server").is_some_and(|directory| {
            directory.starts_with('/') && directory.split('/').all(|part| part != ".." && part != ".")
        });
        if program != "internal-sftp" && !server {
            return None;
        }
        let mut subsystem = Self::default();
        while let Some(option) = words.next() {
            match option {
                "-u" => {
                    let mask = u16::from_str_radix(words.next()?, 8).ok().filter(|mask| *mask <= 0o777)?;
                    subsystem.umask = Some(mask);
                }
                "-l" => {
                    let level = words.next()?;
                    ["QUIET", "FATAL", "ERROR", "INFO", "VERBOSE"].contains(&level).then_some(())?;
                }
                "-f" => {
                    let facility = words.next()?;
                    (facility == "AUTH" || facility == "USER" || facility.starts_with("LOCAL"))
                        .then_some(())?;
                }
                _ => return None,
            }
        }
        Some(subsystem)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn subsystem_lines_are_read_and_nothing_else() {
        let read = |line: &str| Subsystem::read(line.as_bytes());
        let plain = Some(Subsystem::default());
        for line in [
            "internal-sftp",
            "/usr/lib/openssh/sftp-server",
            "/usr/libexec/sftp-server -f AUTH -l INFO",
            "internal-sftp -l VERBOSE",
        ] {
            assert_eq!(read(line), plain, "{line}");
        }
        assert_eq!(read("internal-sftp -l INFO -u 027"), Some(Subsystem { umask: Some(0o27) }));
        for line in [
            "sftp-server",
            "internal-sftpx",
            "INTERNAL-SFTP",
            "internal-sftp ",
            "internal-sftp\tx",
            "internal-sftp -d /",
            "internal-sftp -u 9",
            "internal-sftp -u",
            "internal-sftp -R",
            "internal-sftp -e -l DEBUG3",
            "/usr/lib/openssh/sftp-server -f DAEMON",
            "/usr/lib/../sftp-server",
            "/bin/sh",
            "internal-sftp;id",
            "/x y/sftp-server",
            "/usr/lib/openssh/sftp-server -Q requests",
            "./sftp-server",
        ] {
            assert_eq!(read(line), None, "{line}");
        }
    }
}
