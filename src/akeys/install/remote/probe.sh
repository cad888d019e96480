#!/bin/sh
# Says what an installation has to know about this host and account. Nothing is changed.
#
# The words are a mark that begins and ends the answer, and the directories that are meant. One fact is one line; what
# cannot be said in one line is not understood on the other side, and refused there.

# Which key files sshd reads. It wants a host key before it says anything, and gets one that was made for the question.
akeys_key_files() {
    for sshd in "$(command -v sshd)" /usr/sbin/sshd /usr/local/sbin/sshd; do
        [ -x "$sshd" ] || continue
        dir=$(mktemp -d) || return
        if ssh-keygen -q -t ed25519 -N '' -f "$dir/key" </dev/null; then
            "$sshd" -T -h "$dir/key" -C "user=$(id -un),host=localhost,addr=127.0.0.1" </dev/null |
                sed -n 's/^authorizedkeysfile /sshd &/p'
        fi
        rm -rf -- "$dir"
        return
    done
}

akeys_probe() {
    mark=$1
    shift
    printf '\n%s begin\n' "$mark"
    printf 'home %s\n' "$HOME"
    printf 'user %s\n' "$(id -un)"
    printf 'uid %s\n' "$(id -u)"
    printf 'system %s\n' "$(uname -sm)"
    for program in akeys rrsync-rs; do
        for place in "$(command -v "$program")" "$HOME/.local/bin/$program" "/usr/local/bin/$program"; do
            if [ -f "$place" ] && [ -x "$place" ]; then
                printf '%s %s\n' "$program" "$(readlink -f -- "$place" 2>/dev/null || printf '%s\n' "$place")"
                break
            fi
        done
    done
    for dir in "$@"; do
        # In a process of its own, so that each starts from the home.
        (cd && cd -P -- "$dir" && printf 'dir %s\n' "$(pwd -P)") 2>/dev/null || echo 'no dir'
    done
    for key in /etc/ssh/ssh_host_rsa_key.pub /etc/ssh/ssh_host_ecdsa_key.pub /etc/ssh/ssh_host_ed25519_key.pub; do
        [ ! -r "$key" ] || printf 'key %s\n' "$(head -n 1 "$key")"
    done
    akeys_key_files 2>/dev/null
    printf '%s end\n' "$mark"
}

LC_ALL=C PATH=$PATH:/usr/local/bin:/usr/bin:/bin
export LC_ALL PATH
unset CDPATH
akeys_probe "$@"
