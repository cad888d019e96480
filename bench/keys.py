#!/usr/bin/env python3
"""akeys beside ssh-keygen -lf and ansible's authorized_key, on key files from ten lines to a hundred thousand.

Six of ten keys are ed25519, four are RSA with 3072 bits, every fifth has a forced command. Everything is measured turn by
turn; numbers are medians of wall-clock time for a whole run of each program, and the most memory that it, or a program that it
starts, has had: akeys audit, add and remove ask sshd, which takes 9 MB by itself. ansible is Debian's package of that name, which
brings the collection ansible.posix; its module is run by itself, as ansible does it on the other side, and in a whole run. What is
not installed is named and left out. Nothing is asserted.

    BENCH_SIZES=10,100,1000,10000,100000
    BENCH_REPEATS=5     runs of each kind; three of those that take more than two seconds, one of those above ten

    --quick             up to ten thousand keys
    --docs DIR          draw time against size, as SVG
"""

import base64
import json
import os
import random
import shutil
import statistics
import struct
import subprocess
import sys
import time
from math import gcd, prod

GATE, SCRATCH = sys.argv[1:3]
AKEYS = os.path.join(os.path.dirname(GATE), "akeys")
USUAL = "10,100,1000,10000" + ("" if "--quick" in sys.argv else ",100000")
SIZES = [int(size) for size in os.environ.get("BENCH_SIZES", USUAL).split(",")]
DOCS = sys.argv[sys.argv.index("--docs") + 1] if "--docs" in sys.argv else None
REPEATS = int(os.environ.get("BENCH_REPEATS", "5"))
SMALL = prod(n for n in range(3, 2000, 2) if all(n % d for d in range(3, int(n**0.5) + 1, 2)))
MODULES = [
    "/usr/lib/python3/dist-packages/ansible_collections/ansible/posix/plugins/modules/authorized_key.py",
    os.path.expanduser("~/.ansible/collections/ansible_collections/ansible/posix/plugins/modules/authorized_key.py"),
]


def wire(*strings):
    return b"".join(struct.pack(">I", len(string)) + string for string in strings)


def ed25519(source):
    return "ssh-ed25519 " + base64.b64encode(wire(b"ssh-ed25519", source.randbytes(32))).decode()


def rsa(source):
    """A modulus that nobody has the factors of, without small ones, as a real key has none."""
    while True:
        modulus = source.getrandbits(3072) | 1 << 3071 | 1
        if gcd(modulus, SMALL) == 1:
            break
    blob = wire(b"ssh-rsa", b"\1\0\1", b"\0" + modulus.to_bytes(384, "big"))
    return "ssh-rsa " + base64.b64encode(blob).decode()


def lay_out(size):
    """A home whose key file has so many lines."""
    source = random.Random(size)
    home = f"{SCRATCH}/home{size}"
    os.makedirs(f"{home}/.ssh", mode=0o700)
    os.chmod(home, 0o755)
    path = f"{home}/.ssh/authorized_keys"
    with open(path, "w") as file:
        for index in range(size):
            key = rsa(source) if index % 5 in (1, 3) else ed25519(source)
            options = 'restrict,command="/bin/true" ' if index % 5 == 4 else ""
            file.write(f"{options}{key} user{index}@host.example.org\n")
    os.chmod(path, 0o600)
    return home, path


class Contender:
    """One program doing one thing to a key file."""

    def __init__(self, task, name, argv, changes=False):
        self.task, self.name, self.argv, self.changes = task, name, argv, changes
        self.times, self.memory = {}, {}

    def once(self, home, path, size):
        saved = f"{SCRATCH}/saved"
        if self.changes:
            shutil.copyfile(path, saved)
        argv = self.argv(home, path)
        environment = {"HOME": home, "PATH": os.environ["PATH"], "LC_ALL": "C.UTF-8"}
        figures = f"{SCRATCH}/figures"
        with open(f"{SCRATCH}/said", "wb") as said:
            begin = time.monotonic()
            ended = subprocess.run(
                [f"{SCRATCH}/peak", "-o", figures, *argv], env=environment, stdin=subprocess.DEVNULL, stdout=said, stderr=said
            )
            taken = time.monotonic() - begin
        # 5: akeys audit has found something.
        if ended.returncode not in (0, 5):
            sys.exit(f"{self.name}: {open(f'{SCRATCH}/said', errors='replace').read()[-1000:]}")
        if self.changes:
            if os.path.getsize(path) == os.path.getsize(saved):
                sys.exit(f"{self.name} changed nothing: {open(f'{SCRATCH}/said', errors='replace').read()[-1000:]}")
            shutil.copyfile(saved, path)
        self.times.setdefault(size, []).append(taken)
        self.memory[size] = max(self.memory.get(size, 0), int(open(figures).read().split()[0]))

    def wants_more(self, size):
        times = self.times.get(size, [])
        if not times:
            return True
        return len(times) < (1 if times[0] > 10 else min(3, REPEATS) if times[0] > 2 else REPEATS)

    def median(self, size):
        return statistics.median(self.times[size]) if size in self.times else None


