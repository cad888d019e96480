"""What programs do with paramiko: python3 paramiko.py PORT USER KEY KNOWN_HOSTS"""

import os
import stat
import sys

import paramiko

port, user, key, known_hosts = sys.argv[1:5]
ssh = paramiko.SSHClient()
ssh.load_host_keys(known_hosts)
ssh.connect("127.0.0.1", int(port), user, key_filename=key, allow_agent=False, look_for_keys=False)
sftp = ssh.open_sftp()


def refused(error, call, *arguments, **named):
    try:
        call(*arguments, **named)
    except error:
        return
    raise AssertionError(f"{call.__name__}{arguments} should have been refused")


big = open("tree/big", "rb").read()
assert sftp.listdir() == ["ro", "rw", "wo"], sftp.listdir()
assert sftp.normalize(".") == "/" and sftp.normalize("rw/link") == "/rw/in.txt"
assert sftp.stat("rw/big").st_size == len(big) and stat.S_ISREG(sftp.stat("rw/big").st_mode)
assert stat.S_ISLNK(sftp.lstat("rw/link").st_mode) and sftp.readlink("rw/link") == "in.txt"
assert stat.S_IMODE(sftp.stat("rw/sub/f").st_mode) == 0o640 and sftp.stat("rw/sub/f").st_mtime == 1000000000
names = {entry.filename for entry in sftp.listdir_attr("rw/sub")}
assert names == set(os.listdir("tree/sub")), names
assert {entry.filename for entry in sftp.listdir_iter("rw/sub")} == names

assert len(sftp.listdir("ro/many")) == 1000

# All reads of a file at once, the size compared after a put.
sftp.get("rw/big", "got")
assert open("got", "rb").read() == big
sftp.get("rw/big", "slowly", prefetch=False)
assert open("slowly", "rb").read() == big
assert sftp.put("tree/big", "rw/put", confirm=True).st_size == len(big)
with open("tree/big", "rb") as file:
    sftp.putfo(file, "rw/from-a-stream", file_size=len(big))

# Random access, seeking, several handles, appending, truncation.
with sftp.open("rw/random", "w+") as file:
    file.set_pipelined(True)
    file.write(big)
    file.seek(70000)
    file.write(b"in the middle")
    file.seek(69999)
    assert file.read(15)[1:14] == b"in the middle"
    assert file.readv([(0, 10), (1000, 100), (70000, 13)]).__next__() == big[:10]
    file.truncate(100000)
    assert file.stat().st_size == 100000
    file.chmod(0o600)
    file.utime((1, 2))
with sftp.open("rw/random", "a") as file:
    file.write(b"end")
with sftp.open("rw/random", "rb", bufsize=0) as file:
    file.prefetch()
    content = file.read()
assert content[100000:] == b"end" and content[70000:70013] == b"in the middle" and len(content) == 100003
handles = [sftp.open("rw/sub/f") for _ in range(200)]
assert all(handle.read() == b"f" for handle in handles)
for handle in handles:
    handle.close()
with sftp.open("rw/exclusive", "wx") as file:
    file.write(b"mine")
refused(OSError, sftp.open, "rw/exclusive", "wx")

sftp.mkdir("rw/d", 0o700)
sftp.rename("rw/put", "rw/d/put")
refused(OSError, sftp.rename, "rw/d/put", "rw/in.txt")
sftp.posix_rename("rw/d/put", "rw/in.txt")
assert sftp.stat("rw/in.txt").st_size == len(big)
sftp.truncate("rw/in.txt", 10)
sftp.chmod("rw/in.txt", 0o640)
sftp.utime("rw/in.txt", (1000, 2000))
sftp.chown("rw/in.txt", os.getuid(), os.getgid())
found = sftp.stat("rw/in.txt")
assert (found.st_size, stat.S_IMODE(found.st_mode), found.st_atime, found.st_mtime) == (10, 0o640, 1000, 2000), found
sftp.symlink("in.txt", "rw/soft")
sftp.remove("rw/soft")
sftp.rmdir("rw/d")
sftp.chdir("rw/sub")
assert sftp.getcwd() == "/rw/sub" and sftp.stat("f").st_size == 1
sftp.chdir("/")

for path in ["rw/nothing", "rw/sub/nothing/x", "/etc/passwd"]:
    refused(FileNotFoundError, sftp.stat, path)
for call, *arguments in [
    (sftp.open, "ro/in.txt", "r+"),
    (sftp.put, "tree/in.txt", "ro/new"),
    (sftp.remove, "ro/in.txt"),
    (sftp.posix_rename, "ro/in.txt", "rw/x"),
    (sftp.mkdir, "ro/d"),
    (sftp.chmod, "ro/in.txt", 0o777),
    (sftp.truncate, "ro/in.txt", 0),
    (sftp.open, "wo/in.txt"),
    (sftp.listdir, "wo"),
    (sftp.open, "rw/escape"),
    (sftp.open, "rw/escape-dir/secret"),
    (sftp.stat, "rw/escape"),
    (sftp.open, "rw/escape", "w"),
    (sftp.mkdir, "new"),
    (sftp.symlink, "/etc/passwd", "rw/soft"),
]:
    refused(PermissionError, call, *arguments)
with sftp.open("wo/new", "w") as file:
    file.write(b"put")

# A second session on the same connection knows nothing of the first one's handles.
other = ssh.open_sftp()
mine = sftp.open("rw/sub/f")
mine.handle, theirs = b"\0" * 8, mine.handle
refused(OSError, mine.read)
mine.handle = theirs
assert other.listdir("rw/empty") == [] and mine.read() == b"f"
refused(OSError, other._request, 4, theirs)
mine.close()
ssh.close()
print("done")
