/* An outcome that crosses the wire and the error that a program is told. Text of another machine is for a terminal here:
 * control characters, the C1 set among them, and what is not UTF-8 are escaped, and it is cut where a character begins. Pure.
 * Called by both sides; by the master for everything that an agent says of failures.
 */
#include "net/message.h"

static size_t put_escaped(char *to, unsigned char c)
{
    static const char digits[] = "0123456789abcdef";
    to[0] = '\\';
    to[1] = 'x';
    to[2] = digits[c >> 4];
    to[3] = digits[c & 15];
    return 4;
}

static bool is_character(uint32_t code, size_t n)
{
    static const uint32_t least[] = { 0, 0, 0x80, 0x800, 0x10000 }; /* of so many bytes */
    bool control = code < ' ' || (code >= 0x7f && code < 0xa0);
    return !control && code >= least[n] && code <= 0x10ffff && (code < 0xd800 || code > 0xdfff);
}

/* Bytes of the character that begins at p, if it is UTF-8 and no control character; else 0. */
static size_t character(const unsigned char *p)
{
    size_t n = *p < 0x80 ? 1 : *p < 0xc0 ? 0 : *p < 0xe0 ? 2 : *p < 0xf0 ? 3 : *p < 0xf8 ? 4 : 0;
    if (n < 2)
        return n && is_character(*p, 1) ? 1 : 0;
    uint32_t code = *p & (0x7fU >> n);
    for (size_t i = 1; i < n; i++) {
        if ((p[i] & 0xc0) != 0x80) /* so is the end */
            return 0;
        code = code << 6 | (p[i] & 0x3fU);
    }
    return is_character(code, n) ? n : 0;
}

static void copy_text(char *to, size_t room, const char *from, bool lines)
{
    size_t used = 0;
    for (const unsigned char *p = (const unsigned char *)from; *p;) {
        size_t n = lines && *p == '\n' ? 1 : character(p);
        if (used + (n ? n : 4) >= room)
            break;
        if (!n) {
            used += put_escaped(to + used, *p++);
            continue;
        }
        memcpy(to + used, p, n);
        used += n;
        p += n;
    }
    to[used] = '\0';
}

void mm_outcome_to_error(const struct mm_outcome_body *outcome, mamuto_error_t *err)
{
    err->code = outcome->code;
    err->item_code = outcome->item_code;
    err->signal = outcome->signal;
    err->worker = outcome->worker;
    err->line = outcome->line;
    err->item = outcome->item;
    copy_text(err->file, sizeof err->file, outcome->file, false);
    copy_text(err->text, sizeof err->text, outcome->text, true);
}

void mm_error_to_outcome(const mamuto_error_t *err, struct mm_outcome_body *outcome)
{
    *outcome = (struct mm_outcome_body){ .code = err->code,
                                         .item_code = err->item_code,
                                         .signal = err->signal,
                                         .worker = err->worker,
                                         .line = err->line,
                                         .item = err->item,
                                         .file = err->file,
                                         .text = err->text };
}