NEW = ed25519(random.Random("new")) + " bench@new"


def ansible_module(state):
    """The module by itself, as ansible starts it on the other side."""

    def argv(home, path):
        args = {"user": "root" if os.geteuid() == 0 else os.environ["USER"], "path": path, "state": state}
        args |= {"key": NEW if state == "present" else first_key(path), "manage_dir": False}
        with open(f"{SCRATCH}/args.json", "w") as file:
            json.dump({"ANSIBLE_MODULE_ARGS": args}, file)
        return ["/usr/bin/python3", MODULE, f"{SCRATCH}/args.json"]

    return argv


def ansible_run(home, path):
    user = "root" if os.geteuid() == 0 else os.environ["USER"]
    args = f"user={user} path={path} manage_dir=false key='{NEW}'"
    return ["ansible", "localhost", "-m", "ansible.posix.authorized_key", "-a", args]


def first_key(path):
    """The second line has no options, so every tool removes the same."""
    with open(path) as file:
        return [next(file) for _ in range(2)][1].strip()


MODULE = next((path for path in MODULES if os.path.exists(path)), None)


def contenders():
    akeys = lambda *words: lambda home, path: [AKEYS, *words]
    all_of_them = [
        Contender("list", "akeys list", akeys("list")),
        Contender("list", "ssh-keygen -lf", lambda home, path: ["ssh-keygen", "-lf", path]),
        Contender("audit", "akeys audit", akeys("audit")),
        Contender("audit", "ssh-keygen -lf", lambda home, path: ["ssh-keygen", "-lf", path]),
        Contender("add", "akeys add", akeys("add", NEW), changes=True),
        Contender("remove", "akeys remove", akeys("remove", "--line", "2", "--allow-lockout"), changes=True),
    ]
    if MODULE:
        all_of_them.append(Contender("add", "ansible's module alone", ansible_module("present"), changes=True))
        all_of_them.append(Contender("remove", "ansible's module alone", ansible_module("absent"), changes=True))
    if MODULE and shutil.which("ansible"):
        all_of_them.append(Contender("add", "ansible, whole run", ansible_run, changes=True))
    else:
        print("skipped: ansible or its module authorized_key is not installed (apt-get install ansible)")
    return all_of_them


def seconds(value):
    return f"{value * 1000:.1f} ms" if value < 1 else f"{value:.2f} s"


def main():
    everybody = contenders()
    files = {}
    for size in SIZES:
        home, path = lay_out(size)
        files[size] = os.path.getsize(path)
        while waiting := [one for one in everybody if one.wants_more(size)]:
            random.shuffle(waiting)
            for one in waiting:
                one.once(home, path, size)
        shutil.rmtree(home)
    for size in SIZES:
        print(f"\n{size} keys, {files[size] / 1e6:.3f} MB")
        for task in ("list", "audit", "add", "remove"):
            ours, *others = [one for one in everybody if one.task == task]
            mine = ours.median(size)
            memory = ours.memory[size] * 1024
            print(f"  {ours.name:24} {seconds(mine):>10}   {memory / 1e6:7.1f} MB, {memory / files[size]:6.2f} times the file")
            for one in others:
                theirs = one.median(size)
                memory = one.memory[size] * 1024
                ratio = f"{theirs / mine:.1f} times ours"
                print(f"    {one.name:22} {seconds(theirs):>10}   {memory / 1e6:7.1f} MB, {ratio}")
    if DOCS:
        from lines import panels

        tasks = [
            (task, [(one.name, [(size, one.median(size)) for size in SIZES]) for one in everybody if one.task == task])
            for task in ("list", "audit", "add", "remove")
        ]
        panels(f"{DOCS}/akeys-speed.svg", "Seconds for one run, by the number of keys in the file", tasks)


main()
