/* The config: a JSON object, from a file or a text, to struct mm_config.
 *
 * mamuto_open calls it once, before anything runs. It does no more than read: no host is asked, no compiler looked for.
 * A config is refused as a whole: what is unknown, doubled, of the wrong type or out of range is an error, with its
 * line (jsonpos.c), its key and what would be right. The result is built aside and handed over when all is well.
 * Whose file it may be is ownfile.c's matter. The table `keys` is the one list of what is allowed where; messages are
 * made from it. A value of the top level is every host's default: the hosts are read last, over it. */
#include "core/config.h"

#include "core/alloc.h"
#include "core/error.h"
#include "core/jsonpos.h"
#include "core/nearest.h"
#include "core/ownfile.h"
#include "core/relpath.h"

#include <jansson.h>
#include <stdarg.h>
#include <stdio.h>

enum { MAX_DEPTH = 4, MAX_SHOWN = 60, MAX_NAME = 160 };

struct reader {
    const char *text;
    size_t length;
    const char *path;    /* NULL: there is no file */
    const char *folder;  /* what relative paths are from; NULL: they stay */
    char name[MAX_NAME]; /* the path, or "config", as messages show it */
    mamuto_error_t *err;
    struct mm_jsonpos_step at[MAX_DEPTH]; /* the way to the value that is being read */
    size_t depth;
};

enum level { TOP = 1, HOST = 2 };

/* A reader of a value leaves *config as it was on failure. */
typedef int read_fn(struct reader *r, json_t *value, struct mm_config *config);
static read_fn read_hosts, read_cores, read_pin, read_core_dumps, read_cc, read_cflags, read_libs, read_schema;

/* clang-format off */
static const struct key {
    const char *name;
    int levels;
    read_fn *read;
} keys[] = {
    { "hosts", TOP, read_hosts },
    { "cores", HOST, read_cores },
    { "pin", TOP | HOST, read_pin },
    { "core_dumps", TOP | HOST, read_core_dumps },
    { "cc", TOP | HOST, read_cc },
    { "cflags", TOP | HOST, read_cflags },
    { "libs", TOP | HOST, read_libs },
    { "$schema", TOP, read_schema },
};
/* clang-format on */
static const struct key *const keys_end = keys + sizeof keys / sizeof *keys;

/* Messages ------------------------------------------------------------------------------------------------------- */

/* Text of the user's for a message: control characters replaced, cut between characters where it is long. */
static const char *show(char *shown, size_t size, const char *text)
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

/* name:line: sentence; a line of 0 is left out. */
__attribute__((format(printf, 3, 4))) static int fault(struct reader *r, int line, const char *format, ...)
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

static int line_of_value(const struct reader *r) { return mm_jsonpos_line(r->text, r->length, r->at, r->depth); }

/* An error in the value that is being read. name:line: hosts.localhost.cores: sentence */
__attribute__((format(printf, 2, 3))) static int wrong(struct reader *r, const char *format, ...)
{
    char sentence[sizeof r->err->text], where[MAX_DEPTH * MAX_SHOWN] = "", key[MAX_SHOWN];
    for (size_t i = 0; i < r->depth; i++) {
        size_t n = strlen(where);
        if (r->at[i].key)
            snprintf(where + n, sizeof where - n, "%s%s", n ? "." : "", show(key, sizeof key, r->at[i].key));
        else
            snprintf(where + n, sizeof where - n, "[%zu]", r->at[i].index);
    }
    va_list args;
    va_start(args, format);
    vsnprintf(sentence, sizeof sentence, format, args);
    va_end(args);
    return fault(r, line_of_value(r), "%s: %s", where, sentence);
}

static int wrong_value(struct reader *r, const json_t *value, const char *right)
{
    char text[MAX_SHOWN];
    switch (json_typeof(value)) {
    case JSON_OBJECT:
        return wrong(r, "must be %s, not an object", right);
    case JSON_ARRAY:
        return wrong(r, "must be %s, not a list", right);
    case JSON_STRING:
        return wrong(r, "must be %s, not \"%s\"", right, show(text, sizeof text, json_string_value(value)));
    case JSON_INTEGER:
        return wrong(r, "must be %s, not %" JSON_INTEGER_FORMAT, right, json_integer_value(value));
    case JSON_REAL:
        return wrong(r, "must be %s, not the real number %g", right, json_real_value(value));
    case JSON_TRUE:
    case JSON_FALSE:
        return wrong(r, "must be %s, not %s", right, json_is_true(value) ? "true" : "false");
    case JSON_NULL:
        break;
    }
    return wrong(r, "must be %s, not null", right);
}

