#!/usr/bin/env python3
"""awatch beside inotifywait, watchman, fswatch and lsyncd: ready on large trees, one file closed, many files at once, a restart.

Everything is measured in one run, each contender alone. `inotify` is a program that sets the watches and does nothing else:
what nobody can be faster than. A contender is ready when it says so; those that do not say are ready when as many directories
are watched as there are, by /proc/PID/fdinfo. Nothing is asserted.

    --quick              smaller trees
    --docs DIR           the plots, as SVG
    BENCH_DIRS=1000,10000,100000     directories of the trees to be ready on
    BENCH_BURSTS=10000,100000        new files at once
    BENCH_FILES=1000000              unchanged files at a restart, of 100 in each directory; 0 leaves it out
"""

import argparse
import glob
import json
import os
import random
import re
import select
import shutil
import socket
import statistics
import subprocess
import sys
import time

from bars import bars
from lines import panels
from sshd import number, run

TICKS = os.sysconf("SC_CLK_TCK")
PATIENCE = 120


class Ended(Exception):
    """A contender has ended in the middle."""


def tree(path, directories, each):
    """`directories` in groups of a hundred, with `each` files in each; how many there are with the groups and the top."""
    groups = 0
    os.makedirs(path)
    for index in range(directories):
        if index % 100 == 0:
            os.mkdir(f"{path}/g{index // 100}")
            groups += 1
        directory = f"{path}/g{index // 100}/d{index}"
        os.mkdir(directory)
        for file in range(each):
            os.close(os.open(f"{directory}/f{file}", os.O_WRONLY | os.O_CREAT, 0o644))
    return directories + groups + 1


def clear(path):
    subprocess.run(["rm", "-rf", path])


# ---------------------------------------------------------------- who is compared


class Contender:
    """A program that watches a tree. `processes` are what it takes, and lines with events come from `fd`."""

    name = ""

    def __init__(self, path, directories):
        self.path, self.directories, self.processes, self.rest = path, directories, [], b""
        begin = time.perf_counter()
        self.start()
        self.ready = time.perf_counter() - begin

    def spawn(self, argv, **how):
        how = {"stdin": subprocess.DEVNULL, "stdout": subprocess.PIPE, "stderr": subprocess.DEVNULL} | how
        process = subprocess.Popen(argv, bufsize=0, **how)
        self.processes.append(process)
        return process

    def wait_line(self, file, word):
        line = b""
        while word not in line:
            line = file.readline()
            if not line:
                sys.exit(f"{self.name} has ended")

    def wait_watches(self, process):
        """Until as many directories are watched as there are."""
        begin = time.perf_counter()
        while True:
            looked, found = time.perf_counter(), 0
            for path in glob.glob(f"/proc/{process.pid}/fdinfo/*"):
                try:
                    with open(path, "rb") as file:
                        found += file.read().count(b"inotify wd:")
                except OSError:
                    pass
            now = time.perf_counter()
            if found >= self.directories:
                return
            if now - begin > PATIENCE or process.poll() is not None:
                sys.exit(f"{self.name} watches {found} of {self.directories} directories")
            # Looking costs as much as there are watches, so it is not done all the time.
            time.sleep(max(0.002, (now - looked) * 2, (now - begin) / 50))

    def stop(self):
        for process in reversed(self.processes):
            process.terminate()
            try:
                process.wait(30)
            except subprocess.TimeoutExpired:
                process.kill()
                process.wait()

    def names(self, line):
        """The paths that a line of output tells of."""
        return [line]

    def read(self, seconds):
        """The paths told within that time, at most what one read gives."""
        readable, _, _ = select.select([self.fd], [], [], seconds)
        if not readable:
            return []
        got = os.read(self.fd, 1 << 18)
        if not got:
            raise Ended
        *lines, self.rest = (self.rest + got).split(b"\n")
        return [name for line in lines for name in self.names(line)]

    def cpu(self):
        total = 0
        for process in self.processes:
            with open(f"/proc/{process.pid}/stat") as file:
                total += sum(map(int, file.read().rsplit(")", 1)[1].split()[11:15]))
        return total / TICKS

    def status(self, word):
        found = 0
        for process in self.processes:
            with open(f"/proc/{process.pid}/status") as file:
                found += sum(map(int, re.findall(rf"{word}:\s+(\d+)", file.read())))
        return found

    def memory(self):
        """The most that it has had, in MB."""
        return self.status("VmHWM") / 1000

    def wakeups(self):
        return self.status("ctxt_switches")


