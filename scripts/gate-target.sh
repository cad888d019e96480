#!/bin/sh
# Prints the target that the gate is built for: musl, where the compiler has it (`rustup target add x86_64-unknown-linux-musl`),
# otherwise the host's own. GATE_TARGET=… decides.
#
# A session waits for the gate to start. glibc first asks the processor what it can do, one cpuid instruction after another,
# and a virtual machine takes its time to answer each; musl asks nothing.
set -eu
host=$(rustc -vV | sed -n 's/^host: //p')
musl=${host%-*}-musl
if [ -n "${GATE_TARGET:-}" ]; then
    echo "$GATE_TARGET"
elif [ -d "$(rustc --print target-libdir --target "$musl" 2>/dev/null)" ]; then
    echo "$musl"
else
    echo "$host"
fi
