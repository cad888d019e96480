#!/bin/sh
# Installs one restricted key on a host that has the gate (rrsync-rs) and not yet akeys:
#
#     sh install-key.sh GRANT LINE POLICY
#
# GRANT is the grant's name, LINE the whole line for ~/.ssh/authorized_keys, POLICY the text of its policy; `akeys install
# --host` sends them, and an administrator can type them, as in
#
#     sh install-key.sh lab.pc "$(cat line)" "$(cat lab.pc.toml)"
#
# The edit is the one that akeys makes: under the same lock, in a temporary file in the same directory, synced and renamed. The
# policy comes before the line. Every other byte of the file stays. Whatever is not plainly right is refused, and then nothing
# has changed: exit status 1; 2 for words that say nothing; 3 where something else is there already. What a shell cannot do: an
# editor that knows no lock and writes in the very moment of the rename loses its change.
#
# It needs a POSIX shell, the usual tools, and flock(1). Everything is in functions, and the last line runs them, so that a
# script that arrives cut short does nothing.

say() { printf 'install-key.sh: %s\n' "$*" >&2; }

# fail STATUS WORDS…: says why, and ends; `clean_up` takes back what was made.
fail() {
    status=$1
    shift
    say "$*"
    exit "$status"
}

# What must not stay, however this ends. A policy that was written for a line which did not make it goes with it.
clean_up() {
    trap - EXIT
    [ -z "$new" ] || rm -f -- "$new"
    [ -z "$seen" ] || rm -f -- "$seen"
    # A kill that no trap sees leaves a policy without a line, which grants nothing.
    if [ -n "$made_policy" ] && ! holds -x "$line" && ! holds -x "$line$cr"; then
        rm -f -- "$made_policy"
    fi
    [ -z "$made_ssh" ] || rmdir -- "$HOME/.ssh" 2>/dev/null || :
}

# holds [-x] TEXT: whether a line of the key file has TEXT in it, or is TEXT.
holds() {
    [ -f "$keys" ] || return 1
    if [ "$1" = -x ]; then
        grep -F -x -q -e "$2" -- "$keys"
    else
        grep -F -q -e "$1" -- "$keys"
    fi
    case $? in
        0) return 0 ;;
        1) return 1 ;;
        *) fail 1 "$keys cannot be searched" ;;
    esac
}

# facts PATH: sets $mode, $links and $owner from what `ls -ldn` says about PATH itself. The fields are POSIX.
facts() {
    set -f
    # shellcheck disable=SC2046 # the words are what is wanted
    set -- $(ls -ldn -- "$1" 2>/dev/null)
    set +f
    [ "$#" -gt 3 ] || fail 1 'a file or directory cannot be looked at'
    mode=$1 links=$2 owner=$3
}

# ours PATH: refuses a directory that somebody else owns or can write, or a symlink.
ours() {
    facts "$1"
    case $mode in
        d????w* | d???????w*) fail 1 "$1 can be written by others: chmod go-w $1" ;;
        d*) ;;
        *) fail 1 "$1 is not a directory" ;;
    esac
    [ "$owner" = "$me" ] || [ "$owner" = 0 ] || fail 1 "$1 is owned by somebody else"
}

# directory PATH: makes it, private, or checks it.
directory() {
    [ -e "$1" ] || [ -L "$1" ] || mkdir -m 700 -- "$1" || fail 1 "$1 cannot be made"
    ours "$1"
}

# only CHARACTERS WORD: whether WORD is not empty and has no other character in it.
only() {
    case $2 in
        '') return 1 ;;
        *[!"$1"]*) return 1 ;;
    esac
}

