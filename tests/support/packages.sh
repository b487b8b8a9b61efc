# shellcheck shell=bash
# Sourced by tests/run and examples/quickstart: makes sure that what they need is on this machine.

# What is needed is said as "package=probe". A probe is a program's name, pc:NAME (pkg-config knows it), or a path.
# shellcheck disable=SC2034 # used by those who source this file
BUILD_NEEDS=(
    gcc=cc libc6-dev=/usr/include/stdio.h make=make cmake=cmake pkg-config=pkg-config
    libuv1-dev=pc:libuv libjansson-dev=pc:jansson libssh-dev=pc:libssh zlib1g-dev=pc:zlib
)
# shellcheck disable=SC2034
TEST_NEEDS=(
    gcc=gcc 'g++=g++' clang=clang libcmocka-dev=pc:cmocka clang-format=clang-format clang-tidy=clang-tidy
    shellcheck=shellcheck valgrind=valgrind spin=spin procps=ps libglib2.0-dev=pc:glib-2.0
    openssh-server=/usr/sbin/sshd openssh-client=ssh nftables=/usr/sbin/nft iproute2=ip libssl-dev=pc:libssl
    tcsh=tcsh fish=fish busybox=busybox
    python3-numpy=/usr/lib/python3/dist-packages/numpy/__init__.py
)

has() { # probe: is it there?
    case $1 in
    pc:*) pkg-config --exists "${1#pc:}" 2>/dev/null ;;
    /*) compgen -G "$1" >/dev/null ;;
    *) command -v "$1" >/dev/null 2>&1 ;;
    esac
}

missing() { # package=probe …: prints the packages that are not there
    local need
    for need in "$@"; do
        has "${need#*=}" || printf '%s\n' "${need%%=*}"
    done
}

# clang's sanitizers and fuzzer are a package of their own, named after clang's version.
clang_runtime() {
    local version
    has clang || return 0
    version=$(clang -dumpversion)
    printf 'libclang-rt-%s-dev=%s/libclang_rt.asan*\n' "${version%%.*}" "$(clang --print-runtime-dir)"
}

as_root() {
    if [ "$(id -u)" = 0 ]; then
        "$@"
    else
        sudo -n "$@"
    fi
}

may_install() {
    command -v apt-get >/dev/null 2>&1 || return 1
    [ "$(id -u)" = 0 ] || sudo -n true 2>/dev/null
}

# Installs packages by apt-get; the lists are read again only where a package is not in them.
apt_install() {
    local log status=0
    log=$(mktemp) || return 2
    local apt=(as_root env DEBIAN_FRONTEND=noninteractive apt-get -q -o DPkg::Lock::Timeout=300)
    "${apt[@]}" install -y --no-install-recommends "$@" >"$log" 2>&1 || {
        "${apt[@]}" update >"$log" 2>&1 && "${apt[@]}" install -y --no-install-recommends "$@" >>"$log" 2>&1
    } || {
        tail -n 20 "$log" >&2
        status=2
    }
    rm -f "$log"
    return $status
}

# need package=probe …: returns when all is there; else says what is missing and returns 2.
need() {
    local lacking
    mapfile -t lacking < <(missing "$@")
    [ "${#lacking[@]}" = 0 ] && return 0
    if may_install; then
        echo "installing: ${lacking[*]}"
        apt_install "${lacking[@]}" || return 2
        mapfile -t lacking < <(missing "$@")
        [ "${#lacking[@]}" = 0 ] && return 0
    fi
    {
        echo "Missing on this machine: ${lacking[*]}"
        echo "Please install them first; on Debian: apt-get install ${lacking[*]}"
    } >&2
    return 2
}