class Inotify(Contender):
    name = "inotify"

    def start(self):
        out = self.spawn([f"{SCRATCH}/inotify", self.path]).stdout
        self.wait_line(out, b"ready")
        self.fd = out.fileno()


class Awatch(Contender):
    def names(self, line):
        _, is_event, rest = line.partition(b'"path":"')
        return [rest.partition(b'"')[0]] if is_event else []

    def environment(self):
        return {"HOME": f"{SCRATCH}/home", "PATH": os.environ["PATH"]}


class Stream(Awatch):
    name = "awatch stream"

    def start(self):
        out = self.spawn([f"{PROGRAMS}/awatch", "stream", "bench", "--dir", self.path], env=self.environment()).stdout
        self.wait_line(out, b'"resync"')
        self.fd = out.fileno()


class Daemon(Awatch):
    name = "awatch run"

    def start(self):
        address = f"{SCRATCH}/notify"
        if os.path.exists(address):
            os.unlink(address)
        manager = socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM)
        manager.bind(address)
        manager.settimeout(PATIENCE)
        environment = self.environment() | {"NOTIFY_SOCKET": address}
        self.log = open(f"{SCRATCH}/daemon.log", "w+b")
        self.spawn([f"{PROGRAMS}/awatch", "run", self.path, "--name", "bench"], env=environment, stdout=self.log, stderr=self.log)
        while b"READY=1" not in manager.recv(4096):
            pass
        manager.close()

    def attach(self):
        """A reader of the journal, whose memory and time count as well."""
        out = self.spawn([f"{PROGRAMS}/awatch", "stream", "bench"], env=self.environment()).stdout
        self.wait_line(out, b'"current"')
        self.fd = out.fileno()

    def wait_compared(self):
        """Until everything was compared, and until nothing more is learnt; the seconds of the first, as it says."""
        while True:
            self.log.seek(0)
            found = re.search(rb"watching .*; ([0-9.]+) s\n", self.log.read())
            if found:
                break
            time.sleep(0.01)
        while True:
            before = self.cpu()
            time.sleep(0.3)
            if self.cpu() == before:
                return float(found[1])


class Inotifywait(Contender):
    name = "inotifywait -m -r"

    def start(self):
        argv = ["inotifywait", "-m", "-r", "-e", "close_write", "--format", "%w%f", self.path]
        process = self.spawn(argv, stderr=subprocess.PIPE)
        self.wait_line(process.stderr, b"Watches established")
        self.fd = process.stdout.fileno()


class Fswatch(Contender):
    name = "fswatch -r -l 0.1"

    def start(self):
        process = self.spawn(["fswatch", "-r", "-l", "0.1", self.path])
        self.wait_watches(process)
        self.fd = process.stdout.fileno()


class Lsyncd(Contender):
    name = "lsyncd, delay 0"

    def start(self):
        fifo, config = f"{SCRATCH}/fifo", f"{SCRATCH}/lsyncd.lua"
        if not os.path.exists(fifo):
            os.mkfifo(fifo)
        self.fd = os.open(fifo, os.O_RDWR | os.O_NONBLOCK)
        with open(config, "w") as file:
            file.write(
                f'settings {{ nodaemon = true }}\nsync {{ source = "{self.path}", delay = 0, maxProcesses = 4, '
                f'onCreate = "echo ^sourcePathname > {fifo}", onModify = "echo ^sourcePathname > {fifo}" }}\n'
            )
        self.wait_watches(self.spawn(["lsyncd", config], stdout=subprocess.DEVNULL))

    def stop(self):
        super().stop()
        os.close(self.fd)


