#!/usr/bin/env python3
"""The gate's SFTP server beside OpenSSH's, as a program (sftp-server) and within sshd (internal-sftp).

Everything is measured in one run, turn by turn, so that whatever else the machine does falls on all alike. Times are
medians; a ratio is the median of the ratios of each turn, gate to the other, so below 1 the gate is ahead. Nothing is
asserted.

    BENCH_REPEATS=3       turns
    BENCH_STARTS=40       starts
    BENCH_MB=1024         the size of the large file
    BENCH_FILES=10000     the number of small files, of 4 kB each
    BENCH_ENTRIES=100000  entries of the directory that is listed
    BENCH_LINK_MB=64      the same over a link of 40 ms; sftp waits for each file's replies
    BENCH_LINK_FILES=50

With --quick all of these are smaller, and there is one turn: to see that everything works.
"""

import os
import shutil
import statistics
import struct
import subprocess
import sys
import time

from sshd import ROUND_TRIP, Port, locked, number, run, write

GATE, SCRATCH = sys.argv[1:3]
SFTP_SERVER = "/usr/lib/openssh/sftp-server"
INIT = struct.pack(">IBI", 5, 1, 3)
if "--quick" in sys.argv[3:]:
    for setting in ["REPEATS=1", "STARTS=8", "MB=64", "FILES=500", "ENTRIES=20000", "LINK_MB=8", "LINK_FILES=10"]:
        os.environ.setdefault(*f"BENCH_{setting}".split("="))


class Server:
    """One of those that are compared: how a session of it is started, and where it has its files."""

    def __init__(self, name, command, served):
        self.name, self.command, self.served = name, command, served
        self.key = f"{SCRATCH}/key-{name}"

    def direct(self, usage=None):
        """Its command line without ssh; None where there is none. What it used is written to the file `usage`."""
        if self.name == "internal-sftp":
            return None
        return ([f"{SCRATCH}/peak", "-o", usage] if usage else []) + self.command.split()


def lay_out():
    """A home with a grant, the files that are served, and a configuration of sshd with a key for each server."""
    home, served = f"{SCRATCH}/home", f"{SCRATCH}/home/served"
    os.makedirs(f"{served}/in")
    os.makedirs(f"{SCRATCH}/client")
    write(
        f"{home}/.config/akeys/grants/bench.pod.toml",
        'federation = "bench"\npod = "pod"\ntools = ["sftp"]\n'
        '[workspace.served]\npath = "~/served"\naccess = "rw"\n',
    )
    for directory in (f"{home}/.config/akeys/grants", f"{home}/.config/akeys", f"{home}/.config"):
        os.chmod(directory, 0o700)
    servers = [
        Server("gate", f"{GATE} --grant bench.pod", "/served"),
        Server("sftp-server", SFTP_SERVER, served),
        Server("internal-sftp", "internal-sftp", served),
    ]
    host_key = f"{SCRATCH}/host_key"
    lines = []
    for key in [host_key] + [server.key for server in servers]:
        subprocess.run(["ssh-keygen", "-q", "-t", "ed25519", "-N", "", "-C", "", "-f", key], check=True)
    for server in servers:
        with open(f"{server.key}.pub") as public:
            lines.append(f'restrict,command="{server.command}" {public.read()}')
    write(f"{home}/.ssh/authorized_keys", "".join(lines))
    with open(f"{host_key}.pub") as public:
        write(f"{SCRATCH}/known_hosts", f"bench {public.read()}")
    write(
        f"{SCRATCH}/sshd_config",
        f"HostKey {host_key}\nAuthorizedKeysFile {home}/.ssh/authorized_keys\nPidFile none\nStrictModes no\n"
        f'SetEnv "HOME={home}"\nUsePAM {"yes" if locked() else "no"}\nPermitRootLogin prohibit-password\n'
        f"MaxStartups 1000\nLogLevel ERROR\nSubsystem sftp {SFTP_SERVER}\n",
    )
    fill(f"{served}/many", number("BENCH_ENTRIES", 100000), 0)
    for name, size, files in [
        ("", number("BENCH_MB", 1024), number("BENCH_FILES", 10000)),
        ("link-", number("BENCH_LINK_MB", 64), number("BENCH_LINK_FILES", 50)),
    ]:
        for side in (served, f"{SCRATCH}/client"):
            with open(f"{side}/{name}large", "wb") as file:
                for _ in range(size):
                    file.write(os.urandom(1 << 20))
            fill(f"{side}/{name}small", files, 4096)
    return servers


def fill(directory, files, size):
    os.makedirs(directory)
    for index in range(files):
        with open(f"{directory}/file-{index:06}", "wb") as file:
            file.write(os.urandom(size))