static int no_memory(struct reader *r)
{
    return mm_error_set(r->err, MAMUTO_ENOMEM, "%s: not enough memory to read the config", r->name);
}

static int unknown_key(struct reader *r, const char *name, enum level level)
{
    char allowed[128] = "", hint[64] = "";
    struct mm_nearest nearest = { 0 };
    for (const struct key *k = keys; k < keys_end; k++) {
        size_t n = strlen(allowed);
        if (k->levels & (int)level) {
            snprintf(allowed + n, sizeof allowed - n, "%s%s", n ? ", " : "", k->name);
            mm_nearest_offer(&nearest, name, k->name);
        } else if (strcmp(k->name, name) == 0) {
            const char *right = level == TOP ? "a host, such as hosts.localhost" : "the top level";
            return wrong(r, "belongs to %s; not allowed here", right);
        }
    }
    if (nearest.name)
        snprintf(hint, sizeof hint, "; did you mean \"%s\"?", nearest.name);
    return wrong(r, "unknown key%s (allowed here: %s)", hint, allowed);
}

/* Lists of strings ----------------------------------------------------------------------------------------------- */

static void free_list(char **list)
{
    for (char **p = list; p && *p; p++)
        mm_free(*p);
    mm_free(list);
}

static char **copy_list(const char *const *strings, size_t n)
{
    char **list = mm_alloc_array(n + 1, sizeof *list);
    for (size_t i = 0; list && i < n; i++) {
        if (!(list[i] = mm_strdup(strings[i]))) {
            free_list(list);
            return NULL;
        }
    }
    return list;
}

static int read_list(struct reader *r, json_t *value, bool is_lib, char ***list)
{
    size_t n = json_array_size(value);
    const char *previous = NULL;
    const char *right = is_lib ? "a list of strings, such as [\"-lm\"]" : "a list of strings, such as [\"-O2\"]";
    if (!json_is_array(value))
        return wrong_value(r, value, right);
    char **copy = mm_alloc_array(n + 1, sizeof *copy);
    if (!copy)
        return no_memory(r);
    for (size_t i = 0; i < n; i++) {
        json_t *element = json_array_get(value, i);
        const char *flag = json_string_value(element);
        if (!flag || !*flag) {
            r->at[r->depth++] = (struct mm_jsonpos_step){ NULL, i };
            free_list(copy);
            return wrong_value(r, element, "a string that is not empty");
        }
        if (!(copy[i] = mm_relpath_flag(flag, previous, is_lib, r->folder))) {
            free_list(copy);
            return no_memory(r);
        }
        previous = flag;
    }
    free_list(*list);
    *list = copy;
    return 0;
}

/* Values --------------------------------------------------------------------------------------------------------- */

static int read_object(struct reader *r, json_t *object, enum level level, struct mm_config *config)
{
    const char *name;
    json_t *value;
    json_object_foreach(object, name, value)
    {
        const struct key *k = keys;
        while (k < keys_end && (strcmp(k->name, name) != 0 || !(k->levels & (int)level)))
            k++;
        r->at[r->depth++] = (struct mm_jsonpos_step){ name, 0 };
        int code = k == keys_end ? unknown_key(r, name, level) : k->read == read_hosts ? 0 : k->read(r, value, config);
        if (code)
            return code;
        r->depth--;
    }
    if (level == HOST || !(value = json_object_get(object, "hosts")))
        return 0;
    r->at[r->depth++] = (struct mm_jsonpos_step){ "hosts", 0 };
    int code = read_hosts(r, value, config);
    r->depth -= !code;
    return code;
}

static bool is_string(const json_t *value, const char *text)
{
    return json_is_string(value) && strcmp(json_string_value(value), text) == 0;
}

