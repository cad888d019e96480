#!/usr/bin/env python3
"""afiles follow beside lsyncd, Unison, Syncthing and the loop of inotifywait and rsync that people write themselves.

Everything is measured in one run, over a real sshd on loopback, as an ordinary user: as root it becomes one. A pod's
directory follows a workspace; the peers keep another directory the same as it, each alone while it is measured. Times are
from before a file is opened to the moment when its new content is under its name at the other end. Nothing is asserted.

What was measured is left where it is until the end: ext4 gives an inode away again only minutes after its file was removed, and
until then looks for another in vain, which would make the next one slow.

    --quick              the small tree, and few peers
    --part NAME          small, far (over a slow link) or large alone; without it, all of them
    --docs DIR           the plots, as SVG
    BENCH_CHANGES=200    changes of one file for afiles; the peers get fewer
    BENCH_LARGE=100000   files in the large tree, of 10 in each directory; 0 leaves it out
    BENCH_BURST=10000    new files at once
"""

import argparse
import contextlib
import ctypes
import os
import random
import re
import select
import shutil
import signal
import statistics
import subprocess
import sys
import time
import xml.etree.ElementTree as xml

from bars import bars
from sshd import ROUND_TRIP, Port, locked, number, run, write

USER = 58000 + random.randrange(900)
LIBC = ctypes.CDLL(None, use_errno=True)
PR_SET_CHILD_SUBREAPER = 36
TICKS = os.sysconf("SC_CLK_TCK")


def become_ordinary(arguments):
    """As root: this once more as a user of its own, in a mount namespace whose account list has that user."""
    with open("/etc/passwd") as file:
        accounts = file.read()
    passwd, home = f"{SCRATCH}/passwd", f"{SCRATCH}/user"
    with open(passwd, "w") as file:
        file.write(f"{accounts}bench:x:{USER}:{USER}::{home}:/bin/bash\n")
    os.chmod(passwd, 0o644)
    os.chmod(SCRATCH, 0o755)
    os.makedirs(home)
    os.makedirs(f"{SCRATCH}/docs")
    for path in (home, f"{SCRATCH}/docs"):
        os.chown(path, USER, USER)
    become = 'mount --bind "$0" /etc/passwd && exec setpriv --reuid="$1" --regid="$1" --clear-groups "${@:2}"'
    unshare = ["unshare", "--mount", "--propagation", "private", "bash", "-c", become, passwd, str(USER)]
    again = [sys.executable, os.path.abspath(__file__), sys.argv[1], home, *arguments, "--docs", f"{SCRATCH}/docs"]
    environment = {"PATH": os.environ["PATH"] + ":/usr/sbin:/sbin", "HOME": home, "LANG": "C.UTF-8", "PYTHONDONTWRITEBYTECODE": "1"}
    environment |= {name: value for name, value in os.environ.items() if name.startswith("BENCH_")}
    return subprocess.run(unshare + again, env=environment, cwd="/").returncode


def tree(path, directories, each):
    """A tree of small files: `directories` in groups of a hundred, and `each` files in each."""
    for index in range(directories):
        directory = f"{path}/g{index // 100}/d{index}"
        os.makedirs(directory)
        for file in range(each):
            with open(f"{directory}/f{file}", "wb") as out:
                out.write(random.randbytes(1000))


