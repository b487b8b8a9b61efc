#!/usr/bin/env bash
# The README against the tree: check_readme.sh BUILD [CC [FLAG …]]. Its code compiles with the project's warnings and runs,
# its configs are accepted, the examples print what it says, and it names every source, call, code and config key.
#
# What a block is, a comment before it says, which is not rendered:
#   <!-- check: module NAME -->       a file NAME.c of functions
#   <!-- check: program -->           a program; run
#   <!-- check: functions -->         functions for the fragment that follows
#   <!-- check: fragment -->          statements; run, where m is a mapper with all modules
#   <!-- check: fragment same -->     the same, with the functions of the fragment before
#   <!-- check: prints -->            commands ("$ …") and what they print, apart from the figures
# The examples in the head of core/mamuto.h are a module and a program, too.
set -u
shopt -s lastpipe # what `problem` counts, at the end of a pipe, is to be counted here
cd "$(dirname "$0")/../.." || exit 2
top=$PWD
build=$(cd "$1" && pwd) || exit 2
cc=${2:-cc}
shift $(($# < 2 ? $# : 2))
flags=(-D_GNU_SOURCE -O1 -Wall -Wextra -Wpedantic -Wconversion -Wshadow -Werror "-I$build/include" "$@")
c_flags=(-std=c11 -Wmissing-prototypes)
read -ra libs <<<"$build/libmamuto.so -Wl,-rpath,$build $(pkg-config --cflags --libs libuv) -lm"

work=$(mktemp -d) || exit 2
trap 'rm -rf "$work"' EXIT
unset MAMUTO_AGENT MAMUTO_CONFIG
export XDG_CACHE_HOME=$work/cache MAMUTO_INCLUDE=$build/include
mkdir "$XDG_CACHE_HOME"
ln -s "$build" "$work/build"
ln -s "$top/examples" "$work/examples"

problems=0
problem() { # text; standard input: lines that show it
    local lines
    lines=$(cat)
    [ -n "$lines" ] || return 0
    printf '%s:\n%s\n' "$1" "$lines"
    problems=$((problems + 1))
}

# ---- Blocks ---------------------------------------------------------------------------------------------------------

# Each block to a file NUMBER-KIND[-NAME].LANGUAGE, in the order of the README. Code without a word on what it is: "-none".
split() {
    awk -v dir="$work" '
        !inside && /^<!-- check: .* -->$/ { kind = $3; if ($4 != "-->") kind = kind "-" $4; next }
        !inside && /^```[a-z]/ {
            language = substr($0, 4)
            file = sprintf("%s/%03d-%s.%s", dir, NR, kind ? kind : "none", language)
            printf "" > file
            inside = 1
            next
        }
        inside && /^```$/ { close(file); inside = 0; kind = "" }
        inside { print > file }
        !inside && NF && !/^```$/ { kind = "" }
    ' README.md
}

# The two examples in the head of the header: what is indented by three, from their first to their last line.
split_header() {
    awk -v dir="$work" '
        /^ \*   MAMUTO_FUNCTION\(/ { file = dir "/000-module-header.c"; print "#include <mamuto.h>" > file }
        /^ \*   mamuto_t \*m;/ { file = dir "/000-head.c" }
        file { line = $0; sub(/^ \*   /, "", line); print line > file }
        file && /^ \*   }$/ { close(file); file = "" }
    ' core/mamuto.h
}

compile() { # source, argument …: what is said names the block
    local language=$cc standard=("${c_flags[@]}") source=$1
    shift
    case $source in
    *.c++)
        standard=(-std=c++17)
        case $cc in *clang) language=$cc++ ;; *gcc) language=${cc%gcc}g++ ;; *) language=c++ ;; esac
        ;;
    esac
    "$language" "${standard[@]}" "${flags[@]}" -x "${source##*.}" "$source" -x none "$@" 2>&1
}

names() { # kind: the modules' names
    local file
    for file in "$work"/*-module-*.c; do
        file=${file##*-module-}
        printf '%s\n' "${file%.c}"
    done
}

check_modules() {
    local name file
    for name in $(names); do
        file=$(ls "$work"/*-module-"$name".c)
        cp "$file" "$work/$name.c"
        compile "$file" -shared -fPIC -o "$work/module.so" | problem "module $name does not compile"
    done
}

# ---- Programs -------------------------------------------------------------------------------------------------------

# What a fragment may use, and how it becomes a program: m and err, points, data, results.
fragment() { # functions or "", statements
    printf '#include <mamuto.h>\n#include <stdio.h>\n#include <stdlib.h>\n#include <unistd.h>\n'
    echo 'enum { n = 1000 };'
    printf 'static __attribute__((unused)) %s;\n' 'mamuto_t *m' 'mamuto_error_t err' 'double p[n][3], data[3], out[n]'
    [ -z "$1" ] || printf '#line 1 "%s"\n%s\n' "${1##*/}" "$(cat "$1")"
    echo 'static void run(void)'
    printf '{\n#line 1 "%s"\n%s\n}\n' "${2##*/}" "$(cat "$2")"
    echo 'int main(void)'
    echo '{'
    printf '    const char *modules[] = { %s NULL };\n' "$(names | sed 's/.*/"&.c",/' | tr '\n' ' ')"
    cat <<'END'
    mamuto_options_t options;
    memset(&options, 0, sizeof options);
    options.modules = modules;
    if (mamuto_open_wait(&m, &options, &err) == 0)
        run();
    if (err.code)
        fprintf(stderr, "%s\n", err.text);
    return mamuto_close_wait(m) || err.code;
}
END
}

compile_and_run() { # block, source
    local said
    said=$(compile "$2" -o "$work/a.out" "${libs[@]}")
    if [ -n "$said" ]; then
        problem "${1##*/} does not compile" <<<"$said"
    else
        said=$(cd "$work" && timeout 60 ./a.out 2>&1) || problem "${1##*/} fails" <<<"${said:-status $?}"
    fi
}

check_programs() {
    local file functions='' last='' source
    for file in "$work"/*; do
        source=$work/source.${file##*.}
        case $file in
        *-program.c) compile_and_run "$file" "$file" ;;
        *-functions.c) functions=$file ;;
        *-fragment*)
            case $file in
            *-same.c) ;;
            *) last=$functions ;;
            esac
            fragment "$last" "$file" >"$source"
            compile_and_run "$file" "$source"
            functions=''
            ;;
        *-none.c | *-none.c++) problem 'no word on what this block is' <<<"README.md, line ${file##*/}" ;;
        esac
    done
}

check_header() { # its example opens and closes the mapper itself
    {
        printf '#include <mamuto.h>\n#include <stdio.h>\nenum { n = 1000 };\n'
        printf 'static double p[n][3], data[3], out[n];\nint main(void)\n{\n%s\n' "$(cat "$work/000-head.c")"
        printf '    if (err.code)\n        fprintf(stderr, "%%s\\n", err.text);\n    return err.code;\n}\n'
    } >"$work/source.c"
    compile_and_run 'the example in the head of mamuto.h' "$work/source.c"
}

# ---- Configs, outputs, names ----------------------------------------------------------------------------------------

check_configs() {
    local file
    cat >"$work/source.c" <<'END'
#include <mamuto.h>
#include <stdio.h>
int main(int argc, char **argv)
{
    mamuto_t *m;
    mamuto_error_t err = { 0 };
    mamuto_options_t options = { .config = argc > 1 ? argv[1] : NULL };
    if (mamuto_open_wait(&m, &options, &err) != 0)
        return printf("%s\n", err.text), 1;
    return mamuto_close_wait(m);
}
END
    compile "$work/source.c" -o "$work/opens" "${libs[@]}" | problem 'the program that opens configs does not compile'
    for file in "$work"/*.json; do
        chmod 600 "$file"
        (cd "$work" && ./opens "$file") | problem "a config is refused"
    done
}

without_figures() { sed -E 's/\<[0-9a-f]{8,16}\>/N/g; s/ *-?[0-9]+(\.[0-9]+)?/ N/g'; }

check_outputs() {
    local file command said
    for file in "$work"/*-prints.sh; do
        [ -e "$file" ] || echo 'no block of the README says what examples print' | problem outputs
        while read -r command; do
            case $command in
            *python3*) [ $# = 0 ] || continue ;; # a sanitizer's runtime would have to be loaded before it
            esac
            [ -e "$build/examples" ] || continue
            said=$(cd "$work" && eval "$command" 2>&1) || echo "$said" | problem "$command fails"
            diff <(awk -v c="$ $command" '/^\$ / { on = $0 == c; next } on' "$file" | without_figures) \
                <(without_figures <<<"$said") | problem "$command prints (>), the README says (<)"
        done < <(sed -n 's/^\$ //p' "$file")
    done
}

absent() { # standard input: what the README is to name; prints what it does not
    local what
    while read -r what; do
        grep -qF -- "$what" README.md || echo "$what"
    done
}

check_names() {
    local file
    {
        printf '%s\n' core/*.c shm/*.c net/*.c
        for file in core/*.h shm/*.h net/*.h; do
            [ -e "${file%.h}.c" ] || echo "$file"
        done
    } | absent | problem 'the source tour does not name'
    grep -oE '\]\([a-z][^):]*\)' README.md | tr -d ']()' | sort -u | while read -r file; do
        [ -e "$file" ] || echo "$file"
    done | problem 'named, but not there'
    printf '(%s)\n' examples/*.c examples/*.py | absent | problem 'the table of examples does not name'
    grep -oE '^MAMUTO_API [^(;]*\(' core/mamuto.h | grep -oE 'mamuto_[a-z_]+\(' | tr -d '(' | sed 's/_wait$//' | sort -u |
        absent | problem 'calls that are not named'
    # shellcheck disable=SC2016 # no expansion is meant
    sed -n 's/^ *X(\(E[A-Z]*\), .*/`\1`/p' core/mamuto.h | absent | problem 'codes that are not named'
    # shellcheck disable=SC2016
    sed -n 's/^    { "\([a-z_$]*\)", .*/`\1`/p' core/config_keys.c | absent | problem 'config keys that are not named'
}

split
split_header
check_modules
check_programs
check_header
check_configs
check_outputs "$@"
check_names
[ "$problems" = 0 ]
