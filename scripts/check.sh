#!/bin/sh
# Everything that can be said about the project without running it. Stops at the first thing that is wrong.
set -eu
cd "$(dirname "$0")/.."

step() { printf '== %s\n' "$*"; }
have() {
    command -v "$1" >/dev/null 2>&1 || {
        printf '   skipped: %s is not installed\n' "$1"
        return 1
    }
}

step format
cargo fmt --all --check

step clippy
cargo clippy --workspace --all-targets --locked -- -D warnings

step documentation
RUSTDOCFLAGS='-D warnings' cargo doc --workspace --no-deps --document-private-items --locked

step 'the crates of the gate'
limit=41
crates=$(cargo tree -p rrsync-rs --target "$(scripts/gate-target.sh)" -e normal --prefix none --locked | awk '{print $1, $2}' | sort -u | wc -l)
echo "   $((crates)), at most $limit"
[ "$crates" -le "$limit" ]

step 'licences and advisories'
if have cargo-deny; then
    cargo deny check
fi

step manual
if have mandoc; then
    # In their own directory, the pages see each other.
    (cd man && mandoc -Tlint -W warning ./*.[1-8])
fi

step 'shell scripts'
scripts=$(find . -name '*.sh' ! -path '*/target/*')
for script in $scripts; do
    dash -n "$script"
done
bash -n .ci/run
if have shellcheck; then
    # shellcheck disable=SC2086 # no name has a blank
    shellcheck .ci/run $scripts
fi
