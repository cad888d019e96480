//! The bytes of a connection, plain or in TLS, none of which is waited for without limit.

use std::io::{self, Read as _, Write as _};
use std::net::{TcpStream, ToSocketAddrs as _};
use std::os::fd::{AsFd as _, BorrowedFd};
use std::path::Path;
use std::sync::Arc;
use std::time::{Duration, Instant};

use rrsync_rs::escape::Escaped;
use rustix::event::{PollFd, PollFlags, Timespec, poll};
use rustls::pki_types::pem::PemObject as _;
use rustls::pki_types::{CertificateDer, ServerName};
use rustls::{ClientConfig, ClientConnection, RootCertStore, StreamOwned};

use super::server::Url;

/// How long a server may take to answer, or to take what is sent.
pub const PATIENCE: Duration = Duration::from_secs(5);

/// Where systems keep the certificates that they trust.
const AUTHORITIES: [&str; 3] =
    ["/etc/ssl/certs/ca-certificates.crt", "/etc/pki/tls/certs/ca-bundle.crt", "/etc/ssl/cert.pem"];

/// An open connection.
pub struct Socket {
    stream: Stream,
    /// Whether the server is this machine.
    local: bool,
}

enum Stream {
    Plain(TcpStream),
    Tls(Box<StreamOwned<ClientConnection, TcpStream>>),
    /// While one becomes the other.
    None,
}

impl Socket {
    /// Connects to the first of the server's addresses that answers.
    pub fn connect(url: &Url) -> io::Result<Self> {
        let mut last = io::Error::new(io::ErrorKind::NotFound, "the name has no address");
        for address in (url.host(), url.port()).to_socket_addrs()? {
            match TcpStream::connect_timeout(&address, PATIENCE) {
                Ok(stream) => {
                    stream.set_nodelay(true)?;
                    stream.set_nonblocking(true)?;
                    return Ok(Self { stream: Stream::Plain(stream), local: address.ip().is_loopback() });
                }
                Err(error) => last = error,
            }
        }
        Err(last)
    }

    /// Whether nobody else can listen.
    pub fn is_private(&self) -> bool {
        self.local || matches!(self.stream, Stream::Tls(_))
    }

    /// Speaks TLS from here on. The server's certificate is for `host`, by an authority in `file` or one that the system trusts.
    pub fn encrypt(&mut self, host: &str, file: Option<&Path>) -> io::Result<()> {
        let name = ServerName::try_from(host.to_owned()).map_err(io::Error::other)?;
        let provider = Arc::new(rustls::crypto::ring::default_provider());
        let config = ClientConfig::builder_with_provider(provider).with_safe_default_protocol_versions();
        let config = config
            .map_err(io::Error::other)?
            .with_root_certificates(authorities(file)?)
            .with_no_client_auth();
        let connection = ClientConnection::new(Arc::new(config), name).map_err(io::Error::other)?;
        let Stream::Plain(stream) = std::mem::replace(&mut self.stream, Stream::None) else {
            return Err(io::ErrorKind::NotConnected.into());
        };
        let mut stream = StreamOwned::new(connection, stream);
        let until = Instant::now() + PATIENCE;
        while stream.conn.is_handshaking() {
            match stream.conn.complete_io(&mut stream.sock) {
                Ok(_) => {}
                Err(error) if error.kind() == io::ErrorKind::WouldBlock => {
                    let flags = if stream.conn.wants_write() { PollFlags::OUT } else { PollFlags::IN };
                    wait(stream.sock.as_fd(), flags, until)?;
                }
                Err(error) => return Err(error),
            }
        }
        self.stream = Stream::Tls(Box::new(stream));
        Ok(())
    }