class Host:
    """The user's account: a home with the workspace, and a private sshd for pods and for the peers."""

    def __init__(self):
        self.home, self.work = f"{SCRATCH}/home", f"{SCRATCH}/home/papers"
        binaries = f"{self.home}/.local/bin"
        os.makedirs(binaries)
        for name in ("akeys", "awatch", "afiles", "rrsync-rs"):
            shutil.copy(f"{PROGRAMS}/{name}", binaries)
        self.akeys, self.afiles = f"{binaries}/akeys", f"{binaries}/afiles"
        for key in ("host_key", "peer_key"):
            run(["ssh-keygen", "-q", "-t", "ed25519", "-N", "", "-C", "", "-f", f"{SCRATCH}/{key}"])
        os.makedirs(f"{self.home}/.ssh", mode=0o700)
        with open(f"{SCRATCH}/peer_key.pub") as public:
            write(f"{self.home}/.ssh/authorized_keys", public.read())
        write(
            f"{SCRATCH}/sshd_config",
            f"HostKey {SCRATCH}/host_key\nAuthorizedKeysFile {self.home}/.ssh/authorized_keys\nPidFile none\nStrictModes no\n"
            f'SetEnv "HOME={self.home}"\nUsePAM {"yes" if locked() else "no"}\nPermitRootLogin prohibit-password\n'
            "MaxStartups 1000\nMaxSessions 100\nLogLevel ERROR\nSubsystem sftp internal-sftp\n",
        )

    def environment(self, home):
        return {"HOME": home, "PATH": os.environ["PATH"], "LANG": "C.UTF-8"}

    def known(self):
        with open(f"{SCRATCH}/host_key.pub") as file:
            return " ".join(file.read().split()[:2])

    def ssh_config(self, port, held):
        """A file for ssh's -F, by which the peers log in."""
        path = f"{SCRATCH}/ssh-{port.number}-{held}"
        write(f"{SCRATCH}/known-{port.number}", f"bench {self.known()}\n")
        master = f"ControlMaster auto\nControlPath {SCRATCH}/m-{port.number}\nControlPersist 600\n" if held else ""
        write(
            path,
            f"Host *\nHostName 127.0.0.1\nPort {port.number}\nHostKeyAlias bench\nIdentityFile {SCRATCH}/peer_key\n"
            f"IdentitiesOnly yes\nIdentityAgent none\nUserKnownHostsFile {SCRATCH}/known-{port.number}\nBatchMode yes\n{master}",
        )
        return path

    def pod(self, port, name):
        """A pod that has met this account, through `port`."""
        home = f"{SCRATCH}/{name}"
        os.makedirs(home, mode=0o700)
        there, here = self.environment(home), self.environment(self.home)
        tools = ["--tools", "rsync,sftp,watch"]
        run([self.akeys, "federation", "new", "lab", "--pod", name, *tools], env=there, cwd=home)
        write(f"{SCRATCH}/{name}.toml", run([self.akeys, "federation", "export", "lab"], env=there, cwd=home))
        write(f"{SCRATCH}/host.pub", self.known() + "\n")
        run(
            [self.akeys, "install", "--bundle", f"{SCRATCH}/{name}.toml", "--workspace", f"{self.work}:papers",
             "--address", f"127.0.0.1:{port.number}", "--host-key", f"{SCRATCH}/host.pub"],
            env=here, cwd=self.home,
        )
        run([self.akeys, "federation", "meet", f"{self.home}/.config/akeys/issued/lab.{name}.toml"], env=there, cwd=home)
        return home


# ---------------------------------------------------------------- processes


def processes():
    """Those that this one has started, and what they have started: number, name, and seconds of processor time with those of children
    that were waited for. Nobody else's are ever looked at, because what is found may be ended."""
    found, parents = {}, {}
    for entry in os.scandir("/proc"):
        if not entry.name.isdigit():
            continue
        try:
            with open(f"/proc/{entry.name}/stat") as file:
                before, after = file.read().rsplit(")", 1)
        except OSError:
            continue
        fields = after.split()
        parents[int(entry.name)] = int(fields[1])
        found[int(entry.name)] = (before.split("(", 1)[1], sum(map(int, fields[11:15])) / TICKS)

    def is_ours(pid):
        while pid not in (0, os.getpid()):
            pid = parents.get(pid, 0)
        return pid != 0

    return {pid: what for pid, what in found.items() if pid != os.getpid() and is_ours(pid)}


