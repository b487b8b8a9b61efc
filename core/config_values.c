/* Readers of a config's values: type and range of one value, into a field of the host.
 *
 * The table in config_keys.c names them, and what each is told: the field, the range, the words, and the sentence of
 * what is right. A value of the same field is replaced, since a host begins with what the top level says, and so it must
 * never be changed in place; an environment is merged. All memory is the config's (config_host.c). */
#include "core/alloc.h"
#include "core/config_read.h"
#include "core/program.h"
#include "core/relpath.h"

#include <stdio.h>

enum { MAX_NAMES = 1000 /* of an environment */ };

static void *field(struct mm_config_host *host, const struct mm_config_key *key) { return (char *)host + key->at; }

static bool is_word(struct mm_json *value, const char *text)
{
    const char *string = mm_json_string(value);
    return string && strcmp(string, text) == 0;
}

/* Numbers, flags, words ------------------------------------------------------------------------------------------ */

int mm_config_read_flag(struct mm_config_reader *r, const struct mm_config_key *key, struct mm_json *value,
                        struct mm_config_host *host)
{
    enum mm_json_kind kind = mm_json_kind(value);
    if (kind != MM_JSON_TRUE && kind != MM_JSON_FALSE)
        return mm_config_wrong_value(r, value, key->right);
    *(bool *)field(host, key) = kind == MM_JSON_TRUE;
    return 0;
}

int mm_config_read_integer(struct mm_config_reader *r, const struct mm_config_key *key, struct mm_json *value,
                           struct mm_config_host *host)
{
    int64_t integer = mm_json_integer(value);
    if (mm_json_kind(value) != MM_JSON_INTEGER || integer < key->min || integer > key->max)
        return mm_config_wrong_value(r, value, key->right);
    *(int *)field(host, key) = (int)integer;
    return 0;
}

int mm_config_read_word(struct mm_config_reader *r, const struct mm_config_key *key, struct mm_json *value,
                        struct mm_config_host *host)
{
    unsigned i = 0;
    while (key->words[i] && !is_word(value, key->words[i]))
        i++;
    if (!key->words[i])
        return mm_config_wrong_value(r, value, key->right);
    *(unsigned *)field(host, key) = i; /* an enum without negative values */
    return 0;
}

/* This machine's is shm, no other's is; the top level speaks of others. */
int mm_config_read_transport(struct mm_config_reader *r, const struct mm_config_key *key, struct mm_json *value,
                             struct mm_config_host *host)
{
    if (host->local)
        return is_word(value, "shm") ? 0 : mm_config_wrong_value(r, value, "\"shm\", or left out, for this machine");
    if (!is_word(value, "tcp") && !is_word(value, "ssh"))
        return mm_config_wrong_value(r, value, key->right);
    host->transport = is_word(value, "tcp") ? MM_TRANSPORT_TCP : MM_TRANSPORT_SSH;
    return 0;
}

int mm_config_read_pin(struct mm_config_reader *r, const struct mm_config_key *key, struct mm_json *value,
                       struct mm_config_host *host)
{
    enum mm_json_kind kind = mm_json_kind(value);
    if (kind != MM_JSON_TRUE && kind != MM_JSON_FALSE && !is_word(value, "auto"))
        return mm_config_wrong_value(r, value, key->right);
    host->pin = kind == MM_JSON_TRUE ? MM_PIN_ON : kind == MM_JSON_FALSE ? MM_PIN_OFF : MM_PIN_AUTO;
    return 0;
}

int mm_config_read_cores_or(struct mm_config_reader *r, struct mm_json *value, struct mm_config_host *host,
                            const char *right)
{
    int64_t cores = mm_json_integer(value);
    bool all = is_word(value, "all");
    if (!all && (cores < 1 || cores > MM_CONFIG_MAX_CORES))
        return mm_config_wrong_value(r, value, right);
    host->cores = all ? 0 : (int)cores;
    return 0;
}

int mm_config_read_cores(struct mm_config_reader *r, const struct mm_config_key *key, struct mm_json *value,
                         struct mm_config_host *host)
{
    return mm_config_read_cores_or(r, value, host, key->right);
}

/* Digits alone, at most a port's number of them; 0: no port. *end: behind them. */
static int take_port(const char *text, const char **end)
{
    int port = 0;
    size_t n = strspn(text, "0123456789");
    *end = text + n;
    for (size_t i = 0; n <= 5 && i < n; i++)
        port = port * 10 + (text[i] - '0');
    return port <= 65535 ? port : 0;
}

