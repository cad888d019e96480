#!/usr/bin/env python3
"""The gate beside rrsync, beside rsync without either, and beside a static program that only execs.

Everything is measured in one run, turn by turn, so that whatever else the machine does falls on all alike; numbers are
medians, with the minimum behind them where it says something. Nothing is asserted.

    BENCH_RUNS=200     starts of each kind
    BENCH_RRSYNC=PATH  the rrsync to compare with, otherwise /usr/bin/rrsync; the rsync beside it is what all of them run
    BENCH_REPEATS=5    transfers of each kind
    BENCH_MB=1024      the size of the large file
    BENCH_FILES=20000  the number of small ones
"""

import os
import random
import re
import shutil
import statistics
import subprocess
import sys
import time

GATE, SCRATCH = sys.argv[1:3]
STAMP = f"{SCRATCH}/stamp"
RRSYNC = os.environ.get("BENCH_RRSYNC", "/usr/bin/rrsync")
# An rrsync passes options on that an older rsync does not know.
os.environ["PATH"] = f"{os.path.dirname(RRSYNC)}:{os.environ['PATH']}"
RSYNC = shutil.which("rsync")
PULL = "rsync --server --sender -logDtpre.iLsfxCIvu . sub/"
PUSH = "rsync --server -logDtpre.iLsfxCIvu . in/"


def number(name, usual):
    return int(os.environ.get(name, usual))


def lay_out():
    """A home with a grant, and the exposed directory in it."""
    home = f"{SCRATCH}/home"
    papers = f"{home}/papers"
    for directory in ("sub", "in"):
        os.makedirs(f"{papers}/{directory}")
    grants = f"{home}/.config/akeys/grants"
    os.makedirs(grants)
    with open(f"{grants}/bench.pod.toml", "w") as policy:
        policy.write(
            f'federation = "bench"\npod = "pod"\ntools = ["rsync"]\n'
            '[workspace.papers]\npath = "~/papers"\naccess = "rw"\n'
        )
    os.chmod(f"{grants}/bench.pod.toml", 0o600)
    return home, papers


def rrsync_that_runs(program):
    """rrsync as it is installed, with another program in rsync's place; None when it is not installed."""
    if not os.path.exists(RRSYNC):
        return None
    with open(RRSYNC) as file:
        text, changed = re.subn(r"(?m)^RSYNC = .*$", f"RSYNC = '{program}'", file.read())
    if changed != 1:
        return None
    path = f"{SCRATCH}/rrsync-{os.path.basename(program)}"
    with open(path, "w") as file:
        file.write(text)
    os.chmod(path, 0o755)
    return path


class Start:
    """One way to come from an exec to a program in rsync's place, or to rsync's own first word."""

    def __init__(self, name, argv, command=None, home=f"{SCRATCH}/nobody"):
        self.name, self.argv = name, argv
        self.environment = {"HOME": home, "PATH": "/usr/bin:/bin"}
        if command:
            self.environment |= {"SSH_ORIGINAL_COMMAND": command, "SSH_CONNECTION": "192.0.2.7 1 192.0.2.1 22"}
        self.times, self.cpu = [], []

    def once(self):
        word, said = os.pipe()
        actions = [
            (os.POSIX_SPAWN_OPEN, 0, "/dev/null", os.O_RDWR, 0),
            (os.POSIX_SPAWN_DUP2, said, 1),
            (os.POSIX_SPAWN_OPEN, 2, f"{SCRATCH}/errors", os.O_WRONLY | os.O_CREAT | os.O_TRUNC, 0o600),
        ]
        begin = time.clock_gettime_ns(time.CLOCK_MONOTONIC)
        pid = os.posix_spawn(self.argv[0], self.argv, self.environment, file_actions=actions)
        os.close(said)
        first = os.read(word, 100)
        heard = time.clock_gettime_ns(time.CLOCK_MONOTONIC)
        _, _, usage = os.wait4(pid, 0)
        os.close(word)
        if not first:
            with open(f"{SCRATCH}/errors") as errors:
                sys.exit(f"{self.name}: said nothing: {self.argv}\n{errors.read()}")
        # The stand-in says when it was reached. rsync says which protocol it speaks.
        reached = int(first) if first.strip().isdigit() else heard
        self.times.append((reached - begin) / 1e6)
        self.cpu.append((usage.ru_utime + usage.ru_stime) * 1000)

    def calls(self):
        """System calls before the stand-in runs, children included; None without strace."""
        if not shutil.which("strace"):
            return None
        trace = f"{SCRATCH}/trace"
        argv = ["strace", "-f", "-qq", "-o", trace] + self.argv
        subprocess.run(argv, env=self.environment, stdin=subprocess.DEVNULL, capture_output=True)
        count = last = 0
        with open(trace) as lines:
            for line in lines:
                # A call that another process interrupts is on two lines.
                if " = " in line:
                    count += 1
                    # The first exec is the program's own; the last one is the stand-in's.
                    if re.search(r"exec(ve|veat)(\(| resumed>).* = 0$", line.rstrip()) and "--sweep" not in line:
                        last = count
        return last

    def peak(self):
        """The most memory that it has had, in KiB."""
        argv = [f"{SCRATCH}/peak", *self.argv]
        return int(subprocess.run(argv, env=self.environment, capture_output=True, check=True).stdout)

    @property
    def median(self):
        return statistics.median(self.times)

    @property
    def least(self):
        return min(self.times)