class Kept:
    """A directory that something keeps the same as the source."""

    def __init__(self, name, source, target, start, home=None):
        self.name, self.source, self.target = name, source, target
        self.base = set(processes())
        self.log = open(f"{SCRATCH}/log", "ab")
        self.children = [
            subprocess.Popen(argv, stdin=subprocess.DEVNULL, stdout=self.log, stderr=self.log, start_new_session=True, **how)
            for argv, how in start
        ]
        self.ready = self.wait_ready()

    def wait_ready(self):
        begin = time.perf_counter()
        probe = f"probe-{random.getrandbits(60)}"
        while time.perf_counter() - begin < 240:
            taken = change(self, probe, 2)
            if taken is not None:
                return time.perf_counter() - begin
        self.stop()
        return None

    def own(self):
        return {pid: found for pid, found in processes().items() if pid not in self.base}

    def cpu(self):
        return sum(seconds for _, seconds in self.own().values())

    def memory(self):
        """Largest resident memory in MB: of the program's own processes, and of ssh's and sshd's."""
        sums = {"own": 0.0, "ssh": 0.0}
        for pid, (name, _) in self.own().items():
            try:
                with open(f"/proc/{pid}/status") as file:
                    found = re.search(r"VmHWM:\s+(\d+) kB", file.read())
            except OSError:
                continue
            if found:
                sums["ssh" if name in ("ssh", "sshd") else "own"] += int(found[1]) / 1000
        return sums["own"], sums["ssh"]

    def each_memory(self):
        found = {}
        for pid, (name, _) in self.own().items():
            try:
                with open(f"/proc/{pid}/status") as file:
                    peak = re.search(r"VmHWM:\s+(\d+) kB", file.read())
            except OSError:
                continue
            if peak and name not in ("ssh", "sshd"):
                found[name] = max(found.get(name, 0), int(peak[1]) / 1000)
        return found

    def stop(self):
        for child in self.children:
            try:
                os.killpg(child.pid, signal.SIGTERM)
            except ProcessLookupError:
                pass
        for child in self.children:
            try:
                child.wait(10)
            except subprocess.TimeoutExpired:
                os.killpg(child.pid, signal.SIGKILL)
                child.wait()
        # What it has left behind: held connections, and what is at their other end.
        for pid in self.own():
            try:
                os.kill(pid, signal.SIGTERM)
            except ProcessLookupError:
                pass
        self.log.close()


# ---------------------------------------------------------------- one change


class Arrivals:
    """Reports of the kernel about one directory."""

    MASK = 0x8 | 0x80 | 0x100 | 0x2  # closed after writing, moved to, created, modified

    def __init__(self, directory):
        self.fd = LIBC.inotify_init1(os.O_NONBLOCK | os.O_CLOEXEC)
        if LIBC.inotify_add_watch(self.fd, directory.encode(), self.MASK) < 0:
            raise OSError(ctypes.get_errno(), directory)

    def wait(self, seconds):
        readable, _, _ = select.select([self.fd], [], [], seconds)
        if readable:
            os.read(self.fd, 1 << 16)

    def __enter__(self):
        return self

    def __exit__(self, *_):
        os.close(self.fd)


def change(kept, path, patience=30.0):
    """Changes a file at the source: seconds until its content is at the target, or None."""
    content = random.randbytes(1000)
    target = f"{kept.target}/{path}"
    if not os.path.isdir(os.path.dirname(target)):
        return None
    with Arrivals(os.path.dirname(target)) as arrivals:
        begin = time.perf_counter()
        with open(f"{kept.source}/{path}", "wb") as file:
            file.write(content)
        while True:
            try:
                with open(target, "rb") as file:
                    if file.read() == content:
                        return time.perf_counter() - begin
            except FileNotFoundError:
                pass
            left = patience - (time.perf_counter() - begin)
            if left <= 0:
                return None
            arrivals.wait(min(left, 0.5))