int mm_config_read_data_port(struct mm_config_reader *r, const struct mm_config_key *key, struct mm_json *value,
                             struct mm_config_host *host)
{
    const char *text = mm_json_string(value), *end = "";
    int64_t integer = mm_json_integer(value);
    int first = integer > 0 && integer <= 65535 ? (int)integer : 0, last = first;
    if (text) {
        first = last = take_port(text, &end);
        if (*end == '-')
            last = take_port(end + 1, &end);
    }
    if (first == 0 || *end || last == 0)
        return mm_config_wrong_value(r, value, key->right);
    if (last < first)
        return mm_config_wrong(r, "the range must not end before it begins, as \"%s\" does", text);
    host->data_port_first = first;
    host->data_port_last = last;
    return 0;
}

/* Strings -------------------------------------------------------------------------------------------------------- */

static int put_string(struct mm_config_reader *r, char **slot, char *copy)
{
    copy = mm_config_own(r->config, copy);
    if (!copy)
        return mm_config_no_memory(r);
    *slot = copy;
    return 0;
}

/* "~" means something to shells alone: a folder of that name is not what anybody wants. */
static int check_path(struct mm_config_reader *r, const char *path)
{
    if (path[0] != '~')
        return 0;
    char shown[MM_CONFIG_MAX_SHOWN];
    return mm_config_wrong(r, "\"~\" is not expanded here, as in \"%s\"; write the path out",
                           mm_config_show(shown, sizeof shown, path));
}

int mm_config_read_path(struct mm_config_reader *r, const struct mm_config_key *key, struct mm_json *value,
                        struct mm_config_host *host)
{
    const char *path = mm_json_string(value);
    bool may_be_empty = key->at == offsetof(struct mm_config_host, workdir);
    if (!path || (!*path && !may_be_empty))
        return mm_config_wrong_value(r, value, key->right);
    int code = check_path(r, path);
    if (code)
        return code;
    char **slot = field(host, key);
    if (*path)
        return put_string(r, slot, mm_relpath_path(path, r->folder));
    *slot = NULL;
    return 0;
}

/* Blanks and control characters are in no name; what begins with "-" would be an option to the programs that get it. */
static const char *bad_name(const char *text)
{
    if (text[0] == '-')
        return "without \"-\" at its beginning";
    for (const char *p = text; *p; p++)
        if ((unsigned char)*p <= 0x20 || *p == 0x7F)
            return "without blanks";
    return NULL;
}

const char *mm_config_bad_address(const char *text)
{
    if (strchr(text, '@'))
        return "without \"@\": \"user\" is a key of its own";
    if (strchr(text, '/'))
        return "without \"/\"";
    return bad_name(text);
}

static int read_name(struct mm_config_reader *r, const struct mm_config_key *key, struct mm_json *value,
                     struct mm_config_host *host, const char *(*bad)(const char *))
{
    const char *text = mm_json_string(value);
    if (!text || !*text)
        return mm_config_wrong_value(r, value, key->right);
    char shown[MM_CONFIG_MAX_SHOWN];
    const char *why = bad(text);
    if (why)
        return mm_config_wrong(r, "must be %s, %s, not \"%s\"", key->right, why,
                               mm_config_show(shown, sizeof shown, text));
    return put_string(r, field(host, key), mm_strdup(text));
}

int mm_config_read_name(struct mm_config_reader *r, const struct mm_config_key *key, struct mm_json *value,
                        struct mm_config_host *host)
{
    return read_name(r, key, value, host, bad_name);
}

int mm_config_read_address(struct mm_config_reader *r, const struct mm_config_key *key, struct mm_json *value,
                           struct mm_config_host *host)
{
    return read_name(r, key, value, host, mm_config_bad_address);
}

int mm_config_read_cc(struct mm_config_reader *r, const struct mm_config_key *key, struct mm_json *value,
                      struct mm_config_host *host)
{
    const char *cc = mm_json_string(value); /* a NUL in it was an error of the parser's */
    if (!cc || !*cc)
        return mm_config_wrong_value(r, value, key->right);
    int code = check_path(r, cc);
    return code ? code : put_string(r, &host->cc, mm_relpath_program(cc, r->folder));
}

/* For editors, which check the config by it; nothing follows from it here. */
int mm_config_read_schema(struct mm_config_reader *r, const struct mm_config_key *key, struct mm_json *value,
                          struct mm_config_host *host)
{
    (void)host;
    return mm_json_string(value) ? 0 : mm_config_wrong_value(r, value, key->right);
}

/* Lists of strings ----------------------------------------------------------------------------------------------- */

/* One element, copied; previous: the one before. NULL: no memory. */
typedef char *copy_fn(const char *text, const char *previous, const char *folder);

static char *copy_cflag(const char *text, const char *previous, const char *folder)
{
    return mm_relpath_flag(text, previous, false, folder);
}

static char *copy_lib(const char *text, const char *previous, const char *folder)
{
    return mm_relpath_flag(text, previous, true, folder);
}

static char *copy_module(const char *text, const char *previous, const char *folder)
{
    (void)previous;
    return mm_relpath_path(text, folder);
}