KINDS = [
    ("pull, -ro", ["-ro"], PULL),
    ("pull, no flags", [], PULL),
    ("push, no flags", [], PUSH),
    ("push, -wo", ["-wo"], PUSH),
    ("pull, grant", None, PULL),
    ("push, grant", None, PUSH),
]


def pairs_for(program, home, papers):
    """The gate and rrsync for each kind of session, with `program` in rsync's place."""
    rrsync = rrsync_that_runs(program)
    pairs = []
    for title, flags, command in KINDS:
        if flags is None:
            argv = [GATE, "-rsync", program, "--grant", "bench.pod"]
            ours = Start(title, argv, command.replace(". ", ". papers/"), home)
            # A grant has no counterpart there: it is set beside the same transfer with the flags that come closest.
            theirs = pairs[1 if command == PULL else 2][1]
        else:
            ours = Start(title, [GATE, "-rsync", program, *flags, papers], command, home)
            theirs = rrsync and Start(f"rrsync {title}", [rrsync, *flags, papers], command, home)
        pairs.append((ours, theirs))
    return pairs


def run_all(pairs, *others):
    """Runs everything so often, each time in another order: who runs behind Python finds the caches filled with it."""
    starts = list({id(start): start for pair in pairs for start in pair if start}.values()) + list(others)
    for start in starts:
        for _ in range(3):
            start.once()
        start.times, start.cpu = [], []
    for _ in range(number("BENCH_RUNS", 200)):
        random.shuffle(starts)
        for start in starts:
            start.once()


def show(pairs, floor, base):
    """One line for each kind: what is above `base`, and how both stand to each other."""
    net = lambda start: start.median - base.median
    least = lambda start: start.least - base.least
    print(f"{'':16} {'gate':>13} {'rrsync':>15} {'ratio':>7} {'above floor':>12} {'CPU gate':>9} {'rrsync':>7}")
    for ours, theirs in pairs:
        line = f"{ours.name:16} {net(ours):6.2f} ({least(ours):4.2f})"
        line += f" {net(theirs):7.2f} ({least(theirs):5.2f}) 1/{net(theirs) / net(ours):4.1f}" if theirs else " " * 24
        line += f" {net(ours) - net(floor):12.2f} {statistics.median(ours.cpu):9.2f}"
        line += f" {statistics.median(theirs.cpu):7.2f}" if theirs else ""
        print(line)


def start_up(home, papers):
    runs = number("BENCH_RUNS", 200)
    stamp, floor = Start("stamp", [STAMP]), Start("floor", [f"{SCRATCH}/floor", STAMP])
    pairs = pairs_for(STAMP, home, papers)
    run_all(pairs, stamp, floor)
    print(f"start-up, from exec to what is executed in rsync's place, in ms: medians of {runs}, and minima; what that")
    print(f"program takes to start by itself ({stamp.median:.2f}, {stamp.least:.2f}) is subtracted")
    show(pairs, floor, stamp)
    print(f"{'a bare exec':16} {floor.median - stamp.median:6.2f} ({floor.least - stamp.least:4.2f})")
    if not pairs[0][1]:
        print(f"skipped: rrsync ({RRSYNC} is not installed, or is another program than expected)")

    words = [RSYNC, *PULL.split(" ")[1:-1], f"{papers}/sub/"]
    direct, bare = Start("rsync", words), Start("floor", [f"{SCRATCH}/floor", *words])
    real = pairs_for(RSYNC, home, papers)
    run_all(real, direct, bare)
    print(f"\nthe same up to rsync's first word, {RSYNC} itself with all that it loads ({direct.median:.2f},")
    print(f"{direct.least:.2f} are subtracted)")
    show(real, bare, direct)
    print(f"{'a bare exec':16} {bare.median - direct.median:6.2f} ({bare.least - direct.least:4.2f})")

    print(f"\nmemory at most (the stand-in's own {stamp.peak()} KiB are the least), and system calls until it runs")
    print(f"{'':16} {'gate KiB':>9} {'rrsync KiB':>11} {'gate calls':>11} {'rrsync calls':>13}")
    if not shutil.which("strace"):
        print("skipped: system calls (strace is not installed)")
    for ours, theirs in pairs:
        cells = [ours.peak(), theirs and theirs.peak(), ours.calls(), theirs and theirs.calls()]
        shown = [("-" if cell is None else str(cell)) for cell in cells]
        print(f"{ours.name:16} {shown[0]:>9} {shown[1]:>11} {shown[2]:>11} {shown[3]:>13}")
    print("(rrsync stays in memory beside every transfer that it locks; the gate becomes rsync)")