def latency(kept, directories, changes, budget):
    """Milliseconds of each change, and milliseconds of processor time for each."""
    taken = []
    begin, cpu = time.perf_counter(), kept.cpu()
    for _ in range(changes):
        directory = random.randrange(directories)
        found = change(kept, f"g{directory // 100}/d{directory}/f{random.randrange(10)}")
        if found is None:
            print(f"    {kept.name}: a change has not arrived within half a minute", flush=True)
            break
        taken.append(found * 1000)
        if time.perf_counter() - begin > budget:
            break
        time.sleep(random.uniform(0.02, 0.04))
    return taken, (kept.cpu() - cpu) * 1000 / max(1, len(taken))


def percentile(values, part):
    values = sorted(values)
    return values[min(len(values) - 1, int(part * len(values)))]


# ---------------------------------------------------------------- many new files


def count(path):
    found = 0
    try:
        for entry in os.scandir(path):
            if entry.is_dir(follow_symlinks=False):
                found += count(entry.path)
            elif not entry.name.startswith("."):
                found += 1
    except FileNotFoundError:
        pass
    return found


def burst(kept, files, patience=120.0):
    """Seconds until `files` new ones have all arrived, from the first write; and until they are gone again."""
    name = f"burst-{random.getrandbits(40)}"
    begin = time.perf_counter()
    fill(f"{kept.source}/{name}", files)
    arrived = until(lambda: count(f"{kept.target}/{name}") == files, begin, patience)
    if arrived is not None and not same(f"{kept.source}/{name}", f"{kept.target}/{name}"):
        print(f"    {kept.name}: what has arrived differs", flush=True)
    begin = time.perf_counter()
    shutil.rmtree(f"{kept.source}/{name}")
    gone = None
    if arrived is not None:
        gone = until(lambda: not os.path.exists(f"{kept.target}/{name}"), begin, patience)
    return arrived, gone


def fill(path, files):
    for index in range(files):
        if index % 100 == 0:
            directory = f"{path}/d{index // 100}"
            os.makedirs(directory)
        with open(f"{directory}/f{index}", "wb") as file:
            file.write(random.randbytes(1000))


def until(done, begin, patience):
    while not done():
        if time.perf_counter() - begin > patience:
            return None
        time.sleep(0.02)
    return time.perf_counter() - begin


def same(one, other):
    return subprocess.run(["diff", "-r", "-q", one, other], capture_output=True).returncode == 0


def rsync_of_the_same(host, config, files, turns):
    """What a script would do: write them, then one `rsync -a` of the new directory over a held connection; that alone, too."""
    both, alone, writing = [], [], []
    for _ in range(turns):
        name = f"burst-{random.getrandbits(40)}"
        source, target = f"{host.work}/{name}", f"{SCRATCH}/rsync-{name}"
        begin = time.perf_counter()
        fill(source, files)
        written = time.perf_counter()
        run(["rsync", "-a", "-e", f"ssh -F {config}", f"{source}/", f"bench:{target}/"])
        end = time.perf_counter()
        both.append(end - begin)
        alone.append(end - written)
        writing.append(written - begin)
    return statistics.median(both), statistics.median(alone), statistics.median(writing)


# ---------------------------------------------------------------- who is compared


