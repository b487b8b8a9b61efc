/* JSON texts by jansson, and what has to be done so that jansson is safe where memory fails.
 *
 * The config's files are its callers. A tree is jansson's own: a struct mm_json is a json_t by another name, so that no
 * other file sees the library. Where a value stands in the text jansson does not keep: that is jsonpos.c's. */
#include "core/json.h"

#include "core/alloc.h"
#include "core/mamuto.h"

#include <jansson.h>
#include <stdio.h>

static json_t *in(struct mm_json *value) { return (json_t *)value; }
static struct mm_json *out(json_t *value) { return (struct mm_json *)value; }

/* Reading -------------------------------------------------------------------------------------------------------- */

/* The text with a member put in first, whose value is a long run of "x".
 *
 * jansson (2.14) does not look whether its buffer for the token it reads could grow. It then drops a byte of the token,
 * silently, or the closing quote, and reads on beyond the buffer, or an assertion ends the program. So it must have a
 * buffer that never grows while it reads a token of ours: the run makes it larger than any of them. The buffer doubles,
 * the last time a third before the run's end, and growing is tried again for each byte; a dropped "x" matters not. */
static char *put_run_first(const char *text, size_t length, size_t *new_length)
{
    static const char before[] = "\"\\u0001\":\"", after[] = "\"";
    size_t brace = strspn(text, " \t\r\n"), next = brace + 1 + strspn(text + brace + 1, " \t\r\n"), size = 4096;
    while (size / 2 < length + 2)
        size *= 2;
    size_t run = size / 4 * 3, n = 0;
    char *new_text = mm_alloc(length + run + sizeof before + sizeof after + 1);
    if (!new_text)
        return NULL;
#define ADD(from_, bytes_) (memcpy(new_text + n, (from_), (bytes_)), n += (bytes_))
    ADD(text, brace + 1);
    ADD(before, sizeof before - 1);
    memset(new_text + n, 'x', run);
    n += run;
    ADD(after, sizeof after - 1);
    if (text[next] != '}')
        ADD(",", 1);
    ADD(text + brace + 1, length - brace - 1);
#undef ADD
    *new_length = n;
    return new_text;
}

/* jansson has no code for it. A string that it has read to its end and still finds to be none is the sign. */
static bool is_out_of_memory(const json_error_t *error, const char *text)
{
    bool string = error->position > 0 && text[error->position - 1] == '"';
    return !error->text[0] || (string && (strncmp(error->text, "invalid token", 13) == 0 ||
                                          strncmp(error->text, "string or '}' expected", 22) == 0));
}

/* What would be right, where the parser says no more than what it expected. */
static const char *hint(const json_error_t *error)
{
    static const struct {
        const char *said, *near, *right; /* how its text begins; what it stands at begins with; NULL: anything */
    } hints[] = {
        { "string or '}' expected", "}", ": the comma before it has nothing behind it; remove it" },
        { "unexpected token", "]", ": the comma before it has nothing behind it; remove it" },
        { "string or '}' expected", "'", ": strings are written in double quotes" },
        { "invalid token", "'", ": strings are written in double quotes" },
        { "'}' expected", "/", ": JSON has no comments; remove it" },
        { "']' expected", "/", ": JSON has no comments; remove it" },
        { "string or '}' expected", "/", ": JSON has no comments; remove it" },
        { "'}' expected", "end of file", ": a closing \"}\" is missing" },
        { "']' expected", "end of file", ": a closing \"]\" is missing" },
        { "string or '}' expected", "end of file", ": a closing \"}\" is missing" },
        { "string or '}' expected", NULL, ": a key is a string in double quotes" },
        { "'}' expected", NULL, ": members are set apart by commas" },
        { "']' expected", NULL, ": elements are set apart by commas" },
        { "':' expected", NULL, ": a key is followed by \":\" and its value" },
        { "invalid token", NULL, ": a value is a \"string\", a number, true, false, a [list] or an {object}" },
        { "unexpected token", NULL, ": a value is a \"string\", a number, true, false, a [list] or an {object}" },
        { "end of file expected", NULL, ": nothing may follow the closing \"}\"" },
        { "duplicate object key", NULL, ": each key may be there once" },
        { "premature end of input", NULL, ": a string is not closed" },
        { "unexpected newline", NULL, ": a string ends on its line; \"\\n\" is a line's end within one" },
    };
    const char *at = strstr(error->text, " near ");
    at = at ? at + strlen(" near ") : "";
    at += *at == '\'';
    for (size_t i = 0; i < sizeof hints / sizeof *hints; i++)
        if (strncmp(error->text, hints[i].said, strlen(hints[i].said)) == 0 &&
            (!hints[i].near || strncmp(at, hints[i].near, strlen(hints[i].near)) == 0))
            return hints[i].right;
    return json_error_code(error) == json_error_invalid_utf8 ? ": it must be UTF-8" : "";
}

