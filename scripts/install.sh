#!/bin/sh
# Puts the programs and the manual in place below $DESTDIR$PREFIX, or takes them away: scripts/install.sh [uninstall]
#
# Each file is complete under its name at every moment, because a key's forced command may start at any moment.
set -eu
cd "$(dirname "$0")/.."

PREFIX=${PREFIX:-$HOME/.local}
# make hands over what was typed; not every shell expands a tilde there.
# shellcheck disable=SC2088 # that is why it is a pattern here
case $PREFIX in
    '~') PREFIX=$HOME ;;
    '~/'*) PREFIX=$HOME/${PREFIX#'~/'} ;;
esac
case $PREFIX in
    /*) ;;
    *)
        # It stands in key lines, and by now the directory that it was meant from is no longer the current one.
        echo "install.sh: PREFIX is not an absolute path: $PREFIX" >&2
        exit 2
        ;;
esac
root=${DESTDIR:-}$PREFIX
programs='afiles akeys awatch rrsync-rs'
templates=$(find templates -type f)

# put MODE FILE TARGET
put() {
    mkdir -p "$(dirname "$3")"
    new=$(dirname "$3")/.$(basename "$3").$$
    trap 'rm -f "$new"' EXIT
    trap 'exit 1' HUP INT TERM
    cp "$2" "$new"
    chmod "$1" "$new"
    mv -f "$new" "$3"
    echo "$3"
}

page_target() {
    echo "$root/share/man/man${1##*.}/$(basename "$1")"
}

# Where the shells look for the words of a program.
completion_target() {
    case $1 in
        bash) echo "$root/share/bash-completion/completions/akeys" ;;
        zsh) echo "$root/share/zsh/site-functions/_akeys" ;;
        fish) echo "$root/share/fish/vendor_completions.d/akeys.fish" ;;
    esac
}

case ${1:-install} in
    install)
        # A gate that others could exchange is refused by akeys, so neither it nor its directory is group-writable.
        umask 022
        built=$(scripts/programs.sh)
        for program in $programs; do
            put 755 "$built/$program" "$root/bin/$program"
        done
        for page in man/*.[1-8]; do
            [ ! -e "$page" ] || put 644 "$page" "$(page_target "$page")"
        done
        for shell in bash zsh fish; do
            words=$(mktemp)
            "$built/akeys" completions "$shell" > "$words"
            put 644 "$words" "$(completion_target "$shell")"
            rm -f "$words"
        done
        for file in $templates; do
            put 644 "$file" "$root/share/akeys/$file"
        done
        case ":$PATH:" in
            *":$PREFIX/bin:"*) ;;
            *) echo "note: $PREFIX/bin is not in your PATH: export PATH=\"$PREFIX/bin:\$PATH\"" >&2 ;;
        esac
        ;;
    uninstall)
        for program in $programs; do
            rm -f "$root/bin/$program"
        done
        for page in man/*.[1-8]; do
            rm -f "$(page_target "$page")"
        done
        for shell in bash zsh fish; do
            rm -f "$(completion_target "$shell")"
        done
        for file in $templates; do
            rm -f "$root/share/akeys/$file"
        done
        echo "note: keys whose command names $PREFIX/bin/rrsync-rs are refused from now on" >&2
        ;;
    *)
        echo "usage: scripts/install.sh [uninstall]" >&2
        exit 2
        ;;
esac