class Peers:
    def __init__(self, host, port):
        self.host, self.port = host, port
        self.pods = 0

    def afiles(self, durability="batch"):
        self.pods += 1
        home = self.host.pod(self.port, f"pod{self.port.number}n{self.pods}")
        target = self.copy(f"{home}/papers")
        argv = [self.host.afiles, "follow", "papers:", target, "--durability", durability]
        how = {"env": self.host.environment(home), "cwd": home}
        name = "afiles" if durability == "batch" else f"afiles, durability {durability}"
        return Kept(name, self.host.work, target, [(argv, how)])

    def copy(self, target=None):
        """Where a peer is to keep the same as the source: it is that already."""
        target = target or f"{SCRATCH}/target-{random.getrandbits(40)}"
        run(["cp", "-a", f"{self.host.work}/.", target])
        return target

    def lsyncd(self, delay, held):
        if not shutil.which("lsyncd"):
            return None
        target, config = self.copy(), self.host.ssh_config(self.port, held)
        name = "lsyncd, defaults" if delay is None else f"lsyncd, delay {delay}" + (", held connection" if held else "")
        wait = "" if delay is None else f"delay = {delay},"
        write(
            f"{SCRATCH}/lsyncd.lua",
            f'settings {{ nodaemon = true, insist = true }}\nsync {{ default.rsync, source = "{self.host.work}", '
            f'target = "bench:{target}", {wait} rsync = {{ binary = "/usr/bin/rsync", archive = true, rsh = "ssh -F {config}" }} }}\n',
        )
        return Kept(name, self.host.work, target, [(["lsyncd", f"{SCRATCH}/lsyncd.lua"], {})])

    def unison(self):
        if not shutil.which("unison"):
            return None
        target, config = self.copy(), self.host.ssh_config(self.port, False)
        watch = bool(shutil.which("unison-fsmonitor"))
        argv = ["unison", self.host.work, f"ssh://bench/{target}", "-batch", "-auto", "-times", "-repeat", "watch" if watch else "1",
                "-sshargs", f"-F {config}", "-logfile", f"{SCRATCH}/unison.log", "-ui", "text"]
        how = {"env": self.host.environment(f"{SCRATCH}") | {"UNISON": f"{SCRATCH}/unison"}}
        return Kept("Unison, -repeat " + ("watch" if watch else "1"), self.host.work, target, [(argv, how)])

    def syncthing(self, delay):
        if not shutil.which("syncthing"):
            return None
        target = self.copy()
        homes = [f"{SCRATCH}/syncthing-{random.getrandbits(40)}" for _ in range(2)]
        ports, names = [free_port(), free_port()], []
        for home in homes:
            run(["syncthing", "generate", "--home", home, "--no-default-folder"], env=self.host.environment(home))
            names.append(run(["syncthing", "--home", home, "--device-id"], env=self.host.environment(home)).strip())
        start = []
        for side, (home, path) in enumerate(zip(homes, (self.host.work, target))):
            syncthing_config(f"{home}/config.xml", side, names, ports, path, delay)
            os.makedirs(f"{path}/.stfolder", exist_ok=True)
            argv = ["syncthing", "serve", "--home", home, "--no-browser", "--no-restart", "--no-upgrade"]
            start.append((argv, {"env": self.host.environment(home)}))
        name = "Syncthing, defaults" if delay is None else f"Syncthing, delay {delay} s"
        return Kept(name, self.host.work, target, start)

    def loop(self, held):
        if not shutil.which("inotifywait"):
            return None
        target, config = self.copy(), self.host.ssh_config(self.port, held)
        watch = f"inotifywait -m -r -q -e close_write,moved_to,create,delete --format %w%f {self.host.work}"
        rest = "while read -r -t 0.01 more; do all=$all$'\\n'$more; done"
        if held:
            name = "inotifywait | rsync --files-from, held"
            copy = (f'printf "%s\\n" "$all" | sed "s|^{self.host.work}/||" | '
                    f'rsync -a --files-from=- --ignore-missing-args -e "ssh -F {config}" {self.host.work} bench:{target}')
        else:
            name = "inotifywait | rsync -a"
            copy = f'rsync -a --delete -e "ssh -F {config}" {self.host.work}/ bench:{target}'
        script = f"{watch} | while read -r all; do {rest}; {copy}; done"
        return Kept(name, self.host.work, target, [(["bash", "-c", script], {})])


def free_port():
    import socket

    with socket.create_server(("127.0.0.1", 0)) as one:
        return one.getsockname()[1]


