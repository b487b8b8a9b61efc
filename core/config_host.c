/* The hosts of a config: what one begins with, and reading them all; and what the config owns.
 *
 * config.c calls it with the top level's values, which are every host's defaults; a host's own win, and its environment
 * is merged into theirs. Strings and lists are the config's, and never changed once they are made: so hosts share those of
 * the top level. This machine's fields of what concerns other hosts alone are filled, and looked at by nobody. */
#include "core/alloc.h"
#include "core/config_read.h"
#include "core/error.h"

#include <stdio.h>

enum { MAX_LABEL = sizeof((mamuto_error_t *)0)->host - 1 };

/* Memory --------------------------------------------------------------------------------------------------------- */

void *mm_config_own(struct mm_config *config, void *memory)
{
    struct mm_config_owned *owned = &config->owned;
    if (memory && owned->n == owned->room) {
        size_t room = owned->room ? 2 * owned->room : 16;
        void **wider = mm_realloc(owned->at, room * sizeof *wider);
        if (!wider) {
            mm_free(memory);
            return NULL;
        }
        owned->at = wider;
        owned->room = room;
    }
    if (memory)
        owned->at[owned->n++] = memory;
    return memory;
}

static char cc[] = "cc", level[] = "-O3", native[] = "-march=native", contract[] = "-ffp-contract=off", math[] = "-lm";
static char *cflags[] = { level, native, contract, NULL }, *libs[] = { math, NULL };
const struct mm_config_host mm_config_host_defaults = {
    .cc = cc, .cflags = cflags, .libs = libs, .encrypt = true, .connect_timeout_ms = 10000, .inflight_bytes = 64 << 20
};

int mm_config_add_host(struct mm_config *config, const struct mm_config_host *defaults, const char *label)
{
    struct mm_config_host *host = &config->hosts[config->n_hosts];
    *host = *defaults;
    host->label = mm_config_own(config, mm_strdup(label));
    if (!host->label)
        return MAMUTO_ENOMEM;
    host->local = strcmp(label, MM_CONFIG_LOCAL) == 0;
    if (host->local) /* the top level's transport is that of other hosts */
        host->transport = MM_TRANSPORT_SHM;
    config->n_hosts++;
    return 0;
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

int mm_config_read_hosts(struct mm_config_reader *r, struct mm_json *value, const struct mm_config_host *defaults)
{
    struct mm_config *config = r->config;
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
        if (mm_config_add_host(config, defaults, member.name))
            return mm_config_no_memory(r);
        if ((code = read_host(r, member.value, host)) != 0)
            return code;
        if (!host->local && !config->other_line)
            config->other_line = mm_config_line(r);
        mm_config_leave(r);
    }
    return 0;
}
