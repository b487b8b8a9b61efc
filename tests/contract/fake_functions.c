/* The functions of modules/functions.c, for nodes that load no files. */
#include "tests/contract/fake.h"

#include <string.h>

static double number(const void *p)
{
    double x;
    memcpy(&x, p, sizeof x);
    return x;
}

static int give(void *out, double x)
{
    memcpy(out, &x, sizeof x);
    return 0;
}

static int twice(const void *const *in, void *out, uint64_t index, const char **text)
{
    (void)index, (void)text;
    return give(out, 2 * number(in[0]));
}

static int indexed(const void *const *in, void *out, uint64_t index, const char **text)
{
    (void)text;
    return give(out, number(in[0]) + 3 * (double)index);
}

static int hopeless(const void *const *in, void *out, uint64_t index, const char **text)
{
    (void)in, (void)out, (void)index;
    *text = "asked for";
    return 7;
}

static int mixed(const void *const *in, void *out, uint64_t index, const char **text)
{
    return (uint64_t)number(in[0]) % 7 == 3 ? hopeless(in, out, index, text) : twice(in, out, index, text);
}

static int prints(const void *const *in, void *out, uint64_t index, const char **text)
{
    *text = "a line of an item";
    return twice(in, out, index, text);
}

static int endless(const void *const *in, void *out, uint64_t index, const char **text)
{
    (void)in, (void)out, (void)index, (void)text;
    return FAKE_NEVER;
}

static int plus(const void *const *in, void *out, uint64_t index, const char **text)
{
    (void)index, (void)text;
    return give(out, number(in[0]) + number(in[1]));
}

const struct fake_function fake_functions[] = {
    { "twice", "f8 -> f8", twice },       { "indexed", "f8 -> f8", indexed }, { "mixed", "f8 -> f8", mixed },
    { "hopeless", "f8 -> f8", hopeless }, { "prints", "f8 -> f8", prints },   { "endless", "f8 -> f8", endless },
    { "naps", "f8 -> f8", twice },        { "plus", "f8, f8 -> f8", plus },   { NULL, NULL, NULL },
};
