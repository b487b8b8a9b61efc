# Reads what `ctest -V` prints, twice (the file is named two times): the output of the failed tests, without that of
# their cases that passed.
FNR == NR {
    if (/^ *[0-9]+\/[0-9]+ Test +#[0-9]+: / && !/ Passed +[0-9.]+ sec *$/ && !/\*\*\*Skipped/) {
        line = $0
        sub(/^[^#]*#/, "", line)
        bad[line + 0] = 1
    }
    next
}
/^ *[0-9]+\/[0-9]+ Test +#[0-9]+: .*\*\*\*/ && !/\*\*\*Skipped/ { print }
/^No tests were found/ { print }
/^[0-9]+: / && ($1 + 0) in bad {
    if (!/^[0-9]+: (Test command|Working Directory|Environment variable|Test timeout| [A-Z_]+=| MAMUTO_|\[ +(OK|RUN) )/)
        print
}
