# A compile_commands.json as cmake writes it, with each file of the tree once: clang-tidy looks at a file as often as it
# is listed. The first entry of a file is kept.
/^\{/ { entry = ""; file = "" }
/^ *"file":/ { file = $0; sub(/,$/, "", file) }
{ entry = entry (entry == "" ? "" : "\n") $0 }
/^\},?$/ {
    sub(/\},?$/, "}", entry)
    if (file != "" && !seen[file]++)
        kept[++n] = entry
    entry = ""
}
END {
    print "["
    for (i = 1; i <= n; i++)
        print kept[i] (i < n ? "," : "")
    print "]"
}
