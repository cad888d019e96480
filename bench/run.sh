#!/bin/sh
# Builds what the benchmark compares, and runs it: `make bench`. See bench/bench.py for what is measured.
set -eu
cd "$(dirname "$0")/.."

for program in rsync python3; do
    if ! command -v "$program" >/dev/null 2>&1; then
        echo "missing: $program. Nothing can be measured without it."
        exit 1
    fi
done
programs=$(scripts/programs.sh)
scratch=$(mktemp -d "${TMPDIR:-/tmp}/akeys-bench.XXXXXX")
trap 'rm -rf "$scratch"' EXIT
trap 'exit 1' HUP INT TERM
for helper in floor peak; do
    rustc --edition 2024 -C opt-level=3 -C panic=abort -C strip=symbols -C target-feature=+crt-static \
        -o "$scratch/$helper" "bench/$helper.rs"
done
python3 bench/bench.py "$programs/rrsync-rs" "$scratch"
