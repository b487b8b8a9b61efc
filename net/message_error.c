/* An outcome that crosses the wire and the error that a program is told. Text of another machine is for a terminal here:
 * control characters are escaped, and it is cut where a character of UTF-8 begins.
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

/* Bytes of the character that begins with c. */
static size_t utf8_length(unsigned char c) { return c < 0xc0 ? 1 : c < 0xe0 ? 2 : c < 0xf0 ? 3 : 4; }

static void copy_text(char *to, size_t room, const char *from)
{
    size_t used = 0;
    for (const unsigned char *p = (const unsigned char *)from; *p;) {
        bool control = *p < ' ' ? *p != '\n' : *p == 0x7f;
        size_t n = control ? 1 : utf8_length(*p), need = control ? 4 : n;
        if (used + need >= room)
            break;
        if (control)
            used += put_escaped(to + used, *p++);
        else
            while (n-- && *p)
                to[used++] = (char)*p++;
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
    copy_text(err->file, sizeof err->file, outcome->file);
    copy_text(err->text, sizeof err->text, outcome->text);
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
