#!/usr/bin/env bash
# mamuto.h as others compile it: alone, in C11 and C++17, by gcc and clang, with every warning that a strict project
# turns on; and as a module, a program with functions of its own, and both together.
set -u
cd "$(dirname "$0")/../.." || exit 2
work=$(mktemp -d) || exit 2
trap 'rm -rf "$work"' EXIT
cp core/mamuto.h "$work/"

warnings=(-Wall -Wextra -Wpedantic -Wconversion -Wsign-conversion -Wshadow -Wcast-qual -Wwrite-strings -Wundef
    -Wredundant-decls -Wformat=2 -Wdouble-promotion -Werror)
c_warnings=(-Wstrict-prototypes -Wmissing-prototypes)

cat >"$work/alone.c" <<'EOF'
#include "mamuto.h"
#include "mamuto.h"
int used(void);
int used(void) { return MAMUTO_OK; }
EOF
cat >"$work/module.c" <<'EOF'
#include "mamuto.h"
MAMUTO_FUNCTION(add, "f8, f8 -> f8", "adds")
{
    MAMUTO_OUT(double) = MAMUTO_IN(double, 0) + MAMUTO_IN(double, 1);
    return 0;
}
MAMUTO_FUNCTION(norm, "f8[n] -> f8")
{
    const double *x = MAMUTO_ARRAY(double, 0);
    double sum = 0;
    for (size_t k = 0; k < MAMUTO_DIM(0); k++)
        sum += x[k] * x[k];
    if (MAMUTO_INDEX == 7)
        MAMUTO_FAIL(3, "the seventh");
    MAMUTO_OUT(double) = sum;
    return 0;
}
MAMUTO_KERNEL(twice, "f8 -> f8")
{
    const double *x = MAMUTO_PACKED(double, 0);
    double *out = MAMUTO_PACKED_OUT(double);
    for (size_t i = 0; i < MAMUTO_COUNT; i++)
        out[i] = 2 * x[i];
    return 0;
}
MAMUTO_FUNCTION(draw, "-> f8")
{
    mamuto_rng_t r = MAMUTO_RNG();
    MAMUTO_OUT(double) = mamuto_uniform(&r) + (double)(mamuto_random(&r) & 1);
    return 0;
}
MAMUTO_KERNEL(draws, "-> f8")
{
    double *out = MAMUTO_PACKED_OUT(double);
    for (size_t i = 0; i < MAMUTO_COUNT; i++) {
        mamuto_rng_t r = MAMUTO_KERNEL_RNG(i);
        out[i] = mamuto_uniform(&r);
    }
    return 0;
}
EOF
cat >"$work/program.c" <<'EOF'
#include "mamuto.h"
MAMUTO_FUNCTION(half, "f8 -> f8")
{
    MAMUTO_OUT(double) = MAMUTO_IN(double, 0) / 2;
    return 0;
}
int main(int argc, char **argv)
{
    mamuto_main(argc, argv);
    mamuto_arg_t arg = mamuto_scatter(argv, 1), one = mamuto_broadcast(argv);
    return arg.count + one.count == 1 ? 0 : 1;
}
EOF

problems=0
compile() { # compiler, standard, language, file
    local flags=("${warnings[@]}")
    [ "$3" = c ] && flags+=("${c_warnings[@]}")
    "$1" "-std=$2" -O2 "${flags[@]}" -I"$work" -x "$3" -c "$work/$4" -o "$work/out.o" && return 0
    echo "$4 does not compile: $1 -std=$2"
    problems=$((problems + 1))
}

for file in alone.c module.c program.c; do
    for standard in c11 gnu11 c17; do
        compile gcc $standard c $file
        compile clang $standard c $file
    done
    for standard in c++17 gnu++17; do
        compile g++ $standard c++ $file
        compile clang++ $standard c++ $file
    done
done
[ "$problems" = 0 ]
