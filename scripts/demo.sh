#!/bin/sh
# The main job, for real: a pod gets one directory of yours, and nothing else.
#
# Two homes in a scratch directory, the pod's and yours, and a private sshd between them. Every command that is shown
# is the command that runs; every step is checked, and the first that does not do what it says ends the demo with
# exit status 1. Nothing is left behind: no file, no process, and none of your own configuration is read.
set -eu
cd "$(dirname "$0")/.."

PATH=$PATH:/usr/sbin:/sbin:/usr/local/sbin
sshd=$(command -v sshd)
ssh=$(command -v ssh)
me=$(id -un)

# ---------------------------------------------------------------- telling, running, checking

if [ -t 1 ] && [ -z "${NO_COLOR:-}" ]; then
    bold=$(printf '\033[1m') dim=$(printf '\033[2m') red=$(printf '\033[31m') plain=$(printf '\033[0m')
else
    bold='' dim='' red='' plain=''
fi

steps=0
title='the preparation'
step() {
    steps=$((steps + 1))
    title="step $steps ($1)"
    printf '\n%s%s. %s%s\n' "$bold" "$steps" "$1" "$plain"
}

say() { printf '   %s\n' "$@" | sed 's/ *$//'; }

fail() {
    {
        printf '\n%sThe demo failed in %s: %s%s\n' "$red" "$title" "$1" "$plain"
        if [ -s "$scratch/sshd.log" ]; then
            printf 'The last lines of the private sshd:\n'
            tail -n 20 "$scratch/sshd.log"
        fi
    } >&2
    exit 1
}

# as HOME COMMAND: shows the command at its owner's prompt, runs it there, shows what it printed.
# Afterwards $status is its exit status and $scratch/out its output.
as() {
    home=$1 command=$2
    printf '\n   %s%s$ %s%s\n' "$bold" "$home" "$command" "$plain"
    status=0
    quietly "$home" "$command" || status=$?
    sed "s/^/   $dim|$plain /" "$scratch/out"
}

# The same without showing it, for the controls.
quietly() {
    env -i HOME="$scratch/$1" USER="$me" LANG=C.UTF-8 PATH="$scratch/$1/.local/bin:/usr/local/bin:/usr/bin:/bin" \
        timeout 60 sh -c "cd && $2" >"$scratch/out" 2>&1 </dev/null
}

works() { [ "$status" -eq 0 ] || fail "the command failed with exit status $status"; }
refused() { [ "$status" -ne 0 ] || fail 'the command should have been refused'; }
says() { grep -qF -- "$1" "$scratch/out" || fail "the output should contain: $1"; }
silent() { [ ! -s "$scratch/out" ] || fail 'there should be no output'; }
same() { cmp -s "$scratch/$1" "$scratch/$2" || fail "$1 and $2 differ"; }
absent() { [ ! -e "$scratch/$1" ] || fail "$1 should not exist"; }

# soon COMMAND: waits, half a minute at most, for what something else does.
soon() {
    for _ in $(seq 600); do
        if "$@"; then return; fi
        sleep 0.05
    done
    fail "it has not happened within half a minute: $*"
}

# ---------------------------------------------------------------- a scratch directory that goes away

printf 'Building the programs ...\n'
programs=$(scripts/programs.sh)

case ${TMPDIR:-/tmp} in
    # A forced command's path may hold only characters that mean nothing to a shell.
    *[!A-Za-z0-9/._-]*) TMPDIR=/tmp ;;
esac
scratch=$(mktemp -d "${TMPDIR:-/tmp}/akeys-demo.XXXXXX")
port_sshd=
following=
made_run_sshd=
stop_following() {
    [ -n "$following" ] || return 0
    kill "$following" 2>/dev/null || true
    wait "$following" 2>/dev/null || true
    following=
}
clean_up() {
    trap - EXIT HUP INT TERM
    stop_following
    if [ -n "$port_sshd" ]; then
        kill "$port_sshd" 2>/dev/null || true
        wait "$port_sshd" 2>/dev/null || true
    fi
    # afiles keeps its connection for a minute.
    for held in "$scratch"/pod/.local/state/akeys/ssh/*; do
        [ ! -S "$held" ] || "$ssh" -F none -S "$held" -O exit laptop 2>/dev/null || true
    done
    rm -rf "$scratch"
    # Another sshd may have come to use it meanwhile; then it is not ours to remove.
    [ -z "$made_run_sshd" ] || rmdir /run/sshd 2>/dev/null || true
}
trap clean_up EXIT
trap 'exit 130' INT
trap 'exit 143' TERM
trap 'exit 129' HUP

# ---------------------------------------------------------------- two homes, and an sshd between them

case $(getent passwd "$(id -u)" | cut -d: -f7) in
    */nologin | */false | '') fail "$me has no login shell, so no key can log in: run the demo as another user" ;;
