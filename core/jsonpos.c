/* A scanner that follows a key path through a JSON text, to say on which line a value stands.
 *
 * config_error.c calls it, once a value is to be complained about: jansson, which read the text, keeps no positions.
 * It trusts nothing all the same: it never reads beyond text + length, never recurses (values are skipped by counting
 * brackets), and gives up with 0 where the text is not JSON. It does not validate: numbers and literals are runs of
 * bytes up to the next delimiter. Strings are decoded in full, because a key may be written with escapes.
 * Lines end with '\n', as jansson counts them. */
#include "core/jsonpos.h"

#include <stdbool.h>
#include <stdint.h>
#include <string.h>

struct cursor {
    const char *p, *end;
    int line;
};

static void skip_blanks(struct cursor *c)
{
    for (; c->p < c->end && (*c->p == ' ' || *c->p == '\t' || *c->p == '\r' || *c->p == '\n'); c->p++)
        c->line += *c->p == '\n';
}

/* Blanks, then one expected byte. */
static bool take(struct cursor *c, char expected)
{
    skip_blanks(c);
    if (c->p == c->end || *c->p != expected)
        return false;
    c->p++;
    return true;
}

/* The four digits of \uXXXX; -1: they are none. */
static int32_t take_hex4(struct cursor *c)
{
    if (c->end - c->p < 4)
        return -1;
    int32_t value = 0;
    for (int i = 0; i < 4; i++, c->p++) {
        static const char digits[] = "0123456789abcdefABCDEF";
        const char *digit = memchr(digits, *c->p, sizeof digits - 1);
        if (!digit)
            return -1;
        ptrdiff_t d = digit - digits;
        value = value << 4 | (int32_t)(d < 16 ? d : d - 6);
    }
    return value;
}

/* The rest of \u…, of a surrogate pair both halves; -1: broken. */
static int32_t take_code_point(struct cursor *c)
{
    int32_t high = take_hex4(c);
    if (high < 0xD800 || high > 0xDFFF)
        return high;
    if (high > 0xDBFF || c->end - c->p < 2 || c->p[0] != '\\' || c->p[1] != 'u')
        return -1;
    c->p += 2;
    int32_t low = take_hex4(c);
    if (low < 0xDC00 || low > 0xDFFF)
        return -1;
    return 0x10000 + ((high - 0xD800) << 10) + (low - 0xDC00);
}

static int encode_utf8(int32_t code, char bytes[4])
{
    static const unsigned char lead[] = { 0, 0x00, 0xC0, 0xE0, 0xF0 };
    int n = code < 0x80 ? 1 : code < 0x800 ? 2 : code < 0x10000 ? 3 : 4;
    for (int i = n - 1; i > 0; i--, code >>= 6)
        bytes[i] = (char)(0x80 | (code & 0x3F));
    bytes[0] = (char)(lead[n] | code);
    return n;
}

/* What follows a backslash, decoded; its length in bytes, or -1. */
static int take_escape(struct cursor *c, char bytes[4])
{
    static const char names[] = "\"\\/bfnrt", values[] = "\"\\/\b\f\n\r\t";
    if (c->p == c->end)
        return -1;
    char name = *c->p++;
    if (name == 'u') {
        int32_t code = take_code_point(c);
        return code < 0 ? -1 : encode_utf8(code, bytes);
    }
    const char *found = memchr(names, name, sizeof names - 1);
    if (!found)
        return -1;
    bytes[0] = values[found - names];
    return 1;
}

/* Passes a string, its opening quote included. *equal: it decodes to key. false: it is broken. */
static bool take_string(struct cursor *c, const char *key, bool *equal)
{
    if (!take(c, '"'))
        return false;
    bool same = true;
    while (c->p < c->end && *c->p != '"') {
        char bytes[4];
        int n = 1;
        bytes[0] = *c->p++;
        if ((unsigned char)bytes[0] < 0x20)
            return false;
        if (bytes[0] == '\\' && (n = take_escape(c, bytes)) < 0)
            return false;
        /* a NUL, from \u0000, is in no key: it must not move past key's end */
        for (int i = 0; i < n && same; i++)
            same = bytes[i] != '\0' && bytes[i] == *key++;
    }
    *equal = same && *key == '\0';
    return c->p < c->end && c->p++;
}

/* Passes one value of whatever depth. */
static bool skip_value(struct cursor *c)
{
    size_t depth = 0;
    do {
        skip_blanks(c);
        if (c->p == c->end)
            return false;
        bool ignored;
        char b = *c->p;
        if (b == '"') {
            if (!take_string(c, "", &ignored))
                return false;
        } else if (b == '{' || b == '[') {
            depth++;
            c->p++;
        } else if (b == '}' || b == ']' || b == ',' || b == ':') {
            if (depth == 0)
                return false;
            depth -= b == '}' || b == ']';
            c->p++;
        } else {
            static const char delimiters[] = "{}[],:\" \t\r\n";
            while (c->p < c->end && !memchr(delimiters, *c->p, sizeof delimiters - 1))
                c->p++; /* a NUL byte, too: jansson passes over one that follows a number */
        }
    } while (depth > 0);
    return true;
}

/* From an object to the value of its member key; *line: the key's. */
static bool enter_member(struct cursor *c, const char *key, int *line)
{
    if (!take(c, '{'))
        return false;
    do {
        bool found;
        skip_blanks(c);
        *line = c->line;
        if (!take_string(c, key, &found) || !take(c, ':'))
            return false;
        if (found)
            return true;
    } while (skip_value(c) && take(c, ','));
    return false;
}

/* From an array to its element index; *line: where that begins. */
static bool enter_element(struct cursor *c, size_t index, int *line)
{
    if (!take(c, '['))
        return false;
    for (; index > 0; index--)
        if (!skip_value(c) || !take(c, ','))
            return false;
    skip_blanks(c);
    *line = c->line;
    return c->p < c->end && *c->p != ']';
}

int mm_jsonpos_line(const char *text, size_t length, const struct mm_jsonpos_step *path, size_t n_steps)
{
    struct cursor c = { text, text + length, 1 };
    skip_blanks(&c);
    int line = c.p < c.end ? c.line : 0;
    for (size_t i = 0; i < n_steps; i++)
        if (!(path[i].key ? enter_member(&c, path[i].key, &line) : enter_element(&c, path[i].index, &line)))
            return 0;
    return line;
}