class Watchman(Contender):
    name = "watchman"

    def start(self):
        """With the server already there: only the watch of a tree is measured."""
        state = f"{SCRATCH}/watchman"
        clear(state)
        os.makedirs(state, mode=0o700)
        self.options = ["--no-spawn", "--no-local", f"--sockname={state}/sock", f"--statefile={state}/state", f"--logfile={state}/log", f"--pidfile={state}/pid"]
        server = ["watchman", *self.options[2:], "--foreground", "--no-save-state"]
        self.spawn(server, stdout=subprocess.DEVNULL, env={"HOME": state, "PATH": os.environ["PATH"], "USER": "bench"})
        while subprocess.run(["watchman", *self.options, "version"], capture_output=True).returncode:
            time.sleep(0.01)
        self.begin = time.perf_counter()
        self.ask("watch", self.path)
        # Its answer to the clock comes when the first crawl is over.
        self.clock = self.ask("clock", self.path, '{"sync_timeout": 100000}')["clock"]
        self.took = time.perf_counter() - self.begin

    def ask(self, *words):
        words = [json.loads(word) if word.startswith("{") else word for word in words]
        done = subprocess.run(["watchman", "--no-pretty", "-j", *self.options], input=json.dumps(words), capture_output=True, text=True)
        answer = json.loads(done.stdout)
        if "error" in answer:
            sys.exit(f"watchman: {answer['error']}")
        return answer

    def attach(self):
        query = ["subscribe", self.path, "bench", {"since": self.clock, "fields": ["name"], "expression": ["type", "f"]}]
        argv = ["watchman", "--no-pretty", "-j", "-p", *self.options]
        client = self.spawn(argv, stdin=subprocess.PIPE)
        client.stdin.write(json.dumps(query).encode() + b"\n")
        self.wait_line(client.stdout, b'"subscribe"')
        self.fd = client.stdout.fileno()

    def names(self, line):
        return [name.encode() for name in json.loads(line).get("files", [])] if line else []


def begin(kind, path, directories, attach=True):
    """Starts a contender, or says that it is missing with None."""
    program = {Inotifywait: "inotifywait", Fswatch: "fswatch", Lsyncd: "lsyncd", Watchman: "watchman"}.get(kind)
    if program and not shutil.which(program):
        return None
    if kind is Daemon:
        clear(f"{SCRATCH}/home/.local")
    contender = kind(path, directories)
    if kind is Watchman:
        contender.ready = contender.took
    if attach and kind in (Daemon, Watchman):
        contender.attach()
    return contender


ALL = [Stream, Daemon, Inotify, Inotifywait, Watchman, Fswatch, Lsyncd]


# ---------------------------------------------------------------- what is measured


def ready(sizes, turns):
    """Seconds and memory until a tree is watched."""
    points = {kind: [] for kind in ALL}
    memory = {}
    for size in sizes:
        path = f"{SCRATCH}/tree"
        directories = tree(path, size, 1)
        print(f"\nready on {size:,} directories, each with one file{'':9}ready ms{'':4}× inotify{'':4}memory MB{'':4}CPU ms", flush=True)
        floor = None
        for kind in [Inotify] + [kind for kind in ALL if kind is not Inotify]:
            taken, most, cpu = [], 0, 0
            for _ in range(turns if size <= 10000 else 1):
                contender = begin(kind, path, directories, attach=False)
                if contender is None:
                    break
                taken.append(contender.ready)
                most, cpu = max(most, contender.memory()), contender.cpu()
                contender.stop()
            if not taken:
                continue
            median = statistics.median(taken)
            floor = floor or median
            print(f"{kind.name:46}{median * 1000:15.1f}{median / floor:13.2f}{most:13.1f}{cpu * 1000:10.0f}", flush=True)
            points[kind].append((size, median))
            memory[kind] = most
        clear(path)
    return points, memory