esac
pam=no
if [ "$(id -u)" -eq 0 ]; then
    if mkdir /run/sshd 2>/dev/null; then
        # sshd wants this directory when root starts it.
        chmod 755 /run/sshd
        made_run_sshd=yes
    fi
    # Without PAM, sshd takes a password that starts with "!" for a locked account.
    case $(getent shadow "$me" | cut -d: -f2) in '!'*) pam=yes ;; esac
fi

umask 077
mkdir -p "$scratch/pod/.local/bin" "$scratch/pod/.ssh" "$scratch/you/.local/bin" "$scratch/you/.ssh"
cp "$programs/akeys" "$programs/afiles" "$scratch/pod/.local/bin/"
cp "$programs/akeys" "$programs/awatch" "$programs/rrsync-rs" "$scratch/you/.local/bin/"
ssh-keygen -q -t ed25519 -N '' -C laptop -f "$scratch/host_key"
ssh-keygen -q -t ed25519 -N '' -C 'my own key' -f "$scratch/you/.ssh/id_ed25519"

cat >"$scratch/sshd_config" <<CONFIG
HostKey $scratch/host_key
AuthorizedKeysFile $scratch/you/.ssh/authorized_keys
SetEnv HOME=$scratch/you
StrictModes no
UsePAM $pam
PidFile none
PasswordAuthentication no
KbdInteractiveAuthentication no
PermitRootLogin prohibit-password
Subsystem sftp internal-sftp
CONFIG
printf 'laptop %s\n' "$(cut -d' ' -f1,2 "$scratch/host_key.pub")" >"$scratch/known_hosts"

# ssh_of HOME KEY: in that home, "ssh" (and so rsync) reaches the private sshd with that key. ssh itself would look for
# its configuration in the home that the password database names, not in $HOME.
ssh_of() {
    cat >"$scratch/$1/.ssh/config" <<CONFIG
Host laptop
    User $me
    IdentityFile $scratch/$1/.ssh/$2
    IdentitiesOnly yes
    IdentityAgent none
    BatchMode yes
    ProxyCommand $sshd -i -f $scratch/sshd_config -E $scratch/sshd.log
    UserKnownHostsFile $scratch/known_hosts
    GlobalKnownHostsFile none
    StrictHostKeyChecking yes
CONFIG
    # shellcheck disable=SC2016 # expanded by the wrapper
    printf '#!/bin/sh\nexec %s -F "$HOME/.ssh/config" "$@"\n' "$ssh" >"$scratch/$1/.local/bin/ssh"
    chmod 755 "$scratch/$1/.local/bin/ssh"
}
ssh_of pod akeys/playground.chef1
ssh_of you id_ed25519

mkdir -p "$scratch/you/papers/figures" "$scratch/you/papers/build" "$scratch/you/papers-secret"
echo 'On moving files and nothing else' >"$scratch/you/papers/draft.tex"
echo 'x,y' >"$scratch/you/papers/figures/data.csv"
echo 'nobody may read this' >"$scratch/you/papers-secret/diary"
cp "$scratch/you/.ssh/id_ed25519.pub" "$scratch/you/.ssh/authorized_keys"
cp "$scratch/you/.ssh/authorized_keys" "$scratch/keys_before"

cat <<INTRO

${bold}A build pod wants your papers. It gets those, and nothing else.${plain}

   pod\$   is a shell on the build machine; its name there is chef1
   you\$   is a shell in your account on the host laptop, without root

   Both homes are in a scratch directory, and "laptop" is a private sshd on the other end of a pipe.
   You have ~/papers, which the pod may have, ~/papers-secret, which it may not, and a key of your own.
INTRO

# ---------------------------------------------------------------- the demo

step 'The pod makes a federation'
say 'A federation is a name for "these machines may ask me for files". The pod gets a key pair of its own.'
as pod 'akeys federation new playground --pod chef1'
works
[ -f "$scratch/pod/.ssh/akeys/playground.chef1" ] || fail 'there is no private key'
fingerprint=$(ssh-keygen -lf "$scratch/pod/.ssh/akeys/playground.chef1.pub" | cut -d' ' -f2)
says "$fingerprint"
signer=$(ssh-keygen -lf "$scratch/pod/.ssh/akeys/signers/playground.pub" | cut -d' ' -f2)
says "$signer"