def ssh_config(port, server):
    """A file for ssh's -F."""
    path = f"{server.key}.{port.number}.config"
    write(
        path,
        f"Host *\nHostName 127.0.0.1\nPort {port.number}\nHostKeyAlias bench\nIdentityFile {server.key}\n"
        f"IdentitiesOnly yes\nIdentityAgent none\nUserKnownHostsFile {SCRATCH}/known_hosts\nBatchMode yes\n",
    )
    return path


def measure(title, servers, turns, once, before=lambda server: None):
    """Runs `once` for each server in each turn, and prints a line of medians and ratios."""
    taken = {server.name: [] for server in servers}
    for turn in range(turns):
        # Nobody is always first.
        for server in servers[turn % len(servers):] + servers[:turn % len(servers)]:
            before(server)
            begin = time.perf_counter()
            found = once(server)
            taken[server.name].append(time.perf_counter() - begin if found is None else found)
    shown = f"{title:34} {statistics.median(taken['gate']):9.3f}"
    for server in servers[1:]:
        ratios = [ours / theirs for ours, theirs in zip(taken["gate"], taken[server.name])]
        shown += f" {statistics.median(taken[server.name]):9.3f} {statistics.median(ratios):6.2f}"
    print(shown, flush=True)


def heading(title, servers):
    print(f"\n{title}")
    print(" " * 34 + "".join([f"{server.name:>10}" + ("" if server.name == "gate" else "  ratio") for server in servers]))


def clean(server):
    """What earlier transfers left is gone, and written, before the next is timed."""
    for left in (f"{SCRATCH}/home/served/in", f"{SCRATCH}/client/got"):
        shutil.rmtree(left, ignore_errors=True)
        os.makedirs(left)
    os.sync()


def batches(prefix=""):
    """Titles, and sftp's commands for them."""
    return [
        (f"{prefix}large file, down", f"get {{0}}/{prefix}large got/large"),
        (f"{prefix}large file, up", f"put {prefix}large {{0}}/in/large"),
        (f"{prefix}small files, down", f"get -r {{0}}/{prefix}small got"),
        (f"{prefix}small files, up", f"put -r {prefix}small {{0}}/in"),
        (f"{prefix}listing", "ls -1f {0}/many"),
    ]


def sftp(server, how, commands):
    run(["sftp", "-q", "-b", "-", *how], input=commands.format(server.served), cwd=f"{SCRATCH}/client",
        env=environment())


def environment():
    """What sshd would give to the gate, and what all of them get."""
    return {
        "HOME": f"{SCRATCH}/home", "PATH": os.environ["PATH"], "SSH_ORIGINAL_COMMAND": SFTP_SERVER,
        "SSH_CONNECTION": "192.0.2.7 1 192.0.2.1 22",
    }


def without_ssh(servers, turns):
    servers = [server for server in servers if server.direct()]
    usage = f"{SCRATCH}/usage"
    costs = {}

    def once(title, commands):
        def transfer(server):
            sftp(server, ["-D", " ".join(server.direct(usage))], commands)
            with open(usage) as file:
                kilobytes, seconds = file.read().split()
            costs.setdefault(title, {}).setdefault(server.name, []).append((int(kilobytes), float(seconds)))
        return transfer

    heading(f"without ssh, by sftp, in s ({turns} turns)", servers)
    for title, commands in batches():
        measure(title, servers, turns, once(title, commands), clean)
    heading("the processor time of the server alone, in s", servers)
    for title, found in costs.items():
        # These have been measured already; each turn takes its own out.
        left = {name: [seconds for _, seconds in pairs] for name, pairs in found.items()}
        measure(title, servers, turns, lambda server: left[server.name].pop(0))
    heading("memory at most, in MB", servers)
    for title, found in costs.items():
        left = {name: [kilobytes / 1000 for kilobytes, _ in pairs] for name, pairs in found.items()}
        measure(title, servers, turns, lambda server: left[server.name].pop(0))


def first_byte(argv, env=None):
    """Seconds from starting a session to the server's first reply."""
    begin = time.perf_counter()
    session = subprocess.Popen(argv, stdin=subprocess.PIPE, stdout=subprocess.PIPE, stderr=subprocess.DEVNULL, env=env)
    session.stdin.write(INIT)
    session.stdin.flush()
    if not session.stdout.read(1):
        sys.exit(f"{argv}: no reply")
    taken = time.perf_counter() - begin
    session.stdin.close()
    session.wait()
    session.stdout.close()
    return taken * 1000


