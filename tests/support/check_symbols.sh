#!/usr/bin/env bash
# What was built, seen from outside: check_symbols.sh BUILD. The library shows its public names and no others; the
# helper program needs the C library alone; both are hardened.
set -u
shopt -s lastpipe # what `problem` counts, at the end of a pipe, is to be counted here
cd "$(dirname "$0")/../.." || exit 2
build=$1
so=$build/libmamuto.so
archive=$build/libmamuto.a
agent=$build/mamuto-agent

problems=0
problem() { # text; standard input: lines that show it
    local lines
    lines=$(cat)
    [ -n "$lines" ] || return 0
    printf '%s:\n%s\n' "$1" "$lines"
    problems=$((problems + 1))
}

declared() { # the functions of the public header
    grep -oE '^MAMUTO_API [^(;]*\(' core/mamuto.h | grep -oE 'mamuto_[a-z_]+\(' | tr -d '(' | sort -u
}
exported() { nm -D --defined-only "$so" | awk '$2 != "A" { sub(/@.*/, "", $3); print $3 }' | sort -u; }
needed() { readelf -dW "$1" | sed -n 's/.*(NEEDED).*\[\(.*\)\]/\1/p'; }

check_library() {
    comm -23 <(declared) <(exported) | problem 'declared in mamuto.h, but not exported by libmamuto.so'
    comm -13 <(declared) <(exported) | problem 'exported by libmamuto.so, but not declared in mamuto.h'
    nm -g --defined-only "$archive" 2>/dev/null | awk 'NF == 3 && $3 !~ /^(mamuto|mm)_/ { print $3 }' |
        problem 'libmamuto.a defines names that are not its own'
    readelf -dW "$so" | grep -q 'SONAME.*\[libmamuto\.so\.0\]' || echo "$so" | problem 'SONAME is not libmamuto.so.0'
}

check_agent() {
    [ -e shm/helper_main.c ] || return 0
    needed "$agent" | grep -vE '^(libc\.so|libm\.so|libdl\.so|libpthread\.so|librt\.so|ld-linux|libgcc_s)' |
        problem 'mamuto-agent needs more than the C library'
}

check_hardening() { # file
    [ -e "$1" ] || return 0
    readelf -lW "$1" | grep -q GNU_RELRO || echo "$1" | problem 'no RELRO'
    readelf -dW "$1" | grep -qE 'BIND_NOW|FLAGS.*NOW' || echo "$1" | problem 'symbols are bound late'
    readelf -hW "$1" | grep -q 'Type:.*DYN' || echo "$1" | problem 'not position-independent'
    readelf -lW "$1" | grep GNU_STACK | grep -q RWE && echo "$1" | problem 'its stack is executable'
}

check_library
check_agent
check_hardening "$so"
check_hardening "$agent"
[ "$problems" = 0 ]
