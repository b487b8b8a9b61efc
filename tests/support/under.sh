#!/bin/sh
# Runs a test, under another program where MAMUTO_TEST_UNDER names one (tests/run valgrind does).
# shellcheck disable=SC2086 # the variable holds a command with its arguments
exec ${MAMUTO_TEST_UNDER:-} "$@"