    /// What becomes readable when the server has said something.
    pub fn fd(&self) -> io::Result<BorrowedFd<'_>> {
        match &self.stream {
            Stream::Plain(stream) => Ok(stream.as_fd()),
            Stream::Tls(stream) => Ok(stream.sock.as_fd()),
            Stream::None => Err(io::ErrorKind::NotConnected.into()),
        }
    }

    /// What has come; `None` for nothing.
    pub fn read(&mut self, buffer: &mut [u8]) -> io::Result<Option<usize>> {
        let read = match &mut self.stream {
            Stream::Plain(stream) => stream.read(buffer),
            Stream::Tls(stream) => stream.read(buffer),
            Stream::None => Err(io::ErrorKind::NotConnected.into()),
        };
        match read {
            Ok(0) => {
                Err(io::Error::new(io::ErrorKind::UnexpectedEof, "the server has closed the connection"))
            }
            Ok(length) => Ok(Some(length)),
            Err(error) if matches!(error.kind(), io::ErrorKind::WouldBlock | io::ErrorKind::Interrupted) => {
                Ok(None)
            }
            Err(error) => Err(error),
        }
    }

    /// Sends all of `bytes`.
    pub fn write(&mut self, mut bytes: &[u8]) -> io::Result<()> {
        let until = Instant::now() + PATIENCE;
        loop {
            let written = match &mut self.stream {
                Stream::Plain(stream) if bytes.is_empty() => return stream.flush(),
                Stream::Plain(stream) => stream.write(bytes),
                Stream::Tls(stream) if bytes.is_empty() => match stream.flush() {
                    Ok(()) => return Ok(()),
                    Err(error) => Err(error),
                },
                Stream::Tls(stream) => stream.write(bytes),
                Stream::None => Err(io::ErrorKind::NotConnected.into()),
            };
            match written {
                Ok(length) => bytes = bytes.get(length..).unwrap_or_default(),
                Err(error) if error.kind() == io::ErrorKind::WouldBlock => {
                    wait(self.fd()?, PollFlags::OUT, until)?;
                }
                Err(error) if error.kind() == io::ErrorKind::Interrupted => {}
                Err(error) => return Err(error),
            }
        }
    }

    /// Waits until there is something to read, or the time has come.
    pub fn wait(&self, until: Instant) -> io::Result<()> {
        match wait(self.fd()?, PollFlags::IN, until) {
            Err(error) if error.kind() == io::ErrorKind::TimedOut => Ok(()),
            other => other,
        }
    }
}

fn wait(fd: BorrowedFd<'_>, flags: PollFlags, until: Instant) -> io::Result<()> {
    let left = until.saturating_duration_since(Instant::now());
    let time = Timespec {
        tv_sec: left.as_secs().try_into().unwrap_or(i64::MAX),
        tv_nsec: left.subsec_nanos().into(),
    };
    match poll(&mut [PollFd::new(&fd, flags)], Some(&time)) {
        Ok(0) => Err(io::Error::new(io::ErrorKind::TimedOut, "the server does not answer")),
        Ok(_) | Err(rustix::io::Errno::INTR) => Ok(()),
        Err(error) => Err(error.into()),
    }
}

/// The certificates of those who are believed.
fn authorities(file: Option<&Path>) -> io::Result<RootCertStore> {
    let usual = || AUTHORITIES.iter().map(Path::new).find(|path| path.exists());
    let path = file
        .or_else(usual)
        .ok_or_else(|| io::Error::other("this system has no list of authorities: name one with ca"))?;
    let unreadable = |error: String| io::Error::other(format!("{}: {error}", Escaped::os(path)));
    let mut store = RootCertStore::empty();
    for certificate in CertificateDer::pem_file_iter(path).map_err(|error| unreadable(error.to_string()))? {
        let certificate = certificate.map_err(|error| unreadable(error.to_string()))?;
        // A system's list has some that nothing reads any more; in a file that was named each one counts.
        match store.add(certificate) {
            Err(error) if file.is_some() => return Err(unreadable(error.to_string())),
            Ok(()) | Err(_) => {}
        }
    }
    if store.is_empty() { Err(unreadable("no certificate is in it".to_owned())) } else { Ok(store) }
}