step 'Its public half is one small file'
say 'No secret is in it, and it is signed: it can go by mail, or into a repository.'
as pod 'akeys federation export playground > playground.toml; cat playground.toml'
works
says 'ssh-ed25519 '
cp "$scratch/pod/playground.toml" "$scratch/you/playground.toml"

step 'You take it in'
say "Nothing is granted by that. The signer's fingerprint is what you compare, once, with whoever runs the pod."
as you 'akeys federation import playground.toml'
works
says "$fingerprint"
says "$signer"
cmp -s "$scratch/keys_before" "$scratch/you/.ssh/authorized_keys" || fail 'the import changed authorized_keys'

step 'You say what the pod may have'
say 'The papers to read, and papers/build to write. This is the only step that grants anything.'
as you 'akeys install --federation playground --workspace ~/papers:papers --writable papers/build'
works
as you 'cat ~/.ssh/authorized_keys'
works
says 'restrict,'
says 'rrsync-rs --grant playground.chef1'
cp "$scratch/you/.ssh/authorized_keys" "$scratch/keys_installed"
say '' 'Run again, it changes nothing, not one byte:'
as you 'akeys install --federation playground --workspace ~/papers:papers --writable papers/build'
works
same keys_installed you/.ssh/authorized_keys

step 'You look at what your keys may do'
say 'Every line of authorized_keys, in words. A key that may do everything stands out.'
as you 'akeys list'
works
says 'papers/build'
says 'UNRESTRICTED'
says 'rsync; read papers, read and write papers/build'

step 'The pod pulls'
say 'With stock rsync and ssh; its ~/.ssh/config names the key for the host laptop. The pod asks for the workspace by'
say 'name, and need not know where it is.'
as pod 'rsync -av laptop:papers/ papers/'
works
says 'draft.tex'
diff -r "$scratch/you/papers" "$scratch/pod/papers" >/dev/null || fail 'the copy differs'

step 'The pod pulls again'
say '-i lists what is transferred: nothing.'
as pod 'rsync -ai laptop:papers/ papers/'
works
silent

step 'A shell is refused'
as pod 'ssh -T laptop'
refused
says 'rrsync-rs:'
as pod 'ssh laptop cat papers-secret/diary'
refused
says 'rrsync-rs:'

step 'Port forwarding is refused'
# An sshd on a loopback port is what the forwarding would reach. It says when it listens; a taken port ends it.
umask 022
mkfifo -m 600 "$scratch/says"
port=$((20000 + $$ % 10000))
for _ in 1 2 3 4 5 6 7 8 9 10; do
    port=$((port + 1))
    # Its whole life is bounded, whatever becomes of this script.
    timeout 600 "$sshd" -D -e -f "$scratch/sshd_config" -o "ListenAddress=127.0.0.1:$port" 2>"$scratch/says" &
    port_sshd=$!
    if timeout 10 grep -q -m1 'Server listening' <"$scratch/says"; then
        break
    fi
    wait "$port_sshd" 2>/dev/null || true
    port_sshd=
done
[ -n "$port_sshd" ] || fail 'no free port on the loopback interface'
say "Something listens on port $port of the laptop. Your own key reaches it, the pod's does not, in either direction."
quietly you "ssh -W 127.0.0.1:$port laptop" || true
grep -qa '^SSH-2.0-' "$scratch/out" || fail 'the control failed: even an unrestricted key does not reach the port'
as pod "ssh -W 127.0.0.1:$port laptop"
refused
says 'administratively prohibited'
as pod "ssh -N -o ExitOnForwardFailure=yes -R 127.0.0.1:$((port + 1)):127.0.0.1:22 laptop"
refused
says 'remote port forwarding failed'
kill "$port_sshd"
wait "$port_sshd" 2>/dev/null || true
port_sshd=

step 'Everything beside the workspace is refused'
say 'A directory whose name only begins like it:'
as pod 'rsync -a laptop:papers-secret/ stolen/'
refused
says 'rrsync-rs:'
say '' 'The way over the parent directory:'
as pod 'rsync -a laptop:papers/../papers-secret/ stolen/'
refused
says 'rrsync-rs:'
absent pod/stolen/diary

step 'A push into the read-only part is refused'
echo 'On moving files and everything else' >"$scratch/pod/papers/draft.tex"
cp "$scratch/you/papers/draft.tex" "$scratch/draft_before"
as pod 'rsync -a papers/draft.tex laptop:papers/'
refused
says 'rrsync-rs:'
same draft_before you/papers/draft.tex

