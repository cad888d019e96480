"""What the benchmarks have in common: commands that must succeed, and a private sshd on a loopback port, also at the end of a slow link."""

import os
import shutil
import socket
import subprocess
import sys
import threading
import time

ROUND_TRIP = 0.040


def number(name, usual):
    return int(os.environ.get(name, usual))


def run(argv, **how):
    """What a command writes, as text unless told otherwise."""
    done = subprocess.run(argv, capture_output=True, **{"text": True, **how})
    if done.returncode:
        sys.exit(f"{argv}: {done.stderr}{done.stdout}")
    return done.stdout


def program(name):
    path = shutil.which(name, path=os.environ["PATH"] + ":/usr/sbin:/sbin")
    return path or sys.exit(f"missing: {name}. Nothing can be measured without it.")


def write(path, text):
    os.makedirs(os.path.dirname(path), exist_ok=True)
    with open(path, "w") as file:
        file.write(text)
    os.chmod(path, 0o600)


def locked():
    """Whether sshd takes the account for a locked one unless PAM says otherwise, as in the tests."""
    entry = subprocess.run(["getent", "shadow", str(os.getuid())], capture_output=True, text=True).stdout
    return os.getuid() == 0 and entry.split(":")[1:2] == ["!"] or entry.split(":")[1:2] == ["!*"]


class Port:
    """sshd on a loopback port; every byte is `delay` seconds late in each direction."""

    def __init__(self, config, delay=0.0):
        self.delay = delay
        if os.getuid() == 0:
            os.makedirs("/run/sshd", exist_ok=True)
        self.sshd = [program("sshd"), "-i", "-f", config]
        self.sessions = []
        self.socket = socket.create_server(("127.0.0.1", 0))
        self.number = self.socket.getsockname()[1]
        threading.Thread(target=self.accept, daemon=True).start()

    def accept(self):
        while True:
            client, _ = self.socket.accept()
            client.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
            server = client
            if self.delay:
                ours, server = socket.socketpair()
                for ends in ((client, ours), (ours, client)):
                    threading.Thread(target=late, args=(*ends, self.delay), daemon=True).start()
            self.sessions.append(subprocess.Popen(self.sshd, stdin=server, stdout=server, stderr=subprocess.DEVNULL))
            server.close()


def late(source, sink, delay):
    """Passes bytes on when they are old enough. No more is on the way than a fast link would hold."""
    queue, room = [], threading.Condition()

    def deliver():
        while True:
            with room:
                while not queue:
                    room.wait()
                due, data = queue[0]
            time.sleep(max(0.0, due - time.monotonic()))
            try:
                if not data:
                    return sink.shutdown(socket.SHUT_WR)
                sink.sendall(data)
            except OSError:
                # Whoever it was for has gone.
                data = b""
            with room:
                queue.pop(0)
                room.notify_all()

    threading.Thread(target=deliver, daemon=True).start()
    while True:
        try:
            data = source.recv(1 << 16)
        except OSError:
            data = b""
        with room:
            while len(queue) > 256:
                room.wait()
            queue.append((time.monotonic() + delay, data))
            room.notify_all()
        if not data:
            return
