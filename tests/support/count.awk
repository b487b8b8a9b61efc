# Reads what `ctest -V` prints; writes a line for each test case: "passed NAME", "failed NAME", "skipped NAME".
# A cmocka program counts with its cases, any other test as one.
function close_test(number, name, outcome,    i, bad) {
    for (i = 1; i <= n_bad[number]; i++)
        print "failed", name "." bad_case[number, i]
    for (i = 1; i <= n_skip[number]; i++)
        print "skipped", name "." skip_case[number, i]
    for (i = 1; i <= n_ok[number]; i++)
        print "passed", name "." ok_case[number, i]
    if (outcome == "skipped")
        print "skipped", name
    else if (outcome == "failed" && !n_bad[number])
        print "failed", name
    else if (outcome == "passed" && !n_ok[number] && !n_skip[number])
        print "passed", name
}

# "12: [       OK ] case"; at its end cmocka lists failed and skipped cases again.
/^[0-9]+: \[ / {
    number = $1 + 0
    line = $0
    sub(/^[0-9]+: \[ *[A-Z]* *\] ?/, "", line)
    if (line == "" || line ~ /listed below|test\(s\)/)
        next
    if ($0 ~ /^[0-9]+: \[ *OK \]/)
        ok_case[number, ++n_ok[number]] = line
    else if ($0 ~ /^[0-9]+: \[ *FAILED *\]/ && !seen[number, line]++)
        bad_case[number, ++n_bad[number]] = line
    else if ($0 ~ /^[0-9]+: \[ *SKIPPED *\]/ && !seen[number, line]++)
        skip_case[number, ++n_skip[number]] = line
    next
}

# " 3/12 Test  #3: unit_board .....   Passed    0.03 sec"
/^ *[0-9]+\/[0-9]+ Test +#[0-9]+: / {
    line = $0
    sub(/^[^#]*#/, "", line)
    number = line + 0
    split(line, word, " ")
    if (line ~ /\*\*\*Skipped/)
        outcome = "skipped"
    else if (line ~ / Passed +[0-9.]+ sec *$/)
        outcome = "passed"
    else
        outcome = "failed"
    close_test(number, word[2], outcome)
}