def latency(changes, seconds):
    """Milliseconds from the return of close(2) to the line that tells of it, and what is used at rest."""
    path = f"{SCRATCH}/tree"
    directories = tree(path, 1000, 10)
    rows = []
    print(f"\nfrom close(2) to the event, 1,000 directories with 10,000 files; then {seconds} s at rest\n{'':32}{'median ms':>10}{'p95':>9}{'most':>9}{'n':>6}{'CPU ms each':>13}{'at rest: CPU ms':>17}{'wake-ups':>10}", flush=True)
    for kind in ALL:
        contender = begin(kind, path, directories)
        if contender is None:
            continue
        settle_down(contender)
        taken, cpu, begun = [], contender.cpu(), time.perf_counter()
        for _ in range(changes):
            directory = random.randrange(1000)
            name = f"g{directory // 100}/d{directory}/f{random.randrange(10)}"
            descriptor = os.open(f"{path}/{name}", os.O_WRONLY | os.O_TRUNC)
            os.write(descriptor, random.randbytes(1000))
            os.close(descriptor)
            closed = time.perf_counter()
            while not any(told.endswith(name.encode()) for told in contender.read(10)):
                if time.perf_counter() - closed > 10:
                    print(f"    {kind.name}: a change was not told of within 10 s", flush=True)
                    break
            else:
                taken.append((time.perf_counter() - closed) * 1000)
            if time.perf_counter() - begun > 12:
                break
            time.sleep(random.uniform(0.01, 0.03))
        cpu = (contender.cpu() - cpu) * 1000 / max(1, len(taken))
        settle_down(contender)
        rest, wakeups = contender.cpu(), contender.wakeups()
        time.sleep(seconds)
        rest, wakeups = (contender.cpu() - rest) * 1000, contender.wakeups() - wakeups
        contender.stop()
        taken.sort()
        median, late = statistics.median(taken), taken[int(0.95 * len(taken))]
        print(f"{kind.name:32}{median:10.2f}{late:9.2f}{taken[-1]:9.2f}{len(taken):6}{cpu:13.2f}{rest:17.0f}{wakeups:10}", flush=True)
        rows.append((kind.name, median, late))
    clear(path)
    return rows


def settle_down(contender):
    """Until it has nothing to do by itself: the daemon learns in the background what it has only listed."""
    while True:
        before = contender.cpu()
        while contender.read(0.3):
            pass
        if contender.cpu() - before < 0.02:
            return


def fill(path, files):
    """Writes `files` small ones in new directories, of a hundred each; in a process of its own, whose number is returned."""
    child = os.fork()
    if child == 0:
        os.makedirs(path)
        for index in range(files):
            if index % 100 == 0:
                directory = f"{path}/d{index // 100}"
                os.mkdir(directory)
            descriptor = os.open(f"{directory}/f{index}", os.O_WRONLY | os.O_CREAT, 0o644)
            os.write(descriptor, b"x" * 100)
            os.close(descriptor)
        os._exit(0)
    return child


def bursts(sizes, most):
    """Seconds until each of many new files was told of, and how many were not within `most` seconds."""
    path, rows = f"{SCRATCH}/tree", []
    directories = tree(path, 1000, 0)
    for files in sizes:
        begun = time.perf_counter()
        os.waitpid(fill(f"{path}/alone", files), 0)
        alone = time.perf_counter() - begun
        clear(f"{path}/alone")
        print(f"\n{files:,} new files at once, in {files // 100:,} new directories: writing them takes {alone:.1f} s\n{'':32}{'written s':>11}{'all told s':>12}{'missing':>9}{'CPU s':>8}{'memory MB':>11}", flush=True)
        # The floor knows of no new directories.
        for kind in [kind for kind in ALL if kind is not Inotify]:
            contender = begin(kind, path, directories)
            if contender is None:
                continue
            settle_down(contender)
            cpu, found = contender.cpu(), set()
            marker = f"burst{random.getrandbits(30)}"
            begun = last = time.perf_counter()
            child, written = fill(f"{path}/{marker}", files), None
            try:
                # Some tell of nothing before everything has been written.
                while len(found) < files and (written is None or time.perf_counter() - max(last, begun + written) < 6) \
                        and time.perf_counter() - begun < most:
                    new = {name[name.index(b"/f"):] for name in contender.read(1) if marker.encode() in name and b"/f" in name}
                    if not new <= found:
                        found |= new
                        last = time.perf_counter()
                    if written is None and os.waitpid(child, os.WNOHANG)[0]:
                        written = time.perf_counter() - begun
                taken = last - begun
                if written is None:
                    os.waitpid(child, 0)
                    written = time.perf_counter() - begun
                print(f"{kind.name:32}{written:11.2f}{taken:12.2f}{files - len(found):9,}{contender.cpu() - cpu:8.2f}{contender.memory():11.1f}", flush=True)
            except Ended:
                os.waitpid(child, 0)
                print(f"{kind.name:32} ended in the middle", flush=True)
            contender.stop()
            clear(f"{path}/{marker}")
            if len(found) == files:
                rows.append((f"{kind.name}, {files:,}", taken, None))
    clear(path)
    return rows


