#!/bin/sh
# Makes sure that the named programs are there: scripts/packages.sh sshd ssh rsync
#
# What is missing is installed from Debian's packages where that is allowed (root, or sudo without a password).
# Otherwise one line says what to install, and the exit status is 1. Installing never starts a service.
set -eu

package_of() {
    case $1 in
        sshd) echo openssh-server ;;
        ssh | scp | sftp | ssh-keygen) echo openssh-client ;;
        rsync | rrsync) echo rsync ;;
        setfacl | getfacl) echo acl ;;
        setfattr | getfattr) echo attr ;;
        setpriv | unshare | flock) echo util-linux ;;
        fusermount3) echo fuse3 ;;
        psftp | pscp | puttygen) echo putty-tools ;;
        inotifywait) echo inotify-tools ;;
        ip) echo iproute2 ;;
        *) echo "$1" ;;
    esac
}

# sshd is not on an ordinary user's PATH.
PATH=$PATH:/usr/sbin:/sbin:/usr/local/sbin

# A Python module goes by the name of its package, and is there for Debian's own Python.
is_there() {
    case $1 in
        python3-*) /usr/bin/python3 -c "import ${1#python3-}" 2>/dev/null ;;
        *) command -v "$1" >/dev/null 2>&1 ;;
    esac
}

missing_packages() {
    missing=
    for program in "$@"; do
        if ! is_there "$program"; then
            package=$(package_of "$program")
            case " $missing " in *" $package "*) ;; *) missing="$missing $package" ;; esac
        fi
    done
    missing=${missing# }
}

missing_packages "$@"
if [ -z "$missing" ]; then
    exit 0
fi

as_root=
if [ "$(id -u)" -ne 0 ]; then
    as_root='sudo -n'
fi
if ! command -v apt-get >/dev/null 2>&1 || ! $as_root true 2>/dev/null; then
    echo "missing: $missing. To install them: sudo apt-get install $missing" >&2
    exit 1
fi

echo "installing $missing" >&2
# A policy-rc.d that exits 101 keeps packages from starting their services (see invoke-rc.d(8)). Where there is one
# already, the machine's owner has decided, and it stays. RUNLEVEL=1 says the same to packages with an init script.
# shellcheck disable=SC2016,SC2086 # expanded by the inner shell; the packages are separate words
$as_root sh -eu -c '
    policy=/usr/sbin/policy-rc.d
    if [ ! -e "$policy" ]; then
        trap "rm -f $policy" EXIT
        trap "exit 1" HUP INT TERM
        printf "#!/bin/sh\nexit 101\n" > "$policy"
        chmod 755 "$policy"
    fi
    export RUNLEVEL=1 DEBIAN_FRONTEND=noninteractive
    apt-get install -q -y --no-install-recommends "$@" || {
        apt-get update -q
        apt-get install -q -y --no-install-recommends "$@"
    }
' sh $missing >&2

missing_packages "$@"
if [ -n "$missing" ]; then
    echo "still missing after the installation: $missing" >&2
    exit 1
fi