def starts(servers, port):
    turns = number("BENCH_STARTS", 40)
    direct = [server for server in servers if server.direct()]
    heading(f"from the start to the first reply, in ms ({turns} turns)", servers)
    measure("without ssh", direct, turns, lambda server: first_byte(server.direct(), environment()))
    masters = []
    for server in servers:
        held = ["ssh", "-F", ssh_config(port, server), "-S", f"{server.key}.held"]
        masters.append(subprocess.Popen([*held, "-MN", "h"], stderr=subprocess.DEVNULL))
        while subprocess.run([*held, "-O", "check", "h"], stderr=subprocess.DEVNULL).returncode:
            time.sleep(0.05)
    held = lambda server: ["ssh", "-F", ssh_config(port, server), "-S", f"{server.key}.held", "-s", "h", "sftp"]
    measure("on a connection that is open", servers, turns, lambda server: first_byte(held(server)))
    for master in masters:
        master.terminate()
        master.wait()
    login = lambda server: ["ssh", "-F", ssh_config(port, server), "-s", "h", "sftp"]
    measure("with the login", servers, max(1, turns // 4), lambda server: first_byte(login(server)))


def rclone(server, port, source, target):
    known = f"{SCRATCH}/known_hosts.{port.number}"
    with open(f"{SCRATCH}/known_hosts") as keys:
        write(known, keys.read().replace("bench ", f"[127.0.0.1]:{port.number} "))
    run(
        ["rclone", "copy", source, target, "--sftp-host=127.0.0.1", f"--sftp-port={port.number}",
         f"--sftp-key-file={server.key}", f"--sftp-known-hosts-file={known}", "--sftp-shell-type=none",
         "--sftp-disable-hashcheck"],
        cwd=f"{SCRATCH}/client", env=environment() | {"RCLONE_CONFIG": "/dev/null", "USER": os.environ.get("USER", "root")},
    )


def through_sshd(servers, port, turns):
    heading(f"through sshd, by sftp, in s ({turns} turns)", servers)
    for title, commands in batches():
        once = lambda server: sftp(server, ["-F", ssh_config(port, server), "h"], commands)
        measure(title, servers, turns, once, clean)
    by_rclone(servers, port, turns, "", "through sshd")


def by_rclone(servers, port, turns, prefix, how):
    if not shutil.which("rclone"):
        return print("skipped: rclone is not installed")
    heading(f"{how}, by rclone, in s ({turns} turns)", servers)
    remote = lambda server, path: f":sftp:{server.served}/{path}"
    down = lambda server: rclone(server, port, remote(server, f"{prefix}small"), "got")
    measure(f"{prefix}small files, down", servers, turns, down, clean)
    up = lambda server: rclone(server, port, f"{prefix}small", remote(server, "in"))
    measure(f"{prefix}small files, up", servers, turns, up, clean)


def over_a_link(servers, port, turns):
    heading(f"through sshd over a link of 40 ms, by sftp, in s ({turns} turns)", servers)
    for title, commands in batches("link-"):
        once = lambda server: sftp(server, ["-F", ssh_config(port, server), "h"], commands)
        measure(title, servers, turns, once, clean)
    by_rclone(servers, port, turns, "link-", "through sshd over a link of 40 ms")


def main():
    version = subprocess.run(["ssh", "-V"], capture_output=True, text=True).stderr.strip()
    print(f"{version}; {os.uname().sysname} {os.uname().release}; {os.cpu_count()} processors, load "
          f"{os.getloadavg()[0]:.1f}; one file of {number('BENCH_MB', 1024)} MB, {number('BENCH_FILES', 10000)} small "
          f"files, {number('BENCH_ENTRIES', 100000)} entries")
    begin = time.perf_counter()
    servers = lay_out()
    turns = number("BENCH_REPEATS", 3)
    without_ssh(servers, turns)
    port = Port(f"{SCRATCH}/sshd_config")
    starts(servers, port)
    through_sshd(servers, port, max(1, turns - 1))
    link(servers, max(1, turns // 2))
    print(f"\nmeasured in {time.perf_counter() - begin:.0f} s")


def link(servers, turns):
    """netem where it can be had: in a network namespace of its own, which takes root. A relay elsewhere."""
    netem = ["unshare", "-n", "sh", "-c", "ip link set lo up && tc qdisc add dev lo root netem delay 20ms"]
    tried = subprocess.run(netem, capture_output=True, text=True)
    if tried.returncode:
        print(f"\nno netem here ({tried.stderr.strip() or 'unshare failed'}): a relay delays every byte instead")
        return over_a_link(servers, Port(f"{SCRATCH}/sshd_config", ROUND_TRIP / 2), turns)
    os.unshare(os.CLONE_NEWNET)
    subprocess.run(netem[-1], shell=True, check=True)
    over_a_link(servers, Port(f"{SCRATCH}/sshd_config"), turns)


main()
