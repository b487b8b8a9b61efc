/* The config: a JSON object, from a file or a text, to struct mm_config.
 *
 * mamuto_open calls it once, before anything runs. It does no more than read: no host is asked, no compiler looked for.
 * A config is refused as a whole: what is unknown, doubled, of the wrong type or out of range is an error, with its
 * line (jsonpos.c), its key and what would be right. The result is built aside and handed over when all is well.
 * Whose file it may be is ownfile.c's matter, JSON is json.c's, what is allowed where config_keys.c's. A value of the
 * top level is every host's default: the hosts are read last (config_host.c), over it. */
#include "core/alloc.h"
#include "core/config_read.h"
#include "core/error.h"
#include "core/ownfile.h"
#include "core/relpath.h"

#include <stdio.h>

/* What the parser would not say well. */
static int check_text(struct mm_config_reader *r)
{
    static const char right[] = "{\"hosts\": {\"" MM_CONFIG_LOCAL "\": \"all\"}}";
    int line = 1;
    if (r->length > MM_CONFIG_MAX_BYTES)
        return mm_config_fault(r, 0, "has %zu bytes; at most %d are read", r->length, MM_CONFIG_MAX_BYTES);
    const char *nul = memchr(r->text, '\0', r->length);
    for (const char *p = r->text; nul && p < nul; p++)
        line += *p == '\n';
    if (nul)
        return mm_config_fault(r, line, "has a NUL byte; it must be UTF-8 text");
    size_t brace = strspn(r->text, " \t\r\n");
    if (!r->text[brace])
        return mm_config_fault(r, 1, "is empty; a config is a JSON object, such as %s", right);
    if (r->text[brace] != '{')
        return mm_config_fault(r, mm_config_line(r), "must be a JSON object, such as %s", right);
    return 0;
}

static int parse(struct mm_config_reader *r, struct mm_json **root)
{
    struct mm_json_error error;
    char shown[sizeof error.text];
    struct mm_json *object = mm_json_parse(r->text, r->length, &error);
    if (object) {
        *root = object;
        return 0;
    }
    if (error.no_memory)
        return mm_config_no_memory(r);
    return mm_config_fault(r, error.line, "%s", mm_config_show(shown, sizeof shown, error.text));
}

/* The one host of a config that names none. */
static int add_this_machine(const struct mm_config_host *defaults, struct mm_config *config)
{
    config->hosts = mm_alloc_array(1, sizeof *config->hosts);
    return config->hosts ? mm_config_add_host(config, defaults, MM_CONFIG_LOCAL) : MAMUTO_ENOMEM;
}

/* The top level's values are what every host begins with; r->config is to be freed on failure. */
static int read_object(struct mm_config_reader *r, struct mm_json *root)
{
    struct mm_config *config = r->config;
    struct mm_config_host defaults = mm_config_host_defaults;
    struct mm_json *modules = mm_json_get(root, "modules"), *hosts = mm_json_get(root, "hosts");
    int code = mm_config_read_members(r, root, MM_CONFIG_TOP, &defaults);
    if (!code && modules) {
        mm_config_enter(r, "modules", 0);
        code = mm_config_read_modules(r, modules, &config->modules);
        r->depth -= !code;
    }
    if (!code && hosts) {
        mm_config_enter(r, "hosts", 0);
        code = mm_config_read_hosts(r, hosts, &defaults);
    } else if (!code && add_this_machine(&defaults, config)) {
        code = mm_config_no_memory(r);
    }
    if (!code && r->path && !(config->path = mm_strdup(r->path)))
        code = mm_config_no_memory(r);
    return code;
}

static int read_config(struct mm_config_reader *r, struct mm_config *config)
{
    static const char byte_order_mark[] = "\xEF\xBB\xBF"; /* some editors put it there */
    struct mm_config made = { 0 };
    struct mm_json *root = NULL;
    r->config = &made;
    if (r->length >= 3 && memcmp(r->text, byte_order_mark, 3) == 0) {
        r->text += 3;
        r->length -= 3;
    }
    int code = check_text(r);
    if (!code)
        code = parse(r, &root);
    if (!code)
        code = read_object(r, root);
    mm_json_free(root);
    if (code)
        mm_config_fini(&made);
    else
        *config = made;
    return code;
}

/* The interface -------------------------------------------------------------------------------------------------- */

int mm_config_default(struct mm_config *config, mamuto_error_t *err)
{
    struct mm_config made = { 0 };
    if (add_this_machine(&mm_config_host_defaults, &made)) {
        mm_config_fini(&made);
        return mm_error_set(err, MAMUTO_ENOMEM, "not enough memory for the config");
    }
    *config = made;
    return 0;
}

int mm_config_load(struct mm_config *config, const char *path, mamuto_error_t *err)
{
    struct mm_config_reader r = { .path = path, .err = err };
    bool first = err && !err->code;
    char *text = NULL, *folder = NULL;
    mm_config_show_path(&r);
    int code = mm_ownfile_read(path, r.name, MM_CONFIG_MAX_BYTES, &text, &r.length, MAMUTO_ECONFIG, err);
    if (code) {
        if (first && code == MAMUTO_ECONFIG)
            snprintf(err->file, sizeof err->file, "%s", path);
        return code;
    }
    r.text = text;
    r.folder = folder = mm_relpath_folder(path);
    code = folder ? read_config(&r, config) : mm_config_no_memory(&r);
    mm_free(folder);
    mm_free(text);
    return code;
}

int mm_config_parse(struct mm_config *config, const char *text, mamuto_error_t *err)
{
    struct mm_config_reader r = { .text = text, .length = strlen(text), .err = err };
    mm_config_show_path(&r);
    return read_config(&r, config);
}

void mm_config_fini(struct mm_config *config)
{
    for (size_t i = 0; i < config->owned.n; i++)
        mm_free(config->owned.at[i]);
    mm_free(config->owned.at);
    mm_free(config->hosts);
    mm_free(config->path);
    memset(config, 0, sizeof *config);
}
