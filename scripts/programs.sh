#!/bin/sh
# Builds the programs in release mode and prints the directory that they are in.
#
# cargo is asked where they are: it depends on the target, on CARGO_TARGET_DIR and on the user's own configuration.
set -eu
cd "$(dirname "$0")/.."

# build PROGRAM OPTION…: prints where PROGRAM is.
build() {
    program=$1
    shift
    messages=$(cargo build --release --locked --bins --message-format=json-render-diagnostics "$@")
    path=$(printf '%s\n' "$messages" | sed -n "s/.*\"executable\":\"\\([^\"]*\\/$program\\)\".*/\\1/p")
    if [ ! -x "$path" ]; then
        echo "cargo did not say where $program is" >&2
        exit 1
    fi
    echo "$path"
}

akeys=$(build akeys --package akeys)
# A session waits for it to start, and it is small: the dearer optimisation makes that 2 to 4 % shorter.
gate=$(CARGO_PROFILE_RELEASE_LTO=fat build rrsync-rs --package rrsync-rs --target "$(scripts/gate-target.sh)")
programs=$(dirname "$akeys")/programs
mkdir -p "$programs"
for program in "$akeys" "$(dirname "$akeys")/afiles" "$(dirname "$akeys")/awatch" "$gate"; do
    ln -f "$program" "$programs/"
done
echo "$programs"
