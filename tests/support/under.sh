#!/bin/sh
# Runs a test, under another program where MAMUTO_TEST_UNDER names one (tests/run valgrind does). There are no core
# files then: valgrind would write the whole of a sparse shared mapping into one.
if [ -n "${MAMUTO_TEST_UNDER:-}" ]; then
    # shellcheck disable=SC3045 # not in POSIX, but in dash and bash
    ulimit -c 0
fi
# shellcheck disable=SC2086 # the variable holds a command with its arguments
exec ${MAMUTO_TEST_UNDER:-} "$@"