def restart(files):
    """A start on many files that have not changed since the last one."""
    path = f"{SCRATCH}/tree"
    directories = tree(path, files // 100, 100)
    print(f"\na start on {files:,} files in {files // 100:,} directories\n{'':46}{'ready s':>9}{'compared s':>12}{'CPU s':>8}{'memory MB':>11}", flush=True)
    row = lambda name, contender, compared="": print(
        f"{name:46}{contender.ready:9.2f}{compared:>12}{contender.cpu():8.2f}{contender.memory():11.1f}", flush=True)
    daemon = begin(Daemon, path, directories, attach=False)
    daemon.wait_compared()
    row("awatch run, for the first time", daemon)
    daemon.stop()
    daemon = Daemon(path, directories)
    row("awatch run, again", daemon, f"{daemon.wait_compared():.1f}")
    daemon.stop()
    # When it has stopped, its log is in it.
    size = os.path.getsize(f"{SCRATCH}/home/.local/state/akeys/watch/bench/index.db")
    print(f"{'':46}the index has {size / 1e6:.0f} MB, {size / files:.0f} bytes for each file")
    for kind in (Stream, Inotify, Inotifywait, Watchman, Fswatch, Lsyncd):
        contender = begin(kind, path, directories, attach=False)
        if contender is not None:
            row(kind.name, contender)
            contender.stop()
    clear(path)


def main():
    words = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    words.add_argument("--quick", action="store_true")
    words.add_argument("--docs")
    args = words.parse_args(sys.argv[3:])
    begun = time.perf_counter()
    listed = lambda name, default: [int(word) for word in os.environ.get(name, default).split(",")]
    with open("/proc/sys/fs/inotify/max_user_watches") as file:
        watches = int(file.read())
    sizes = [size for size in listed("BENCH_DIRS", "1000,10000" if args.quick else "1000,10000,100000") if size * 1.02 + 100 < watches]
    many = listed("BENCH_BURSTS", "10000" if args.quick else "10000,100000")
    print(f"{os.uname().sysname} {os.uname().release}; {os.cpu_count()} processors, load {os.getloadavg()[0]:.1f}; at most {watches:,} watches")
    for program in ("inotifywait", "watchman", "fswatch", "lsyncd"):
        if shutil.which(program):
            version = subprocess.run([program, "--version" if program != "inotifywait" else "--help"], capture_output=True, text=True)
            print(f"{program}: {(version.stdout or version.stderr).splitlines()[0]}")
        else:
            print(f"not compared, because it is not installed: {program}")
    os.makedirs(f"{SCRATCH}/home")
    points, memory = ready(sizes, 3)
    rows = latency(60 if args.quick else 200, 2 if args.quick else 5)
    burst = bursts(many, 15 if args.quick else 60)
    files = number("BENCH_FILES", 100000 if args.quick else 1000000)
    if files:
        restart(files)
    print(f"\nmeasured in {time.perf_counter() - begun:.0f} s")
    plots(args.docs or SCRATCH, points, memory, rows, burst)
    return 0


def plots(place, points, memory, rows, burst):
    machine = f"{os.cpu_count()} processors"
    by_value = lambda rows: sorted(rows, key=lambda row: row[1])
    ours, floor = (Stream, Daemon), Inotify
    curves = lambda kinds: [(kind.name, points[kind]) for kind in kinds if points[kind]]
    peers = [kind for kind in ALL if kind not in ours and kind is not floor]
    panels(f"{place}/watching-ready.svg", f"Time until a tree of so many directories is watched; {machine}",
           [("awatch, and the floor", curves([*ours, floor])), ("awatch, inotifywait, watchman", curves([Stream, *peers[:2]])), ("awatch, fswatch, lsyncd", curves([Stream, *peers[2:]]))])
    bars(f"{place}/watching-latency.svg", "From the return of close(2) to the event", f"{machine}, 1,000 directories and 10,000 files; logarithmic",
         by_value(rows), "ms", True, "median, and 95 of 100 are faster than")
    bars(f"{place}/watching-burst.svg", "Many new files in new directories at once: until each is told of", f"{machine}; who misses some is not shown",
         by_value(burst), "s")
    bars(f"{place}/watching-memory.svg", f"Memory at most, on the largest tree", machine,
         by_value([(kind.name, megabytes, None) for kind, megabytes in memory.items()]), "MB")


PROGRAMS, SCRATCH = os.path.dirname(sys.argv[1]), sys.argv[2]
sys.exit(main())