def syncthing_config(path, side, names, ports, folder, delay):
    config = xml.parse(path)
    root = config.getroot()
    for old in root.findall("device") + root.findall("folder"):
        root.remove(old)
    settings = {
        "listenAddress": f"tcp://127.0.0.1:{ports[side]}", "globalAnnounceEnabled": "false", "localAnnounceEnabled": "false",
        "relaysEnabled": "false", "natEnabled": "false", "urAccepted": "-1", "crashReportingEnabled": "false",
        "startBrowser": "false", "setLowPriority": "false",
    }
    options = root.find("options")
    for name, value in settings.items():
        for old in options.findall(name):
            options.remove(old)
        xml.SubElement(options, name).text = value
    root.find("gui").set("enabled", "false")
    for index, name in enumerate(names):
        device = xml.SubElement(root, "device", id=name, name=str(index), compression="never")
        xml.SubElement(device, "address").text = f"tcp://127.0.0.1:{ports[index]}"
    kind = "sendonly" if side == 0 else "receiveonly"
    watch = {} if delay is None else {"fsWatcherDelayS": str(delay)}
    shared = xml.SubElement(root, "folder", id="bench", path=folder, type=kind, rescanIntervalS="3600", fsWatcherEnabled="true", **watch)
    for name in names:
        xml.SubElement(shared, "device", id=name)
    config.write(path)


# ---------------------------------------------------------------- the measurement


class Figures:
    """What was measured, printed as it comes, and kept for the plots."""

    def __init__(self):
        self.latency, self.bursts, self.memory = [], [], []

    def head(self, title):
        print(f"\n{title}\n{'':40}{'median':>9}{'p95':>9}{'n':>5}{'CPU ms':>8}{'memory MB':>11}{'+ ssh':>7}{'idle %':>8}{'ready s':>9}", flush=True)

    def measure(self, kept, directories, changes, budget, idle=3.0, files=0, plot=True):
        """A row for somebody who keeps a directory the same."""
        if kept is None:
            return
        if kept.ready is None:
            return print(f"{kept.name:40} never became ready", flush=True)
        taken, cpu = latency(kept, directories, changes, budget)
        begin = kept.cpu()
        time.sleep(idle)
        idles = (kept.cpu() - begin) / idle * 100
        own, ssh = kept.memory()
        if taken:
            median, late = statistics.median(taken), percentile(taken, 0.95)
            print(f"{kept.name:40}{median:9.1f}{late:9.1f}{len(taken):5}{cpu:8.1f}{own:11.1f}{ssh:7.1f}{idles:8.2f}{kept.ready:9.1f}", flush=True)
            if plot:
                self.latency.append((kept.name, median, late))
                self.memory.append((kept.name, own, None))
        if kept.name.startswith("afiles"):
            each = ", ".join(f"{name} {peak:.1f}" for name, peak in sorted(kept.each_memory().items()))
            print(f"{'':40}memory of each, MB: {each}", flush=True)
        if files:
            cpu = kept.cpu()
            arrived, gone = burst(kept, files)
            cpu = kept.cpu() - cpu
            said = lambda seconds: "not within 2 minutes" if seconds is None else f"{seconds:.1f} s"
            print(f"{'':40}{files} new files: {said(arrived)}; gone again: {said(gone)}; {cpu:.1f} s of processor time for both", flush=True)
            if arrived is not None and plot:
                self.bursts.append((kept.name, arrived, gone))
        kept.stop()


def thresholds(host, config, port):
    """Where SFTP and rsync meet: a file with one changed block, on a held connection, whole by sftp or by delta with rsync."""
    print(f"\none changed block in a file that is there already, held connection, ms: all of it by sftp, the difference by rsync\n"
          f"{'size':>10}{'sftp':>9}{'rsync':>9}", flush=True)
    place = f"{SCRATCH}/threshold"
    os.makedirs(f"{place}/there")
    os.makedirs(f"{place}/here")
    for kib in (16, 256, 1024, 4096, 16384, 65536):
        base = random.randbytes(kib << 10)
        taken = {"sftp": [], "rsync": []}
        for turn in range(5):
            for way in taken:
                middle = len(base) // 2
                changed = base[:middle] + random.randbytes(100) + base[middle + 100:]
                for side, content in (("there", changed), ("here", base)):
                    with open(f"{place}/{side}/file", "wb") as file:
                        file.write(content)
                # Another size of time stamp, so that rsync does not take one for the other.
                os.utime(f"{place}/here/file", (1, 1))
                begin = time.perf_counter()
                if way == "sftp":
                    run(["sftp", "-q", "-b", "-", "-F", config, "bench"], input=f"get {place}/there/file {place}/here/file\n")
                else:
                    run(["rsync", "-a", "-e", f"ssh -F {config}", f"bench:{place}/there/file", f"{place}/here/file"])
                taken[way].append((time.perf_counter() - begin) * 1000)
        print(f"{kib:8} KiB{statistics.median(taken['sftp']):9.1f}{statistics.median(taken['rsync']):9.1f}", flush=True)


