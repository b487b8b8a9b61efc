#!/usr/bin/env bash
# What a newcomer sees on a fresh Debian 12: a clean clone in a chroot with nothing but the base system, where
# examples/quickstart and then tests/run install what they need, and pass. Needs root, debootstrap and some 3 GB in
# ${TMPDIR:-/var/tmp}.
#
# All mounts are made in a mount namespace of this script's own, in which the second half runs: they are gone when its
# last process is, whatever happens, and so the folder can be removed without harm to what was mounted there.
set -u
top=$(cd "$(dirname "$0")/../.." && pwd)
suite=bookworm

# ---- Second half: in the namespaces ---------------------------------------------------------------------------------

mount_base() { # root
    mount --bind "$1" "$1" && # a root folder that is a mount point, as on any machine
        mount -t proc proc "$1/proc" &&
        mount --rbind /sys "$1/sys" &&
        mount --make-rslave "$1/sys" &&
        mount --rbind /dev "$1/dev" &&
        mount --make-rslave "$1/dev" &&
        mount -t tmpfs -o mode=1777,nosuid,nodev tmpfs "$1/dev/shm"
}

if [ "${1:-}" = inside ]; then
    root=$2
    mount_base "$root" || exit 2
    # A plain environment, with what apt needs to get out.
    proxies=()
    for name in http_proxy https_proxy no_proxy; do
        [ -z "${!name:-}" ] || proxies+=("$name=${!name}")
    done
    # shellcheck disable=SC2016 # for the shell inside
    exec env -i HOME=/root TERM=dumb PATH=/usr/sbin:/usr/bin:/sbin:/bin CI=true "${proxies[@]}" chroot "$root" /bin/sh -c '
        cd /root/mamuto || exit 2
        echo "== examples/quickstart"
        examples/quickstart || exit 1
        echo "== tests/run"
        tests/run'
fi

# ---- First half: make the root folder -------------------------------------------------------------------------------

mirror() { # where apt on this machine gets Debian from
    apt-get --print-uris download hello 2>/dev/null | sed -n "s|^'\(.*\)/pool/.*|\1|p" | head -n 1
}

# debootstrap has written the mirror down; the road to it is this machine's.
configure_network() { # root
    apt-config dump | grep -E '^Acquire::(https?::|Check-|Retries|ForceIPv)' >"$1/etc/apt/apt.conf.d/90network"
    cp -L /etc/resolv.conf /etc/hosts "$1/etc/"
}

copy_clone() { # root: what is committed, and nothing else
    git -c safe.directory='*' clone -q --no-hardlinks "$top" "$1/root/mamuto" || return 1
    [ -z "$(git -C "$top" status --porcelain 2>/dev/null)" ] || echo "note: what is not committed is not tested"
}

cleanup() {
    # In our own mount table there is nothing below the folder; should there be, it stays.
    if grep -q " $work/" /proc/self/mounts; then
        echo "still mounted, not removed: $work" >&2
    else
        rm -rf --one-file-system "$work"
    fi
}

[ "$(id -u)" = 0 ] || {
    echo "fresh needs root (debootstrap, chroot)" >&2
    exit 77
}
url=$(mirror)
[ -n "$url" ] || {
    echo "apt-get knows no mirror of Debian: apt-get update" >&2
    exit 2
}
work=$(mktemp -d "${TMPDIR:-/var/tmp}/mamuto-fresh-XXXXXX") || exit 2
trap cleanup EXIT
trap 'exit 130' INT TERM HUP
root=$work/root

echo "== debootstrap $suite"
debootstrap --variant=minbase "$suite" "$root" "$url" >"$work/debootstrap.log" 2>&1 || {
    tail -n 20 "$work/debootstrap.log" >&2
    exit 2
}
configure_network "$root"
copy_clone "$root" || exit 2
unshare --mount --propagation private --pid --fork --kill-child bash "$0" inside "$root"
