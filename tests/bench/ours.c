/* Peer: libmamuto. Which row it serves is said by its arguments; see usage(). */
#include "tests/bench/ours.h"

static int usage(void)
{
    peer_die("ours like N [help] [item] [private] [denied] [pinned] [each] [kept] [reduce] | "
             "ours uneven LOW_US N SHAPE | ours crash|memory|wake|wake-help|open|idle|many-maps|many-waits | "
             "ours small-beside-big|cancel|strided|var-lines|var-out | ours wake-many WORKERS");
}

static int serve_like(int n_words, char **words)
{
    struct ours_options options = { .n = strtoul(words[0], NULL, 10) };
    for (int i = 1; i < n_words; i++) {
        if (!strcmp(words[i], "help"))
            options.help = 1;
        else if (!strcmp(words[i], "item"))
            options.item = 1;
        else if (!strcmp(words[i], "private"))
            options.private_arrays = 1;
        else if (!strcmp(words[i], "denied"))
            options.denied = 1;
        else if (!strcmp(words[i], "pinned"))
            options.pinned = 1;
        else if (!strcmp(words[i], "each"))
            options.each = 1;
        else if (!strcmp(words[i], "kept"))
            options.kept = 1;
        else if (!strcmp(words[i], "reduce"))
            options.reduce = 1;
        else
            return usage();
    }
    return options.n ? ours_like(&options) : usage();
}

int main(int argc, char **argv)
{
    static const struct {
        const char *name;
        int (*serve)(void);
    } rows[] = {
        { "crash", ours_crash },
        { "memory", ours_memory },
        { "wake", ours_wake },
        { "wake-help", ours_wake_help },
        { "open", ours_open_row },
        { "idle", ours_idle },
        { "var-out", ours_var_out },
        { "many-maps", ours_many },
        { "many-waits", ours_many_wait },
        { "small-beside-big", ours_beside },
        { "cancel", ours_cancel },
        { "strided", ours_strided },
        { "var-lines", ours_var_lines },
    };
    if (argc >= 3 && !strcmp(argv[1], "like"))
        return serve_like(argc - 2, argv + 2);
    if (argc == 5 && !strcmp(argv[1], "uneven"))
        return ours_uneven(atof(argv[2]), strtoul(argv[3], NULL, 10), argv[4]);
    if (argc == 3 && !strcmp(argv[1], "wake-many"))
        return ours_wake_many(atoi(argv[2]));
    for (size_t i = 0; argc == 2 && i < sizeof rows / sizeof *rows; i++)
        if (!strcmp(argv[1], rows[i].name))
            return rows[i].serve();
    return usage();
}
