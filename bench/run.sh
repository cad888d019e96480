#!/bin/sh
# Builds what a benchmark compares, and runs it: `make bench` for the gate and rsync (bench/bench.py), `make bench-sftp`
# for SFTP (bench/sftp.py), `make bench-keys` for akeys (bench/keys.py), `make bench-follow` for afiles follow (bench/follow.py),
# `make bench-watch` for awatch (bench/watch.py). Further arguments are the benchmark's.
set -eu
cd "$(dirname "$0")/.."
name=${1:-bench}
[ $# -eq 0 ] || shift

case $name in
    keys) needed='ssh-keygen python3' ;;
    sftp) needed='ssh ssh-keygen sftp python3' ;;
    watch) needed='python3' ;;
    follow) needed='ssh ssh-keygen sftp rsync python3' ;;
    *) needed='rsync python3' ;;
esac
for program in $needed; do
    if ! command -v "$program" >/dev/null 2>&1; then
        echo "missing: $program. Nothing can be measured without it."
        exit 1
    fi
done
programs=$(scripts/programs.sh)
scratch=$(mktemp -d "${TMPDIR:-/tmp}/akeys-bench.XXXXXX")
trap 'rm -rf "$scratch"' EXIT
trap 'exit 1' HUP INT TERM
for helper in floor inotify peak stamp; do
    rustc --edition 2024 -C opt-level=3 -C panic=abort -C strip=symbols -C target-feature=+crt-static \
        -o "$scratch/$helper" "bench/$helper.rs"
done
PYTHONDONTWRITEBYTECODE=1 python3 "bench/$name.py" "$programs/rrsync-rs" "$scratch" "$@"
