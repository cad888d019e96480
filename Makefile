# What a newcomer needs: `make demo`, `make test`, `make install`. Each works from a fresh clone, as an ordinary user.

PREFIX = $(HOME)/.local
export PREFIX DESTDIR

# The rsync that the tests run, on both sides, and another client for it: `make test RSYNC=/opt/rsync/bin/rsync`.
export AKEYS_RSYNC = $(RSYNC)
export AKEYS_RSYNC_CLIENT = $(RSYNC_CLIENT)

.PHONY: help demo test check fuzz bench bench-sftp bench-keys bench-follow bench-watch install uninstall clean

help:
	@echo 'make demo                      run the whole thing in a scratch home, and see what it does'
	@echo 'make test [RSYNC=…]            every test, with a real sshd and a real rsync, or the one that is named'
	@echo 'make check                     formatting, lints, manual, dependencies'
	@echo 'make fuzz [FUZZ_SECONDS=60]    each fuzz target for so long'
	@echo 'make bench                     the gate beside rrsync and a bare exec, with ratios'
	@echo 'make bench-sftp [QUICK=1]      its SFTP beside OpenSSH, with ratios'
	@echo 'make bench-keys [QUICK=1]      akeys beside ssh-keygen and ansible, up to 100,000 keys'
	@echo 'make bench-follow [QUICK=1]    a copy that follows, beside lsyncd, Unison, Syncthing and a loop of rsync; PART=large for many files'
	@echo 'make bench-watch [QUICK=1]     awatch beside inotifywait, watchman, fswatch and lsyncd'
	@echo 'make install [PREFIX=~/.local] the programs and the manual; DESTDIR is honoured'
	@echo 'make uninstall [PREFIX=…]      take them away again'
	@echo 'make clean                     remove what was built'

demo:
	@scripts/packages.sh sshd ssh ssh-keygen rsync
	@scripts/demo.sh

# The gate is tested as it is installed. The end-to-end tests run it, another package's program, so it is built first.
test: export GATE_TARGET = $(shell scripts/gate-target.sh)
test:
	@scripts/packages.sh sshd ssh ssh-keygen scp sftp rsync
	@scripts/packages.sh bash dash busybox flock || echo 'going on: the installer is tried in those shells that are there'
	@scripts/packages.sh tcsh fish zsh mksh || echo 'going on: each login shell that is missing is named where it would be tried'
	@scripts/packages.sh shellcheck || echo 'going on: without shellcheck, shell scripts are only parsed'
	@scripts/packages.sh nats-server openssl
	@scripts/packages.sh ip || echo 'going on: without ip, no host is in a network namespace of its own'
	@scripts/packages.sh strace || echo 'going on: without strace, kills between system calls are not tried'
	@scripts/packages.sh chromium || echo 'going on: without chromium, the page of akeys report is not looked at'
	@scripts/packages.sh rclone lftp sshfs fusermount3 restic python3-paramiko psftp puttygen curl \
		|| echo 'going on: each client that is missing is named where it would be tried'
	cargo build --package rrsync-rs --bins --locked --target $$GATE_TARGET
	cargo build --package akeys --bins --locked
	cargo test --workspace --locked --doc
	cargo test --package akeys --locked --all-targets
	cargo test --package rrsync-rs --locked --all-targets --target $$GATE_TARGET

check:
	@scripts/packages.sh mandoc dash
	@scripts/check.sh

fuzz:
	@scripts/fuzz.sh

bench:
	@bench/run.sh

bench-sftp:
	@scripts/packages.sh rclone || true
	@bench/run.sh sftp $(if $(QUICK),--quick)

bench-keys:
	@bench/run.sh keys $(if $(QUICK),--quick,--docs docs)

# Peers that are missing are named where they would be compared.
bench-follow:
	@scripts/packages.sh lsyncd unison syncthing inotifywait || true
	@bench/run.sh follow $(if $(QUICK),--quick,--docs docs) $(if $(PART),--part $(PART))

bench-watch:
	@scripts/packages.sh inotifywait watchman fswatch lsyncd || true
	@bench/run.sh watch $(if $(QUICK),--quick,--docs docs)

install:
	@scripts/install.sh

uninstall:
	@scripts/install.sh uninstall

clean:
	cargo clean
