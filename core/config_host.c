/* The hosts of a config: what one owns, what it begins with, and reading them all.
 *
 * config.c calls it with the top level's values, which are every host's defaults; a host's own win, and its environment
 * is merged into theirs. This machine's fields of what concerns other hosts alone are filled, and looked at by nobody. */
#include "core/alloc.h"
#include "core/config_read.h"
#include "core/error.h"

#include <stdio.h>

enum { MAX_LABEL = sizeof((mamuto_error_t *)0)->host - 1 };

#define FIELD(field_) offsetof(struct mm_config_host, field_)
static const size_t strings[] = {
    FIELD(label),      FIELD(cc),      FIELD(workdir), FIELD(agent),    FIELD(known_hosts_file),
    FIELD(ssh_config), FIELD(address), FIELD(user),    FIELD(identity), FIELD(data_address)
};
static const size_t lists[] = { FIELD(cflags), FIELD(libs), FIELD(env), FIELD(launch) };
enum { N_STRINGS = sizeof strings / sizeof *strings, N_LISTS = sizeof lists / sizeof *lists };

static char **string_of(struct mm_config_host *host, size_t i) { return (char **)(void *)((char *)host + strings[i]); }
static char ***list_of(struct mm_config_host *host, size_t i) { return (char ***)(void *)((char *)host + lists[i]); }

/* Memory --------------------------------------------------------------------------------------------------------- */

void mm_config_free_list(char **list)
{
    for (char **p = list; p && *p; p++)
        mm_free(*p);
    mm_free(list);
}

static char **copy_list(char *const *from)
{
    size_t n = 0;
    while (from[n])
        n++;
    char **list = mm_alloc_array(n + 1, sizeof *list);
    for (size_t i = 0; list && i < n; i++) {
        if (!(list[i] = mm_strdup(from[i]))) {
            mm_config_free_list(list);
            return NULL;
        }
    }
    return list;
}

void mm_config_host_fini(struct mm_config_host *host)
{
    for (size_t i = 0; i < N_STRINGS; i++)
        mm_free(*string_of(host, i));
    for (size_t i = 0; i < N_LISTS; i++)
        mm_config_free_list(*list_of(host, i));
    memset(host, 0, sizeof *host);
}

int mm_config_host_copy(struct mm_config_host *host, const struct mm_config_host *from, const char *label)
{
    struct mm_config_host source = *from;
    bool whole = true;
    *host = *from;
    for (size_t i = 0; i < N_STRINGS; i++)
        *string_of(host, i) = NULL;
    for (size_t i = 0; i < N_LISTS; i++)
        *list_of(host, i) = NULL;
    source.label = NULL;
    for (size_t i = 0; i < N_STRINGS; i++)
        if (*string_of(&source, i))
            whole = (*string_of(host, i) = mm_strdup(*string_of(&source, i))) && whole;
    for (size_t i = 0; i < N_LISTS; i++)
        if (*list_of(&source, i))
            whole = (*list_of(host, i) = copy_list(*list_of(&source, i))) && whole;
    if (label)
        whole = (host->label = mm_strdup(label)) && whole;
    if (whole)
        return 0;
    mm_config_host_fini(host);
    return MAMUTO_ENOMEM;
}

int mm_config_host_init(struct mm_config_host *host)
{
    static char cc[] = "cc", level[] = "-O3", native[] = "-march=native", contract[] = "-ffp-contract=off", m[] = "-lm";
    static char *cflags[] = { level, native, contract, NULL }, *libs[] = { m, NULL };
    const struct mm_config_host defaults = { .cc = cc,
                                             .cflags = cflags,
                                             .libs = libs,
                                             .encrypt = true,
                                             .connect_timeout_ms = 10000,
                                             .inflight_bytes = 64 << 20 };
    return mm_config_host_copy(host, &defaults, NULL);
}

/* Reading -------------------------------------------------------------------------------------------------------- */

static int check_label(struct mm_config_reader *r, const char *label)
{
    if (!*label || strlen(label) > MAX_LABEL)
        return mm_config_wrong(r, "a host's label must have 1 to %d bytes", (int)MAX_LABEL);
    for (const char *p = label; *p; p++)
        if ((unsigned char)*p < 0x20 || *p == 0x7F)
            return mm_config_wrong(r, "a host's label must have no control characters");
    return 0;
}

/* Without an address of its own and without launch, the label is what is logged in to. */
static int check_as_address(struct mm_config_reader *r, const struct mm_config_host *host)
{
    const char *why = host->local || host->address || host->launch ? NULL : mm_config_bad_address(host->label);
    return why ? mm_config_wrong(r, "is the host's address, too, where it has no \"address\": it must be %s", why) : 0;
}

static int read_host(struct mm_config_reader *r, struct mm_json *value, struct mm_config_host *host)
{
    static const char right[] = "a number of cores from 1 to 255, \"all\", or an object of a host's settings";
    if (mm_json_kind(value) != MM_JSON_OBJECT) {
        int code = mm_config_read_cores_or(r, value, host, right);
        return code ? code : check_as_address(r, host);
    }
    int code = mm_config_read_members(r, value, MM_CONFIG_HOST, host);
    if (!code)
        code = mm_config_check_meaning(r, value, host);
    return code ? code : check_as_address(r, host);
}

/* The top level's transport is that of other hosts. */
static int begin_host(struct mm_config_host *host, const struct mm_config_host *defaults, const char *label)
{
    if (mm_config_host_copy(host, defaults, label))
        return MAMUTO_ENOMEM;
    host->local = strcmp(label, MM_CONFIG_LOCAL) == 0;
    if (host->local)
        host->transport = MM_TRANSPORT_SHM;
    return 0;
}

int mm_config_read_hosts(struct mm_config_reader *r, struct mm_json *value, const struct mm_config_host *defaults,
                         struct mm_config *config)
{
    size_t n = mm_json_count(value);
    if (mm_json_kind(value) != MM_JSON_OBJECT)
        return mm_config_wrong_value(r, value, "an object, such as {\"" MM_CONFIG_LOCAL "\": \"all\"}");
    if (n == 0)
        return mm_config_wrong(r, "names no host; leave it out, or write {\"" MM_CONFIG_LOCAL "\": \"all\"}");
    if (n > MM_CONFIG_MAX_HOSTS)
        return mm_config_wrong(r, "names %zu hosts; at most %d can be used", n, MM_CONFIG_MAX_HOSTS);
    if (!(config->hosts = mm_alloc_array(n, sizeof *config->hosts)))
        return mm_config_no_memory(r);
    for (struct mm_json_member member = { 0 }; mm_json_next(value, &member);) {
        struct mm_config_host *host = &config->hosts[config->n_hosts];
        mm_config_enter(r, member.name, 0);
        int code = check_label(r, member.name);
        if (code)
            return code;
        if (begin_host(host, defaults, member.name))
            return mm_config_no_memory(r);
        config->n_hosts++;
        if ((code = read_host(r, member.value, host)) != 0)
            return code;
        if (!host->local && !config->other_line)
            config->other_line = mm_config_line(r);
        mm_config_leave(r);
    }
    return 0;
}