def at_the_end(home):
    """What the process costs that waits to record the end of a session."""
    grants = f"{home}/.config/akeys/grants"
    with open(f"{grants}/bench.pod.toml") as policy, open(f"{grants}/bench.end.toml", "w") as recorded:
        recorded.write("record-end = true\n" + policy.read().replace('"pod"', '"end"'))
    os.chmod(f"{grants}/bench.end.toml", 0o600)
    environment = {"HOME": home, "SSH_ORIGINAL_COMMAND": PUSH.replace(". ", ". papers/")}
    argv = [GATE, "-rsync", RSYNC, "--grant", "bench.end"]
    gate = subprocess.Popen(argv, env=environment, stdin=subprocess.PIPE, stdout=subprocess.PIPE)
    # rsync has said which protocol it speaks, and waits for its client; the gate waits for rsync.
    gate.stdout.read(1)
    with open(f"/proc/{gate.pid}/smaps_rollup") as rollup:
        sizes = {words[0]: words[1] for words in map(str.split, rollup) if words[-1] == "kB"}
    gate.stdin.close()
    gate.wait()
    print(f"with record-end a process waits beside rsync: {sizes['Anonymous:']} KiB of its own, and up to "
          f"{sizes['Rss:']} with the pages of the program's file\n")


def shell(name, line):
    """A remote shell for rsync's -e, without ssh."""
    path = f"{SCRATCH}/{name}"
    with open(path, "w") as file:
        file.write(f"shift\n{line}\n")
    return f"/bin/sh {path}"


def transfers(home):
    server, client = f"{SCRATCH}/served", f"{SCRATCH}/client"
    for side in (server, client):
        os.makedirs(f"{side}/large")
        os.makedirs(f"{side}/small")
    size, files = number("BENCH_MB", 1024), number("BENCH_FILES", 20000)
    with open(f"{server}/large/file", "wb") as file:
        block = os.urandom(1 << 20)
        for index in range(size):
            file.write(index.to_bytes(8, "big") + block[8:])
    for index in range(files):
        directory = f"{server}/small/{index % 100}"
        os.makedirs(directory, exist_ok=True)
        with open(f"{directory}/{index}", "wb") as file:
            file.write(str(index).encode() * 100)
    subprocess.run(["cp", "-a", f"{server}/.", client], check=True)
    shells = [
        ("without", shell("plain.sh", f"cd '{server}' && eval \"exec $*\"")),
        ("gate", shell("gate.sh", f"SSH_ORIGINAL_COMMAND=\"$*\" HOME='{home}' exec '{GATE}' -rsync '{RSYNC}' '{server}'")),
    ]
    if rrsync := rrsync_that_runs(RSYNC):
        line = f"SSH_ORIGINAL_COMMAND=\"$*\" HOME='{home}' exec '{rrsync}' '{server}'"
        shells.append(("rrsync", shell("rrsync.sh", line)))
    repeats = number("BENCH_REPEATS", 5)
    print(f"transfers, in s (median of {repeats}, in turn; {size} MB in one file, {files} small files; no ssh)")
    print(f"{'':16} {'without':>9} {'gate':>9} {'ratio':>7} {'rrsync':>9} {'ratio':>7}")
    for what in ("large", "small"):
        for pull in (True, False):
            times = {name: [] for name, _ in shells}
            for turn in range(repeats):
                # Nobody is always first.
                for name, command in shells[turn % len(shells):] + shells[:turn % len(shells)]:
                    target = f"{client}/got" if pull else f"{server}/got"
                    ends = [f"h:{what}/", f"{target}/"] if pull else [f"{client}/{what}/", "h:got/"]
                    begin = time.perf_counter()
                    subprocess.run(["rsync", "-a", "-e", command, *ends], check=True)
                    times[name].append(time.perf_counter() - begin)
                    shutil.rmtree(target)
                    os.sync()
            middle = {name: statistics.median(taken) for name, taken in times.items()}
            line = f"{what + (', pull' if pull else ', push'):16} {middle['without']:9.3f}"
            for name in ("gate", "rrsync"):
                if name in middle:
                    line += f" {middle[name]:9.3f} {middle[name] / middle['without']:7.3f}"
            print(line, flush=True)


def main():
    version = subprocess.run(["rsync", "--version"], capture_output=True, text=True).stdout.splitlines()[0]
    explained = subprocess.run(
        [GATE, "--explain", "-ro", SCRATCH, "--", "true"], capture_output=True, text=True, env={"HOME": SCRATCH}
    )
    confined = re.search(r"confinement: (.*)", explained.stdout)
    print(f"{version.strip()}; {os.uname().sysname} {os.uname().release}; {os.cpu_count()} processors, load "
          f"{os.getloadavg()[0]:.1f}; the gate confines by {confined[1] if confined else 'nothing'}\n")
    home, papers = lay_out()
    start_up(home, papers)
    at_the_end(home)
    transfers(home)


main()
