#!/bin/sh
# Builds the programs in release mode and prints the directory that they are in.
#
# cargo is asked where that is: it depends on the target, on CARGO_TARGET_DIR and on the user's own configuration.
set -eu
cd "$(dirname "$0")/.."
messages=$(cargo build --release --locked --workspace --bins --message-format=json-render-diagnostics)
program=$(printf '%s\n' "$messages" | sed -n 's/.*"executable":"\([^"]*\/rrsync-rs\)".*/\1/p')
if [ ! -x "$program" ]; then
    echo "cargo did not say where the programs are" >&2
    exit 1
fi
dirname "$program"
