/* The script is constant text in single quotes, with no quote, backslash, exclamation mark or newline in it, so that it comes
 * through any login shell as it is (sh, bash, dash, busybox, tcsh, fish); what differs are its arguments. It takes turns with
 * the master: after "need" it reads one line, then so many bytes with head -c, which do not read ahead; nothing is sent to it
 * before it has spoken. A cached agent is run as a test before it is trusted: an empty, truncated or foreign one fails it. A
 * new one is written to a name of its own, compared with its size and, where there is sha256sum, its hash, tested, and then
 * renamed. A cache folder is taken if it is a real folder of ours with mode 0700; where nothing can be run in one (noexec),
 * the next one is tried.
 */
#include "net/script.h"

#include "net/launch_words.h"

#include <stdio.h>
#include <string.h>

#define SCRIPT                                                                                                         \
    "umask 077; m=" MM_LAUNCH_MAGIC_A "; m=${m}" MM_LAUNCH_MAGIC_B "; n=$1; "                                          \
    "o=$(uname -s); a=$(uname -m); l=$(getconf GNU_LIBC_VERSION 2>/dev/null | tr \" \" -); l=${l:-other}; "            \
    "g=agent-$2-$o-$a-$l; b=.new-$n; bad() { echo \"$m $n bad $1\"; exit 1; }; "                                       \
    "each() { for d in \"${XDG_CACHE_HOME:+$XDG_CACHE_HOME/mamuto}\" \"${HOME:+$HOME/.cache/mamuto}\" "                \
    "\"${TMPDIR:-/tmp}/mamuto-$(id -u)\"; do case $d in /*) ;; *) continue ;; esac; "                                  \
    "mkdir -p \"${d%/*}\" 2>/dev/null; mkdir \"$d\" 2>/dev/null; [ -h \"$d\" ] && continue; "                          \
    "[ -d \"$d\" ] && [ -O \"$d\" ] && [ -w \"$d\" ] || continue; "                                                    \
    "case $(ls -ld \"$d\") in drwx------*) ;; *) continue ;; esac; \"$1\" \"$d\" && return 0; done; return 1; }; "     \
    "test_it() { \"$1\" --self-test </dev/null >/dev/null 2>&1; }; "                                                   \
    "run() { f=$1/$g; [ -s \"$f\" ] && [ -x \"$f\" ] && test_it \"$f\" && exec \"$f\" agent \"$n\"; return 1; }; "     \
    "first() { x=$1; }; each run; "                                                                                    \
    "each first || bad \"there is no cache folder: of XDG_CACHE_HOME, HOME and TMPDIR none leads to one of mode "      \
    "0700\"; "                                                                                                         \
    "echo \"$m $n need $o $a $l\"; read -r w k s h || exit 1; [ \"$w\" = put ] || exit 1; t=$x/$b; "                   \
    "head -c \"$s\" > \"$t\" || { rm -f \"$t\"; bad \"$x cannot be written\"; }; z=$(wc -c < \"$t\"); "                \
    "[ \"$z\" -eq \"$s\" ] || { rm -f \"$t\"; bad \"of $s bytes $z came to $x: is it full?\"; }; "                     \
    "if command -v sha256sum >/dev/null && [ \"$h\" != - ]; then q=$(sha256sum < \"$t\"); "                            \
    "[ \"${q%% *}\" = \"$h\" ] || { rm -f \"$t\"; bad \"what came to $x is damaged\"; }; fi; chmod 700 \"$t\"; "       \
    "place() { p=$1/$b; [ \"$1\" = \"$x\" ] || { cp \"$t\" \"$p\" && chmod 700 \"$p\"; } || return 1; "                \
    "test_it \"$p\" || { [ \"$1\" = \"$x\" ] || rm -f \"$p\"; return 1; }; [ \"$1\" = \"$x\" ] || rm -f \"$t\"; "      \
    "mv -f \"$p\" \"$1/$g\" && echo \"$m $n got\" && exec \"$1/$g\" agent \"$n\"; }; "                                 \
    "each place; rm -f \"$t\"; bad \"it does not run there: another libc, or nothing may be run in its cache "         \
    "folders\""

/* An agent's path is the one thing of the user's in it. */
static int is_safe(const char *path)
{
    return *path && path[strspn(path, "abcdefghijklmnopqrstuvwxyzABCDEFGHIJKLMNOPQRSTUVWXYZ0123456789._/+~-")] == '\0';
}

int mm_script_make(char *text, size_t size, const char *agent, const char *nonce, const char *hash)
{
    int n;
    if (agent && !is_safe(agent))
        return -1;
    if (agent)
        n = snprintf(text, size, "exec %s agent %s", agent, nonce);
    else
        n = snprintf(text, size, "exec /bin/sh -c '%s' mamuto %s %s", SCRIPT, nonce, hash);
    return n > 0 && (size_t)n < size ? 0 : -1;
}