step 'A push into papers/build is accepted'
echo 'pretend that this is a PDF' >"$scratch/pod/draft.pdf"
as pod 'rsync -av draft.pdf laptop:papers/build/'
works
same pod/draft.pdf you/papers/build/draft.pdf

step 'You read what happened'
say 'One JSON object for every request, written before anything ran. The last one:'
audit=.local/state/akeys/audit.jsonl
as you "tail -n 1 ~/$audit"
works
says '"verdict":"allow"'
say '' 'All of them, in short: verdict, rule, request.'
# shellcheck disable=SC2016 # sed's own groups
as you 'sed -E '\''s/.*"request":"([^"]*)","verdict":"([^"]*)","rule":"([^"]*)".*/\2  \3  \1/'\'" ~/$audit"
works
[ "$(grep -c '"verdict":"allow"' "$scratch/you/$audit")" -eq 3 ] || fail 'there should be 3 accepted requests'
[ "$(grep -c '"verdict":"refuse"' "$scratch/you/$audit")" -eq 5 ] || fail 'there should be 5 refused requests'
say '' 'sshd itself refused the forwarding, so the gate was not asked. A client behind a pipe has no address: UNKNOWN.'

step 'The pod is told where you are'
say 'A card names the account, its workspaces and the keys of its host. You hand it over; no secret is in it, and it grants'
say 'nothing. The options are there because this sshd is not the one of the machine; yours is found.'
cp "$scratch/host_key.pub" "$scratch/you/host_key.pub"
as you 'akeys federation card playground --address laptop --host-key host_key.pub > card.toml; cat card.toml'
works
says 'workspaces = ["papers"]'
cp "$scratch/you/card.toml" "$scratch/pod/card.toml"
as pod 'akeys federation meet card.toml'
works
says "$(ssh-keygen -lf "$scratch/host_key.pub" | cut -d' ' -f2)"

step 'afiles needs no more than that'
say 'It finds the account by the name of the workspace, takes only the host that is pinned, and never shows half a file.'
as pod 'afiles ls'
works
says '/papers:'
echo 'x,y,z' >"$scratch/you/papers/figures/data.csv"
as pod 'afiles pull papers: mine'
works
diff -r "$scratch/you/papers" "$scratch/pod/mine" >/dev/null || fail 'the copy differs'
as pod 'afiles history'
works
says 'figures/data.csv'

step 'A copy that follows'
say 'The same key, for SFTP and for the stream of changes as well; the pod has to ask for nothing again.'
as you 'akeys grant set playground.chef1 --tools rsync,sftp,watch'
works
# shellcheck disable=SC2016 # shown as it would be typed
printf '\n   %spod$ afiles follow papers: mine --keep-versions &%s\n' "$bold" "$plain"
env -i HOME="$scratch/pod" USER="$me" LANG=C.UTF-8 PATH="$scratch/pod/.local/bin:/usr/local/bin:/usr/bin:/bin" \
    timeout 300 "$scratch/pod/.local/bin/afiles" follow papers: "$scratch/pod/mine" --keep-versions >"$scratch/followed" 2>&1 </dev/null &
following=$!
soon grep -q 'in sync' "$scratch/followed"
sed "s/^/   $dim|$plain /" "$scratch/followed"
say '' 'You save, and the pod has it: complete, under its name.'
cp "$scratch/you/papers/draft.tex" "$scratch/draft_before"
as you 'echo "On moving files, second edition" > papers/draft.tex'
works
soon cmp -s "$scratch/you/papers/draft.tex" "$scratch/pod/mine/draft.tex"
as pod 'cat mine/draft.tex'
says 'second edition'
as pod 'afiles status'
works
says 'in sync'
say '' 'What was there before is not lost:'
as pod 'afiles versions mine/draft.tex'
works
as pod 'afiles restore mine/draft.tex@1 --to first.tex; cat first.tex'
works
same draft_before pod/first.tex
stop_following

step 'You take it back'
as you 'akeys remove --federation playground'
works
same keys_before you/.ssh/authorized_keys
say '' 'authorized_keys is again what it was, byte for byte, and the pod cannot log in any more:'
as pod 'rsync -a laptop:papers/ papers/'
refused
says 'Permission denied (publickey)'

printf '\n%sAll %s steps did what they say. The scratch homes are gone now.%s\n' "$bold" "$steps" "$plain"
