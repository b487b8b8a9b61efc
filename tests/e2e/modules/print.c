/* Items that print: lines, long lines, parts of lines, floods; and that die of it. */
#include <mamuto.h>

#include <fcntl.h>
#include <stdio.h>
#include <stdlib.h>
#include <time.h>
#include <unistd.h>

static void mark(const char *name)
{
    char path[512];
    snprintf(path, sizeof path, "%s/%s", getenv("E2E_DIR"), name);
    close(open(path, O_WRONLY | O_CREAT | O_CLOEXEC, 0600));
}

static int is_marked(const char *name)
{
    char path[512];
    snprintf(path, sizeof path, "%s/%s", getenv("E2E_DIR"), name);
    return access(path, F_OK) == 0;
}

static void put(const char *text)
{
    if (write(STDOUT_FILENO, text, strlen(text)) < 0)
        abort();
}

MAMUTO_FUNCTION(say, "i4 -> i4", "one line to each stream")
{
    printf("item %llu\n", (unsigned long long)MAMUTO_INDEX);
    fprintf(stderr, "error %llu\n", (unsigned long long)MAMUTO_INDEX);
    MAMUTO_OUT(int32_t) = (int32_t)MAMUTO_INDEX * 2 + 1;
    return 0;
}

MAMUTO_FUNCTION(flushed, "i4 -> i4", "a line that is flushed at once")
{
    printf("plain %llu\n", (unsigned long long)MAMUTO_INDEX);
    fflush(stdout);
    MAMUTO_OUT(int32_t) = 0;
    return 0;
}

MAMUTO_FUNCTION(line, "i4 -> i4", "a line of so many bytes")
{
    for (int32_t i = 0; i < MAMUTO_IN(int32_t, 0); i++)
        putchar('a' + i % 26);
    putchar('\n');
    MAMUTO_OUT(int32_t) = 0;
    return 0;
}

MAMUTO_FUNCTION(parts, "i4 -> i4", "a line in three parts, a millisecond apart")
{
    static const char *const parts[] = { "one ", "two ", "three\n" };
    for (int k = 0; k < 3; k++) {
        put(parts[k]);
        nanosleep(&(struct timespec){ .tv_nsec = 1000000 }, NULL);
    }
    MAMUTO_OUT(int32_t) = 0;
    return 0;
}

MAMUTO_FUNCTION(last_words, "i4 -> i4", "dies with a line that has no end")
{
    put("a whole line\nlast words");
    abort();
}

MAMUTO_FUNCTION(die, "i4 -> i4", "dies once printed, silently") { _exit(3); }

MAMUTO_FUNCTION(flood, "i4 -> i4", "so many times 1 MiB, in lines of 64 bytes")
{
    char block[4096];
    memset(block, 'f', sizeof block);
    for (size_t i = 63; i < sizeof block; i += 64)
        block[i] = '\n';
    mark("begun");
    for (int64_t i = MAMUTO_IN(int32_t, 0) * (int64_t)256; i > 0; i--)
        if (write(STDOUT_FILENO, block, sizeof block) != (ssize_t)sizeof block)
            return 1;
    MAMUTO_OUT(int32_t) = 0;
    return 0;
}

MAMUTO_FUNCTION(gate, "i4 -> i4", "prints, and waits for \"go\", 20 s at most")
{
    put("before the gate\nand no");
    mark("begun");
    for (int ms = 0; ms < 20000 && !is_marked("go"); ms++)
        nanosleep(&(struct timespec){ .tv_nsec = 1000000 }, NULL);
    MAMUTO_OUT(int32_t) = 0;
    return 0;
}
