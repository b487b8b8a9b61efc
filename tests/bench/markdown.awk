# names.tsv, then the benchmark's TSV: prints the README's table, one row a name that was measured.

BEGIN { FS = "\t" }

function figure(value, unit) {
    if (value == "")
        return "-"
    if (unit == "us" && value >= 1000) {
        value /= 1000
        unit = "ms"
    }
    return sprintf((value >= 100) ? "%.0f %s" : (value >= 10) ? "%.1f %s" : "%.2g %s", value, unit == "us" ? "µs" : unit)
}

NR == FNR {
    if ($1 !~ /^#/) {
        order[++n] = $1
        work[$1] = $3
        against[$1] = $4
    }
    next
}

/^# date: / { date = substr($0, 9) }
/^# processor: / { processor = substr($0, 14) }
$2 == "ours" { ours[$1] = figure($3, $4) }
$2 ~ /^reference\./ { theirs[$1] = figure($3, $4); peer[$1] = substr($2, 11) }
$2 == "p10" { low[$1] = $3 }
$2 == "p90" { high[$1] = $3 }
$2 == "ratio" { ratio[$1] = $3; limit[$1] = $4 }
$2 == "error" { failed[$1] = $3 }

END {
    printf "%s, %s, two lanes. Medians; in brackets the 10th and 90th percentile of the turns.\n\n", date, processor
    print "| name | work | ours | theirs | ratio | at most |"
    print "|---|---|---|---|---|---|"
    for (i = 1; i <= n; i++) {
        name = order[i]
        if (name in ratio)
            printf "| %s | %s | %s | %s%s%s | %.2f (%.2f–%.2f)%s | %s |\n", name, work[name], ours[name],
                against[name], (peer[name] == "constant") ? "" : ": " theirs[name],
                (peer[name] ~ /^(openmp|tbb|pthreadpool)/) ? " (" peer[name] ")" : "",
                ratio[name], low[name], high[name], (ratio[name] + 0 > limit[name] + 0) ? " missed" : "", limit[name]
        else if (name in failed)
            printf "| %s | %s | - | %s | not measured: %s | |\n", name, work[name], against[name], failed[name]
    }
}