static int read_cores_or(struct reader *r, json_t *value, struct mm_config *config, const char *right)
{
    json_int_t cores = json_integer_value(value); /* 0 where it is none */
    bool all = is_string(value, "all");
    if (!all && (cores < 1 || cores > MM_CONFIG_MAX_CORES))
        return wrong_value(r, value, right);
    config->cores = all ? 0 : (int)cores;
    return 0;
}

static int read_cores(struct reader *r, json_t *value, struct mm_config *config)
{
    return read_cores_or(r, value, config, "a number of cores from 1 to 255, or \"all\"");
}

static int read_hosts(struct reader *r, json_t *value, struct mm_config *config)
{
    static const char right[] = "a number of cores from 1 to 255, \"all\", or an object of a host's settings";
    const char *label;
    char shown[MAX_SHOWN];
    json_t *host;
    if (!json_is_object(value))
        return wrong_value(r, value, "an object, such as {\"localhost\": \"all\"}");
    if (json_object_size(value) == 0)
        return wrong(r, "names no host; leave it out, or write {\"localhost\": \"all\"}");
    json_object_foreach(value, label, host)
    {
        r->at[r->depth++] = (struct mm_jsonpos_step){ label, 0 };
        if (strcmp(label, "localhost") != 0)
            return fault(r, line_of_value(r),
                         "host \"%s\": other hosts are not supported by this release; \"localhost\" is",
                         show(shown, sizeof shown, label));
        int code = json_is_object(host) ? read_object(r, host, HOST, config) : read_cores_or(r, host, config, right);
        if (code)
            return code;
        r->depth--;
    }
    return 0;
}

static int read_pin(struct reader *r, json_t *value, struct mm_config *config)
{
    if (!json_is_boolean(value) && !is_string(value, "auto"))
        return wrong_value(r, value, "\"auto\", true or false");
    config->pin = json_is_true(value) ? MM_PIN_ON : json_is_false(value) ? MM_PIN_OFF : MM_PIN_AUTO;
    return 0;
}

static int read_core_dumps(struct reader *r, json_t *value, struct mm_config *config)
{
    if (!json_is_boolean(value))
        return wrong_value(r, value, "true or false");
    config->core_dumps = json_is_true(value);
    return 0;
}

static int read_cc(struct reader *r, json_t *value, struct mm_config *config)
{
    const char *cc = json_string_value(value); /* a NUL in it was an error of jansson's */
    if (!cc || !*cc)
        return wrong_value(r, value, "the name or path of a C compiler, such as \"cc\"");
    char *copy = mm_relpath_program(cc, r->folder);
    if (!copy)
        return no_memory(r);
    mm_free(config->cc);
    config->cc = copy;
    return 0;
}

static int read_cflags(struct reader *r, json_t *value, struct mm_config *config)
{
    return read_list(r, value, false, &config->cflags);
}

static int read_libs(struct reader *r, json_t *value, struct mm_config *config)
{
    return read_list(r, value, true, &config->libs);
}

/* For editors, which check the config by it; nothing follows from it here. */
static int read_schema(struct reader *r, json_t *value, struct mm_config *config)
{
    (void)config;
    return json_is_string(value) ? 0 : wrong_value(r, value, "a string, the address of a JSON schema");
}

/* Text ----------------------------------------------------------------------------------------------------------- */

/* The text with a member put in first, whose value is a long run of "x".
 *
 * jansson (2.14) does not look whether its buffer for the token it reads could grow. It then drops a byte of the token,
 * silently, or the closing quote, and reads on beyond the buffer, or an assertion ends the program. So it must have a
 * buffer that never grows while it reads a token of ours: the run makes it larger than any of them. The buffer doubles,
 * the last time a third before the run's end, and growing is tried again for each byte; a dropped "x" matters not. */
