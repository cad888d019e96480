#!/bin/sh
# Runs each fuzz target for FUZZ_SECONDS (60 unless told), or those that are named: scripts/fuzz.sh words policy
#
# A run starts from seeds/, which were made by hand, from corpus/, and from grown/, which git ignores and which gets what is
# found. scripts/fuzz.sh --keep [TARGET…] takes into corpus/ what of it reaches code that nothing in corpus/ does.
#
# cargo-fuzz needs a compiler that takes -Z flags: a nightly one, or the stable one that is told to. Where something is
# missing, one line says so, and the same targets run on mutations of their seeds instead.
set -eu
cd "$(dirname "$0")/../fuzz"
seconds=${FUZZ_SECONDS:-60}
keep=
if [ "${1-}" = --keep ]; then
    keep=yes
    shift
fi

missing=
command -v cargo-fuzz >/dev/null 2>&1 || missing="cargo-fuzz (cargo install cargo-fuzz)"
command -v c++ >/dev/null 2>&1 || missing="${missing:+$missing and }a C++ compiler (libFuzzer is built from source)"
if [ -n "$missing" ]; then
    if [ -n "$keep" ]; then
        echo "missing: $missing" >&2
        exit 1
    fi
    echo "missing: $missing. Without it, seeds and their mutations are tried."
    FUZZ_SECONDS=$seconds exec cargo test --no-default-features --features akeys --locked --release -- --nocapture
fi
toolchain=+nightly
if ! cargo +nightly --version >/dev/null 2>&1; then
    toolchain=
    export RUSTC_BOOTSTRAP=1
fi

# Static binaries cannot have the address sanitizer; RUSTFLAGS takes the place of the flags in .cargo/config.toml.
target=$(rustc -vV | sed -n 's/^host: //p')

# fuzz TARGET DIRECTORY… -- OPTION…: the target on these inputs; what is new goes to the first directory.
fuzz() {
    name=$1
    features=fuzzer
    [ "$name" != authorized_keys ] || features=fuzzer,akeys
    # shellcheck disable=SC2086 # no toolchain is no word
    cargo $toolchain fuzz run --no-default-features --features "$features" --target "$target" "$@" >"artifacts/$name.log" 2>&1 || {
        grep -v '^#' "artifacts/$name.log"
        exit 1
    }
}

count() { find "corpus/$1" -type f | wc -l; }

# shellcheck disable=SC2048 # the names have no blanks
for name in ${*:-$(ls seeds)}; do
    mkdir -p "grown/$name" "corpus/$name" artifacts
    if [ -n "$keep" ]; then
        before=$(count "$name")
        fuzz "$name" "corpus/$name" "grown/$name" -- -set_cover_merge=1 -use_counters=0 -max_len=4096
        echo "$name: $before inputs were kept, now $(count "$name")"
        continue
    fi
    fuzz "$name" "grown/$name" "corpus/$name" "seeds/$name" -- \
        -max_total_time="$seconds" -timeout=10 -rss_limit_mb=2048 -print_final_stats=1
    log=artifacts/$name.log
    echo "$name: $(sed -n 's/^stat::number_of_executed_units: *//p' "$log") inputs in $seconds seconds"
done