struct mm_json *mm_json_parse(const char *text, size_t length, struct mm_json_error *error)
{
    json_error_t said;
    size_t new_length;
    char *new_text = put_run_first(text, length, &new_length);
    *error = (struct mm_json_error){ .no_memory = true };
    if (!new_text)
        return NULL;
    json_t *object = json_loadb(new_text, new_length, JSON_REJECT_DUPLICATES, &said);
    if (object) {
        json_object_del(object, "\001");
    } else if (!is_out_of_memory(&said, new_text)) {
        error->no_memory = false;
        error->line = said.line;
        snprintf(error->text, sizeof error->text, "%s%s", said.text, hint(&said));
    }
    mm_free(new_text);
    return out(object);
}

void mm_json_free(struct mm_json *root) { json_decref(in(root)); }

enum mm_json_kind mm_json_kind(struct mm_json *value)
{
    switch (json_typeof(in(value))) {
    case JSON_OBJECT:
        return MM_JSON_OBJECT;
    case JSON_ARRAY:
        return MM_JSON_LIST;
    case JSON_STRING:
        return MM_JSON_STRING;
    case JSON_INTEGER:
        return MM_JSON_INTEGER;
    case JSON_REAL:
        return MM_JSON_REAL;
    case JSON_TRUE:
        return MM_JSON_TRUE;
    case JSON_FALSE:
        return MM_JSON_FALSE;
    case JSON_NULL:
        break;
    }
    return MM_JSON_NULL;
}

const char *mm_json_string(struct mm_json *value) { return json_string_value(in(value)); }

int64_t mm_json_integer(struct mm_json *value) { return json_integer_value(in(value)); }

double mm_json_real(struct mm_json *value) { return json_real_value(in(value)); }

size_t mm_json_count(struct mm_json *value)
{
    return json_is_object(in(value)) ? json_object_size(in(value)) : json_array_size(in(value));
}

struct mm_json *mm_json_at(struct mm_json *list, size_t i) { return out(json_array_get(in(list), i)); }

struct mm_json *mm_json_get(struct mm_json *object, const char *name) { return out(json_object_get(in(object), name)); }

bool mm_json_next(struct mm_json *object, struct mm_json_member *member)
{
    json_t *o = in(object);
    member->place = member->place ? json_object_iter_next(o, member->place) : json_object_iter(o);
    if (!member->place)
        return false;
    member->name = json_object_iter_key(member->place);
    member->value = out(json_object_iter_value(member->place));
    return true;
}

/* Writing -------------------------------------------------------------------------------------------------------- */

struct mm_json *mm_json_new(void) { return out(json_object()); }

/* Is it UTF-8? jansson says no more than that it made no string; without its check there is memory alone to fail. */
static int why_no_string(const char *text)
{
    json_t *unchecked = json_string_nocheck(text);
    int code = unchecked ? MAMUTO_EINVAL : MAMUTO_ENOMEM;
    json_decref(unchecked);
    return code;
}

int mm_json_set(struct mm_json *object, const char *name, struct mm_json *value)
{
    if (!value)
        return MAMUTO_ENOMEM;
    return json_object_set_new(in(object), name, in(value)) ? why_no_string(name) : 0;
}

int mm_json_set_string(struct mm_json *object, const char *name, const char *text)
{
    json_t *string = json_string(text);
    return string ? mm_json_set(object, name, out(string)) : why_no_string(text);
}

int mm_json_set_integer(struct mm_json *object, const char *name, int64_t integer)
{
    return mm_json_set(object, name, out(json_integer(integer)));
}

char *mm_json_text(struct mm_json *root)
{
    const size_t flags = JSON_INDENT(2);
    size_t n = json_dumpb(in(root), NULL, 0, flags);
    char *text = n ? mm_alloc(n + 2) : NULL;
    if (!text)
        return NULL;
    if (json_dumpb(in(root), text, n, flags) != n) {
        mm_free(text);
        return NULL;
    }
    text[n] = '\n';
    text[n + 1] = '\0';
    return text;
}