static char *copy_word(const char *text, const char *previous, const char *folder)
{
    return previous ? mm_strdup(text) : mm_relpath_program(text, folder);
}

static int read_list(struct mm_config_reader *r, struct mm_json *value, const char *right, copy_fn *copy_one,
                     char ***list)
{
    size_t n = mm_json_count(value);
    const char *previous = NULL;
    int code = 0;
    if (mm_json_kind(value) != MM_JSON_LIST)
        return mm_config_wrong_value(r, value, right);
    char **copy = mm_config_own(r->config, mm_alloc_array(n + 1, sizeof *copy));
    if (!copy)
        return mm_config_no_memory(r);
    for (size_t i = 0; !code && i < n; i++) {
        struct mm_json *element = mm_json_at(value, i);
        const char *text = mm_json_string(element);
        mm_config_enter(r, NULL, i);
        if (!text || !*text)
            code = mm_config_wrong_value(r, element, "a string that is not empty");
        else if (copy_one == copy_module && (code = check_path(r, text)) != 0)
            break;
        else if (!(copy[i] = mm_config_own(r->config, copy_one(text, previous, r->folder))))
            code = mm_config_no_memory(r);
        if (!code)
            mm_config_leave(r);
        previous = text;
    }
    if (!code)
        *list = copy;
    return code;
}

int mm_config_read_cflags(struct mm_config_reader *r, const struct mm_config_key *key, struct mm_json *value,
                          struct mm_config_host *host)
{
    return read_list(r, value, key->right, copy_cflag, &host->cflags);
}

int mm_config_read_libs(struct mm_config_reader *r, const struct mm_config_key *key, struct mm_json *value,
                        struct mm_config_host *host)
{
    return read_list(r, value, key->right, copy_lib, &host->libs);
}

int mm_config_read_launch(struct mm_config_reader *r, const struct mm_config_key *key, struct mm_json *value,
                          struct mm_config_host *host)
{
    if (mm_json_kind(value) == MM_JSON_LIST && mm_json_count(value) == 0)
        return mm_config_wrong(r, "must be %s; this one is empty", key->right);
    return read_list(r, value, key->right, copy_word, &host->launch);
}

int mm_config_read_modules(struct mm_config_reader *r, struct mm_json *value, char ***modules)
{
    return read_list(r, value, "a list of paths of .c and .so files, such as [\"model.c\"]", copy_module, modules);
}

/* Environments --------------------------------------------------------------------------------------------------- */

static int check_name(struct mm_config_reader *r, const char *name)
{
    if (!*name || strchr(name, '='))
        return mm_config_wrong(r, "a variable's name must not be empty, nor have a \"=\"");
    if (strcmp(name, MM_WORKER_MARK) == 0)
        return mm_config_wrong(r, "is how the library marks its workers; leave it out");
    return 0;
}

/* Where NAME=… stands in env, or its end. */
static char **find_name(char **env, const char *name)
{
    size_t n = strlen(name);
    while (*env && (strncmp(*env, name, n) != 0 || (*env)[n] != '='))
        env++;
    return env;
}

static int put_variable(struct mm_config_reader *r, struct mm_json_member *member, char **env)
{
    const char *text = mm_json_string(member->value);
    int code = check_name(r, member->name);
    if (code)
        return code;
    if (!text)
        return mm_config_wrong_value(r, member->value, "a string, such as \"4\"");
    size_t size = strlen(member->name) + strlen(text) + 2;
    char *variable = mm_alloc(size);
    if (variable)
        snprintf(variable, size, "%s=%s", member->name, text);
    return put_string(r, find_name(env, member->name), variable);
}

/* Room for more variables, all NULL. */
static int grow(struct mm_config_reader *r, char ***env, size_t more)
{
    size_t n = 0;
    while (*env && (*env)[n])
        n++;
    char **wider = mm_config_own(r->config, mm_alloc_array(n + more + 1, sizeof *wider)); /* zeroed */
    if (!wider)
        return mm_config_no_memory(r);
    if (n)
        memcpy(wider, *env, n * sizeof *wider);
    *env = wider;
    return 0;
}

int mm_config_read_env(struct mm_config_reader *r, const struct mm_config_key *key, struct mm_json *value,
                       struct mm_config_host *host)
{
    size_t n = mm_json_count(value);
    if (mm_json_kind(value) != MM_JSON_OBJECT)
        return mm_config_wrong_value(r, value, key->right);
    if (n > MAX_NAMES)
        return mm_config_wrong(r, "has %zu variables; at most %d are allowed", n, MAX_NAMES);
    int code = grow(r, &host->env, n);
    for (struct mm_json_member member = { 0 }; !code && mm_json_next(value, &member);) {
        mm_config_enter(r, member.name, 0);
        code = put_variable(r, &member, host->env);
        if (!code)
            mm_config_leave(r);
    }
    return code;
}