def much(host, port):
    """What takes long: all files for the first time, and 5 GB in one file with holes."""
    home = host.pod(port, "much")
    how = {"env": host.environment(home), "cwd": home}
    config = host.ssh_config(port, True)
    afiles = timed(lambda: run([host.afiles, "pull", "papers:", "papers"], **how))
    again = timed(lambda: run([host.afiles, "pull", "papers:", "papers"], **how))
    rsync = timed(lambda: run(["rsync", "-a", "-e", f"ssh -F {config}", f"bench:{host.work}/", f"{home}/by-rsync/"]))
    print(f"\n{count(host.work):,} files for the first time: afiles pull {afiles:.1f} s, again {again:.1f} s; rsync -a, held connection, {rsync:.1f} s", flush=True)
    print("                    the copy " + ("is the same" if same(host.work, f"{home}/papers") else "DIFFERS"), flush=True)
    with open(f"{host.work}/sparse", "wb") as file:
        file.truncate(5 << 30)
        for place in (0, 3 << 30, (5 << 30) - 4):
            file.seek(place)
            file.write(b"data")
    fetch = timed(lambda: run([host.afiles, "fetch", "papers:sparse", "sparse"], **how))
    pull = timed(lambda: run([host.afiles, "pull", "papers:", "papers"], **how))
    found = [f"{home}/sparse", f"{home}/papers/sparse"]
    whole = all(subprocess.run(["cmp", "-s", f"{host.work}/sparse", path]).returncode == 0 for path in found)
    blocks = " and ".join(f"{os.stat(path).st_blocks * 512 // 1000} kB" for path in found)
    print(f"5 GB, all but 12 bytes a hole: afiles fetch {fetch:.1f} s, afiles pull {pull:.1f} s; on the disk {blocks}; "
          + ("the same" if whole else "DIFFERENT"), flush=True)


def timed(what):
    begin = time.perf_counter()
    what()
    return time.perf_counter() - begin


