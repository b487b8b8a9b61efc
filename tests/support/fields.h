/* A body with one field that is at the end of its range, or beyond. Bodies are made from structures, which take any
 * value; fields that cannot be made so are overwritten in the bytes. For one test program each: what it works on is
 * static. */
#ifndef MM_TESTS_SUPPORT_FIELDS_H
#define MM_TESTS_SUPPORT_FIELDS_H

#include "net/message.h"

#include <setjmp.h>
#include <stdarg.h>
#include <string.h>

#include <cmocka.h>

enum { BYTES = 8192 };
#define RANGE "a field of it is out of its range"

static unsigned char bytes[BYTES]; /* the body, and how much of it there is */
static struct mm_writer w;

static struct mm_writer *begin(void)
{
    w = (struct mm_writer){ .at = bytes, .room = sizeof bytes };
    return &w;
}

static void is(int code, const char *why, const char *expected, int line)
{
    int expected_code = expected ? MAMUTO_EPROTOCOL : 0;
    if (code != expected_code || (expected && strcmp(why, expected) != 0))
        fail_msg("line %d: code %d, %s", line, code, why);
}

/* What is in the bytes, as a body of a kind: taken where expected is NULL, else refused so. */
#define IS(kind_, type_, expected_)                                                                                    \
    do {                                                                                                               \
        type_ body_;                                                                                                   \
        const char *why_ = "";                                                                                         \
        assert_false(w.full);                                                                                          \
        int code_ = mm_get_##kind_(&body_, bytes, w.n, &why_);                                                         \
        is(code_, why_, (expected_), __LINE__);                                                                        \
    } while (0)

/* A good body but for one field. */
#define WITH(kind_, type_, good_, field_, value_, expected_)                                                           \
    do {                                                                                                               \
        type_ with_ = (good_);                                                                                         \
        with_.field_ = (value_);                                                                                       \
        mm_put_##kind_(begin(), &with_);                                                                               \
        IS(kind_, type_, expected_);                                                                                   \
    } while (0)

static void overwrite(size_t at, uint64_t value, int n)
{
    for (int i = 0; i < n; i++)
        bytes[at + (size_t)i] = (unsigned char)(value >> 8 * i);
}

#endif