static char *put_run_first(const char *text, size_t length, size_t brace, size_t *new_length)
{
    static const char before[] = "\"\\u0001\":\"", after[] = "\"";
    size_t size = 4096, next = brace + 1 + strspn(text + brace + 1, " \t\r\n");
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

static int parse(struct reader *r, size_t brace, json_t **root)
{
    json_error_t error;
    char shown[JSON_ERROR_TEXT_LENGTH];
    size_t length;
    char *text = put_run_first(r->text, r->length, brace, &length);
    if (!text)
        return no_memory(r);
    int code = 0;
    json_t *object = json_loadb(text, length, JSON_REJECT_DUPLICATES, &error);
    if (object) {
        json_object_del(object, "\001");
        *root = object;
    } else if (is_out_of_memory(&error, text)) {
        code = no_memory(r);
    } else {
        const char *more = json_error_code(&error) == json_error_invalid_utf8 ? ": it must be UTF-8" : "";
        code = fault(r, error.line, "%s%s", show(shown, sizeof shown, error.text), more);
    }
    mm_free(text);
    return code;
}

/* What jansson would not say well; *brace: where the object begins. */
static int check_text(struct reader *r, size_t *brace)
{
    static const char right[] = "{\"hosts\": {\"localhost\": \"all\"}}";
    int line = 1;
    if (r->length > MM_CONFIG_MAX_BYTES)
        return fault(r, 0, "has %zu bytes; at most %d are read", r->length, MM_CONFIG_MAX_BYTES);
    const char *nul = memchr(r->text, '\0', r->length);
    for (const char *p = r->text; nul && p < nul; p++)
        line += *p == '\n';
    if (nul)
        return fault(r, line, "has a NUL byte; it must be UTF-8 text");
    *brace = strspn(r->text, " \t\r\n");
    if (!r->text[*brace])
        return fault(r, 1, "is empty; a config is a JSON object, such as %s", right);
    if (r->text[*brace] != '{')
        return fault(r, line_of_value(r), "must be a JSON object, such as %s", right);
    return 0;
}

static int read_config(struct reader *r, struct mm_config *config)
{
    static const char byte_order_mark[] = "\xEF\xBB\xBF"; /* some editors put it there */
    struct mm_config made = { 0 };
    json_t *root = NULL;
    size_t brace = 0;
    if (r->length >= 3 && memcmp(r->text, byte_order_mark, 3) == 0) {
        r->text += 3;
        r->length -= 3;
    }
    int code = check_text(r, &brace);
    if (!code)
        code = parse(r, brace, &root);
    if (!code)
        code = mm_config_default(&made, r->err);
    if (!code)
        code = read_object(r, root, TOP, &made);
    json_decref(root);
    if (code)
        mm_config_fini(&made);
    else
        *config = made;
    return code;
}

/* The interface -------------------------------------------------------------------------------------------------- */

int mm_config_default(struct mm_config *config, mamuto_error_t *err)
{
    static const char *const cflags[] = { "-O3", "-march=native", "-ffp-contract=off" }, *const libs[] = { "-lm" };
    struct mm_config made = { .cores = 0, .pin = MM_PIN_AUTO, .core_dumps = false };
    made.cc = mm_strdup("cc");
    made.cflags = copy_list(cflags, sizeof cflags / sizeof *cflags);
    made.libs = copy_list(libs, sizeof libs / sizeof *libs);
    if (!made.cc || !made.cflags || !made.libs) {
        mm_config_fini(&made);
        return mm_error_set(err, MAMUTO_ENOMEM, "not enough memory for the config");
    }
    *config = made;
    return 0;
}

int mm_config_load(struct mm_config *config, const char *path, mamuto_error_t *err)
{
    struct reader r = { .path = path, .err = err };
    bool first = err && !err->code;
    char *text = NULL, *folder = NULL;
    size_t n = strlen(path);
    show(r.name, sizeof r.name, n < sizeof r.name ? path : path + n - (sizeof r.name - 1));
    int code = mm_ownfile_read(path, r.name, MM_CONFIG_MAX_BYTES, &text, &r.length, MAMUTO_ECONFIG, err);
    if (code) {
        if (first && code == MAMUTO_ECONFIG)
            snprintf(err->file, sizeof err->file, "%s", path);
        return code;
    }
    r.text = text;
    r.folder = folder = mm_relpath_folder(path);
    code = folder ? read_config(&r, config) : no_memory(&r);
    mm_free(folder);
    mm_free(text);
    return code;
}

int mm_config_parse(struct mm_config *config, const char *text, mamuto_error_t *err)
{
    struct reader r = { .text = text, .length = strlen(text), .name = "config", .err = err };
    return read_config(&r, config);
}

void mm_config_fini(struct mm_config *config)
{
    mm_free(config->cc);
    free_list(config->cflags);
    free_list(config->libs);
    memset(config, 0, sizeof *config);
}