def main():
    words = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    words.add_argument("--quick", action="store_true")
    words.add_argument("--part", choices=("small", "far", "large"))
    words.add_argument("--docs")
    args = words.parse_args(sys.argv[3:])
    if os.getuid() == 0:
        status = become_ordinary((["--quick"] if args.quick else []) + (["--part", args.part] if args.part else []))
        if args.docs:
            for name in os.listdir(f"{SCRATCH}/docs"):
                shutil.copy(f"{SCRATCH}/docs/{name}", args.docs)
        return status
    # What goes into the background stays below this process.
    LIBC.prctl(PR_SET_CHILD_SUBREAPER, 1, 0, 0, 0)
    begin = time.perf_counter()
    figures = Figures()
    changes, new = number("BENCH_CHANGES", 60 if args.quick else 200), number("BENCH_BURST", 10000)
    version = subprocess.run(["ssh", "-V"], capture_output=True, text=True).stderr.strip()
    print(f"{version}; {os.uname().sysname} {os.uname().release}; {os.cpu_count()} processors, load {os.getloadavg()[0]:.1f}; user {os.getuid()}")
    host = Host()
    port = Port(f"{SCRATCH}/sshd_config")
    peers = Peers(host, port)
    for missing in ("lsyncd", "unison", "syncthing", "inotifywait"):
        if not shutil.which(missing):
            print(f"not compared, because it is not installed: {missing}")
    if not shutil.which("mutagen"):
        print("not compared: Mutagen, which Debian does not have")
    wanted = lambda part: args.part in (None, part)
    large = number("BENCH_LARGE", 100000)
    if wanted("small") or wanted("far"):
        tree(host.work, 1000, 10)
    if wanted("small"):
        small(figures, host, port, peers, changes, new, args.quick)
    if wanted("far"):
        far(figures, host, changes)
    if wanted("large") and large and not args.quick:
        if os.path.exists(host.work):
            os.rename(host.work, f"{host.home}/small")
        tree(host.work, large // 10, 10)
        figures.head(f"one small file changed in a tree of {large // 10:,} directories and {large:,} files, in ms")
        figures.measure(peers.afiles(), large // 10, changes, 30, plot=False)
        figures.measure(peers.lsyncd(0, True), large // 10, 60, 8, plot=False)
        much(host, port)
    # The held connections of the peers would stay for minutes.
    for pid in processes():
        with contextlib.suppress(ProcessLookupError):
            os.kill(pid, signal.SIGTERM)
    print(f"\nmeasured in {time.perf_counter() - begin:.0f} s")
    if figures.latency:
        plots(figures, args.docs or SCRATCH)
    return 0


def small(figures, host, port, peers, changes, new, quick):
    """Everybody, in the small tree."""
    figures.head("one small file changed in a tree of 1,000 directories and 10,000 files, in ms")
    figures.measure(peers.afiles(), 1000, changes, 30, files=new)
    figures.measure(peers.afiles("none"), 1000, changes, 30)
    figures.measure(peers.lsyncd(0, True), 1000, 60, 8, files=new)
    figures.measure(peers.loop(True), 1000, 60, 8)
    if not quick:
        figures.measure(peers.lsyncd(0, False), 1000, 30, 8)
        figures.measure(peers.lsyncd(1, False), 1000, 10, 10)
        figures.measure(peers.lsyncd(None, False), 1000, 1, 20)
        figures.measure(peers.unison(), 1000, 10, 15, files=new)
        figures.measure(peers.syncthing(1), 1000, 10, 12, files=new)
        figures.measure(peers.syncthing(None), 1000, 1, 15)
        figures.measure(peers.loop(False), 1000, 15, 10, files=new)
    config = host.ssh_config(port, True)
    both, alone, writing = rsync_of_the_same(host, config, new, 2)
    print(f"\n{new} new files by hand: writing them {writing:.1f} s, then rsync -a of them on a held connection {alone:.1f} s; together {both:.1f} s")
    figures.bursts.append(("rsync -a by hand, held connection", both, None))
    thresholds(host, config, port)


def far(figures, host, changes):
    """Over a slow link."""
    figures.head("the same over a link of 40 ms (a relay delays every byte), in ms")
    slow = Peers(host, Port(f"{SCRATCH}/sshd_config", ROUND_TRIP / 2))
    figures.measure(slow.afiles(), 1000, changes // 4, 15, idle=0.5, plot=False)
    figures.measure(slow.lsyncd(0, True), 1000, 15, 8, idle=0.5, plot=False)


def plots(figures, place):
    machine = f"{os.cpu_count()} processors, sshd on loopback, 1,000 directories and 10,000 files"
    by_value = lambda rows: sorted(rows, key=lambda row: row[1])
    bars(f"{place}/following-latency.svg", "One small file: from the write to its arrival", f"{machine}; logarithmic",
         by_value(figures.latency), "ms", True, "median, and 95 of 100 are faster than")
    bars(f"{place}/following-burst.svg", f"{number('BENCH_BURST', 10000):,} new small files at once, and their removal", machine,
         by_value(figures.bursts), "s", apart=("from the first write until all have arrived", "from their removal until they are gone"))
    bars(f"{place}/following-memory.svg", "Memory at most, without ssh's own", machine, by_value(figures.memory), "MB")


PROGRAMS, SCRATCH = os.path.dirname(sys.argv[1]), sys.argv[2]
sys.exit(main())
