/* Items of different lengths, and a reduction: the words of a text, a line an item.
 *
 * Counts those of a file, and then those of the file again and again, up to 100 MB; compares both with a serial loop.
 *
 *   wordcount [FILE [CONFIG]]      FILE: /usr/share/common-licenses/GPL-3
 */
#include <mamuto.h>

#include <stdio.h>
#include <stdlib.h>
#include <time.h>

static const size_t MUCH = 100000000;

struct text {
    char *bytes;
    size_t size;
    int64_t *offsets; /* line i: [offsets[i], offsets[i + 1]) */
    size_t lines;
};

static double seconds(void)
{
    struct timespec t;
    clock_gettime(CLOCK_MONOTONIC, &t);
    return (double)t.tv_sec + 1e-9 * (double)t.tv_nsec;
}

static int64_t serial(const struct text *text)
{
    int64_t n = 0;
    int in_word = 0;
    for (size_t i = 0; i < text->size; i++) {
        char c = text->bytes[i];
        int blank = c == ' ' || (c >= '\t' && c <= '\r');
        n += !blank && !in_word;
        in_word = !blank;
    }
    return n;
}

static int find_lines(struct text *text)
{
    size_t n = 0;
    for (size_t i = 0; i < text->size; i++)
        n += text->bytes[i] == '\n';
    text->offsets = malloc((n + 2) * sizeof *text->offsets);
    if (!text->offsets)
        return -1;
    text->offsets[0] = 0;
    n = 0;
    for (size_t i = 0; i < text->size; i++)
        if (text->bytes[i] == '\n' || i + 1 == text->size)
            text->offsets[++n] = (int64_t)i + 1;
    text->lines = n;
    return 0;
}

static int read_text(const char *path, struct text *text)
{
    FILE *file = fopen(path, "rb");
    if (!file)
        return -1;
    fseek(file, 0, SEEK_END);
    long size = ftell(file);
    rewind(file);
    text->bytes = size > 0 ? malloc((size_t)size) : NULL;
    text->size = text->bytes ? fread(text->bytes, 1, (size_t)size, file) : 0;
    fclose(file);
    return text->size ? find_lines(text) : -1;
}

/* The text again and again, as often as it fits. */
static int repeat(const struct text *once, struct text *much)
{
    size_t times = MUCH / once->size ? MUCH / once->size : 1;
    much->size = times * once->size;
    much->bytes = malloc(much->size);
    for (size_t i = 0; much->bytes && i < times; i++)
        memcpy(much->bytes + i * once->size, once->bytes, once->size);
    return much->bytes ? find_lines(much) : -1;
}

static int count(mamuto_t *m, const struct text *text, mamuto_error_t *err)
{
    int64_t words = 0, none = 0;
    mamuto_call_t call = { .function = "text.words",
                           .args = { mamuto_scatter_var(text->bytes, text->offsets, text->lines) },
                           .fold = "text.add",
                           .value = &words,
                           .if_empty = &none };
    double start = seconds();
    if (mamuto_reduce_wait(m, &call, err) != 0)
        return 1;
    double middle = seconds();
    int64_t expected = serial(text);
    double end = seconds();
    printf("%zu lines, %zu bytes: %lld words; %.1f ms by mamuto, %.1f ms by a serial loop\n", text->lines, text->size,
           (long long)words, (middle - start) * 1e3, (end - middle) * 1e3);
    if (words == expected)
        return 0;
    fprintf(stderr, "wordcount: the serial loop counted %lld words\n", (long long)expected);
    return 1;
}

int main(int argc, char **argv)
{
    const char *path = argc > 1 ? argv[1] : "/usr/share/common-licenses/GPL-3";
    mamuto_options_t options = { .config = argc > 2 ? argv[2] : NULL,
                                 .modules = (const char *[]){ EXAMPLE_MODULES "/text.c", NULL } };
    struct text once = { 0 }, much = { 0 };
    mamuto_error_t err = { 0 };
    mamuto_t *m;
    int status = 1;
    if (read_text(path, &once) != 0 || repeat(&once, &much) != 0)
        fprintf(stderr, "wordcount: cannot read %s, or it is empty\n", path);
    else if (mamuto_open_wait(&m, &options, &err) == 0) {
        status = count(m, &once, &err) || count(m, &much, &err);
        mamuto_close_wait(m);
    }
    if (err.code)
        fprintf(stderr, "wordcount: %s\n", err.text);
    free(once.bytes);
    free(once.offsets);
    free(much.bytes);
    free(much.offsets);
    return status;
}