# Takes the line apart: $gate and $blob are set. A line that is not restricted to that very gate and grant is refused.
read_line() {
    alnum=abcdefghijklmnopqrstuvwxyzABCDEFGHIJKLMNOPQRSTUVWXYZ0123456789
    only "${alnum}._-" "$grant" || fail 2 'the name of the grant is no name'
    case $grant in [._-]* | *..*) fail 2 'the name of the grant is no name' ;; esac
    case $line in
        restrict,*'command="/'*" --grant $grant\" "*" akeys:$grant") ;;
        *) fail 2 'the line is not a restricted one for this grant' ;;
    esac
    before=${line%%command=\"*}
    rest=${line#*command=\"}
    gate=${rest%% *}
    rest=${rest#"$gate --grant $grant\" "}
    type=${rest%% *}
    rest=${rest#* }
    blob=${rest%% *}
    [ "$line" = "${before}command=\"$gate --grant $grant\" $type $blob akeys:$grant" ] ||
        fail 2 'the line has more in it than one key'
    read_options "${before#restrict,}"
    only "${alnum}"'/._+@%,-' "$gate" || fail 2 "the gate's path is not plain"
    case ${gate##*/} in rrsync-rs*) ;; *) fail 2 'the command of the line is not the gate' ;; esac
    only "${alnum}@.-" "$type" || fail 2 'the key of the line is no key'
    only "${alnum}+/=" "$blob" || fail 2 'the key of the line is no key'
}

# read_options TEXT: what stands between restrict and the command: from and expiry-time, and no other option.
read_options() {
    options=$1
    case $options in
        'from="'*)
            options=${options#*\"}
            value=${options%%\"*}
            only "${alnum}"'.,:*?!_/%-' "$value" || fail 2 'from has a character that no address has'
            options=${options#"$value"}
            options=${options#\",}
            ;;
    esac
    case $options in
        'expiry-time="'*)
            options=${options#*\"}
            value=${options%%\"*}
            only 0123456789 "${value%Z}" || fail 2 'expiry-time is no time'
            options=${options#"$value"}
            options=${options#\",}
            ;;
    esac
    [ -z "$options" ] || fail 2 'the line has options that a restricted key has not'
}

# The gate must be a program that only this account or root can exchange, and so must every directory above it. In a sticky
# directory such as /tmp nobody exchanges what is somebody else's.
check_gate() {
    facts "$gate"
    case $mode in
        -????w* | -???????w*) fail 1 "$gate can be written by others" ;;
        -*) ;;
        *) fail 1 "$gate is not a regular file" ;;
    esac
    [ "$owner" = "$me" ] || [ "$owner" = 0 ] || fail 1 "$gate is owned by somebody else"
    [ -x "$gate" ] || fail 1 "$gate is not executable"
    above=${gate%/*}
    while [ -n "$above" ]; do
        facts "$above"
        case $mode in
            *[tT] | *[tT][.+]) [ "$owner" = "$me" ] || [ "$owner" = 0 ] || fail 1 "$above is owned by somebody else" ;;
            *) ours "$above" ;;
        esac
        above=${above%/*}
    done
    ours /
}

# The key file is a plain one of this account, or it is not there.
check_keys() {
    [ -e "$keys" ] || [ -L "$keys" ] || return 0
    facts "$keys"
    case $mode in
        -*+) fail 1 "$keys has an ACL, which would be lost" ;;
        -*) ;;
        *) fail 1 "$keys is not a regular file" ;;
    esac
    [ "$owner" = "$me" ] || fail 1 "$keys is owned by somebody else"
    [ "$links" = 1 ] || fail 1 "$keys has another name (a hard link), which would keep the old content"
    [ -r "$keys" ] || fail 1 "$keys cannot be read"
    if command -v getfattr >/dev/null 2>&1 && [ -n "$(getfattr -- "$keys" 2>/dev/null)" ]; then
        fail 1 "$keys has extended attributes, which would be lost"
    fi
}

# look: 0 when the line is there, 1 when neither the key nor the grant is. Anything else is a conflict.
look() {
    if [ -f "$keys" ]; then
        # sshd passes over a CR and its like between the characters of a key, and no grep does.
        whole=$(grep -F -c -e "$blob" -- "$keys")
        found=$(tr -d '\000-\011\013-\040\177-\377' <"$keys" | grep -F -c -e "$blob")
        [ "$found" = "$whole" ] || fail 3 "$keys has this key with other characters in it"
    fi
    # Where sshd looks next, unless it was told otherwise.
    if [ -f "${keys}2" ] && tr -d '\000-\011\013-\040\177-\377' <"${keys}2" | grep -F -q -e "$blob"; then
        fail 3 "${keys}2 has this key"
    fi
    if ! holds "$blob"; then
        holds " --grant $grant\"" && fail 3 "$keys has the grant $grant for another key"
        return 1
    fi
    holds -x "$line" || holds -x "$line$cr" || fail 3 "$keys has this key with other options"
    [ "$(grep -F -c -e "$blob" -- "$keys")" = 1 ] || fail 3 "$keys has this key more than once"
}

# temp PATH: makes a new empty file that nobody else can have made.
temp() { (set -C && : >"$1") 2>/dev/null || fail 1 "$1 cannot be made"; }

# to_disk PATH
to_disk() { sync -- "$1" 2>/dev/null || sync; }

# Writes the policy, unless the same is there. It is linked into place, so that nothing is ever overwritten.
write_policy() {
    if [ -e "$policy_file" ] || [ -L "$policy_file" ]; then
        facts "$policy_file"
        case $mode in -????-??-*) ;; *) fail 1 "$policy_file is not a file that only its owner can write" ;; esac
        [ "$owner" = "$me" ] || [ "$owner" = 0 ] || fail 1 "$policy_file is owned by somebody else"
        [ "$(cat -- "$policy_file")" = "$policy" ] || fail 3 "$policy_file is there, and says something else"
        return 0
    fi
    new=$grants/.akeys-$$
    temp "$new"
    printf '%s\n' "$policy" >"$new" || fail 1 "$policy_file cannot be written"
    [ "$(cat -- "$new")" = "$policy" ] || fail 1 "$policy_file cannot be written"
    to_disk "$new"
    ln -- "$new" "$policy_file" || fail 1 "$policy_file cannot be made"
    made_policy=$policy_file
    rm -f -- "$new"
    new=''
    to_disk "$grants"
}

# The gate reads what was written, as it will at every session, before any key can use it.
ask_gate() {
    if ! answer=$("$gate" --grant "$grant" --explain -- true 2>&1 </dev/null); then
        printf '%s\n' "$answer" >&2
        fail 1 'the gate refuses the policy'
    fi
}

# Adds the line at the end of the file, in the file's own manner.
add_line() {
    new=$HOME/.ssh/.authorized_keys.akeys-$$
    seen=$new.seen
    temp "$new"
    temp "$seen"
    end='' size=0 was=''
    if [ -f "$keys" ]; then
        # -p: the mode, and the group where that is allowed.
        cp -p -- "$keys" "$new" || fail 1 "$keys cannot be copied"
        cat -- "$keys" >"$seen" || fail 1 "$keys cannot be copied"
        cmp -s -- "$new" "$seen" || fail 1 "$keys was changed by another program: try again"
        facts "$new"
        was=$mode
        chmod u+w -- "$new" || fail 1 "$keys cannot be copied"
        size=$(wc -c <"$new")
        all=$(wc -l <"$new")
        crlf=$(grep -c "$cr\$" -- "$new")
        [ "$crlf" -le "$((all - crlf))" ] || end=$cr
        if [ "$size" -gt 0 ] && [ "$(tail -c 1 "$new" | wc -l)" -eq 0 ]; then
            printf '%s\n' "$end" >>"$new" || fail 1 "$keys cannot be written"
        fi
    fi
    printf '%s\n' "$line$end" >>"$new" || fail 1 "$keys cannot be written"
    # Whoever may not write into a read-only file may put another one in its place, which is as read-only.
    case $was in -?-*) chmod u-w -- "$new" || fail 1 "$keys cannot be written" ;; esac
    to_disk "$new"
    # A full disk may have been noticed by nobody.
    [ "$(tail -n 1 "$new")" = "$line$end" ] || fail 1 "$keys cannot be written"
    [ "$size" -eq 0 ] || head -c "$size" "$new" | cmp -s - "$seen" || fail 1 "$keys cannot be written"
    if [ -f "$keys" ]; then
        cmp -s -- "$keys" "$seen" || fail 1 "$keys was changed by another program: try again"
    else
        [ "$size" -eq 0 ] || fail 1 "$keys was removed by another program: try again"
    fi
    # Into a directory that appeared in between, mv would move it.
    [ ! -d "$keys" ] || fail 1 "$keys is a directory now"
    mv -f -- "$new" "$keys" || fail 1 "$keys cannot be replaced"
    new='' made_ssh=''
    to_disk "$HOME/.ssh"
    facts "$HOME"
    case $mode in d????w* | d???????w*) say "others can write $HOME, so sshd may ignore the keys: chmod go-w $HOME" ;; esac
}

install_key() {
    [ "$#" -eq 3 ] || fail 2 'usage: sh install-key.sh GRANT LINE POLICY'
    # A line end behind the policy may have come or gone on the way.
    grant=$1 line=$2 policy=$(printf '%s\n' "$3")
    read_line
    case $HOME in /*) ;; *) fail 1 'HOME is not set to an absolute path' ;; esac
    command -v flock >/dev/null 2>&1 || fail 1 'flock is not installed'
    me=$(id -u)
    keys=$HOME/.ssh/authorized_keys
    grants=$HOME/.config/akeys/grants
    policy_file=$grants/$grant.toml
    state=$HOME/.local/state/akeys
    check_gate
    for above in "$HOME/.config" "$HOME/.local" "$HOME/.local/state"; do
        [ -d "$above" ] || mkdir -m 700 -- "$above" || fail 1 "$above cannot be made"
    done
    directory "$HOME/.config/akeys"
    directory "$grants"
    directory "$state"
    [ ! -L "$state/lock" ] || fail 1 "$state/lock is a symlink"
    # The lock of every program that writes these files. It ends with this process.
    (: >>"$state/lock") 2>/dev/null || fail 1 "$state/lock cannot be opened"
    exec 9>>"$state/lock"
    flock 9 || fail 1 "$state/lock cannot be locked"
    if [ ! -e "$HOME/.ssh" ] && [ ! -L "$HOME/.ssh" ]; then
        mkdir -m 700 -- "$HOME/.ssh" || fail 1 "$HOME/.ssh cannot be made"
        made_ssh=1
    fi
    ours "$HOME/.ssh"
    [ "$owner" = "$me" ] || fail 1 "$HOME/.ssh is owned by somebody else"
    # Whoever has the lock is the only one with temporary files; others were left by runs that were killed.
    rm -f -- "$HOME/.ssh/.authorized_keys.akeys-"* "$grants/.akeys-"*
    check_keys
    if look; then
        write_policy
        echo 'installed already; nothing changed'
        return 0
    fi
    write_policy
    ask_gate
    add_line
    printf 'added one line to %s, policy %s\n' "$keys" "$policy_file"
}

umask 077
LC_ALL=C PATH=$PATH:/usr/local/bin:/usr/bin:/bin
export LC_ALL PATH
unset CDPATH
keys='' new='' seen='' line='' made_policy='' made_ssh=''
cr=$(printf '\r')
trap clean_up EXIT
trap 'exit 129' HUP
trap 'exit 130' INT
trap 'exit 143' TERM
install_key "$@"
