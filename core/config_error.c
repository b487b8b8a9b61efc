/* The sentences of a config that is refused: name:line: key: what is wrong, what would be right.
 *
 * Called while a config is read, for the first thing that is wrong with it. The line is looked for only then
 * (jsonpos.c). Whatever the user has written is shown without control characters, and cut, so that a hostile text cannot push the
 * sentence's end out or play with a terminal. */
#include "core/config_read.h"
#include "core/error.h"

#include <inttypes.h>
#include <stdarg.h>
#include <stdio.h>

const char *mm_config_show(char *shown, size_t size, const char *text)
{
    static const char dots[] = "…";
    size_t n = strlen(text);
    bool cut = n >= size;
    if (cut)
        for (n = size - sizeof dots; n > 0 && ((unsigned char)text[n] & 0xC0) == 0x80;)
            n--;
    for (size_t i = 0; i < n; i++)
        shown[i] = (unsigned char)text[i] < 0x20 || text[i] == 0x7F ? '?' : text[i];
    strcpy(shown + n, cut ? dots : "");
    return shown;
}

void mm_config_show_path(struct mm_config_reader *r)
{
    size_t n = r->path ? strlen(r->path) : 0, room = sizeof r->name - 1;
    mm_config_show(r->name, sizeof r->name, !r->path ? "config" : n > room ? r->path + n - room : r->path);
}

int mm_config_line(const struct mm_config_reader *r) { return mm_jsonpos_line(r->text, r->length, r->at, r->depth); }

int mm_config_fault(struct mm_config_reader *r, int line, const char *format, ...)
{
    char sentence[sizeof r->err->text], place[16] = "";
    bool first = r->err && !r->err->code;
    va_list args;
    va_start(args, format);
    vsnprintf(sentence, sizeof sentence, format, args);
    va_end(args);
    if (line > 0)
        snprintf(place, sizeof place, "%d:", line);
    mm_error_set(r->err, MAMUTO_ECONFIG, "%s:%s %s", r->name, place, sentence);
    if (first) {
        r->err->line = line;
        snprintf(r->err->file, sizeof r->err->file, "%s", r->path ? r->path : "");
    }
    return MAMUTO_ECONFIG;
}

int mm_config_wrong(struct mm_config_reader *r, const char *format, ...)
{
    char sentence[sizeof r->err->text], where[MM_CONFIG_MAX_DEPTH * MM_CONFIG_MAX_SHOWN] = "", key[MM_CONFIG_MAX_SHOWN];
    for (size_t i = 0; i < r->depth; i++) {
        size_t n = strlen(where);
        if (r->at[i].key)
            snprintf(where + n, sizeof where - n, "%s%s", n ? "." : "", mm_config_show(key, sizeof key, r->at[i].key));
        else
            snprintf(where + n, sizeof where - n, "[%zu]", r->at[i].index);
    }
    va_list args;
    va_start(args, format);
    vsnprintf(sentence, sizeof sentence, format, args);
    va_end(args);
    return mm_config_fault(r, mm_config_line(r), "%s: %s", where, sentence);
}

int mm_config_wrong_value(struct mm_config_reader *r, struct mm_json *value, const char *right)
{
    char text[MM_CONFIG_MAX_SHOWN];
    switch (mm_json_kind(value)) {
    case MM_JSON_OBJECT:
        return mm_config_wrong(r, "must be %s, not an object", right);
    case MM_JSON_LIST:
        return mm_config_wrong(r, "must be %s, not a list", right);
    case MM_JSON_STRING:
        return mm_config_wrong(r, "must be %s, not \"%s\"", right,
                               mm_config_show(text, sizeof text, mm_json_string(value)));
    case MM_JSON_INTEGER:
        return mm_config_wrong(r, "must be %s, not %" PRId64, right, mm_json_integer(value));
    case MM_JSON_REAL:
        return mm_config_wrong(r, "must be %s, not the real number %g", right, mm_json_real(value));
    case MM_JSON_TRUE:
        return mm_config_wrong(r, "must be %s, not true", right);
    case MM_JSON_FALSE:
        return mm_config_wrong(r, "must be %s, not false", right);
    case MM_JSON_NULL:
        break;
    }
    return mm_config_wrong(r, "must be %s, not null", right);
}

int mm_config_no_memory(struct mm_config_reader *r)
{
    return mm_error_set(r->err, MAMUTO_ENOMEM, "%s: not enough memory to read the config", r->name);
}
