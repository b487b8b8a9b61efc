/* What the files that read a config share: where the reader is, its sentences, the table of keys. */
#ifndef MM_CORE_CONFIG_READ_H
#define MM_CORE_CONFIG_READ_H

#include "core/config.h"
#include "core/json.h"
#include "core/jsonpos.h"

enum { MM_CONFIG_MAX_DEPTH = 4, MM_CONFIG_MAX_SHOWN = 60, MM_CONFIG_MAX_NAME = 160 };

struct mm_config_reader {
    const char *text;
    size_t length;
    const char *path;              /* NULL: there is no file */
    const char *folder;            /* what relative paths are from; NULL: they stay */
    char name[MM_CONFIG_MAX_NAME]; /* the path, or "config", as messages show it */
    mamuto_error_t *err;
    struct mm_config *config;                       /* that is being made */
    struct mm_jsonpos_step at[MM_CONFIG_MAX_DEPTH]; /* the way to the value that is being read */
    size_t depth;
};

static inline void mm_config_enter(struct mm_config_reader *r, const char *key, size_t index)
{
    r->at[r->depth++] = (struct mm_jsonpos_step){ key, index };
}

static inline void mm_config_leave(struct mm_config_reader *r) { r->depth--; }

/* --- config_error.c: sentences; all return the code ------------------------------------------------------------- */

/* Text of the user's for a message: control characters replaced, cut between characters where it is long. */
const char *mm_config_show(char *shown, size_t size, const char *text);
void mm_config_show_path(struct mm_config_reader *r); /* sets name; of a long path its end */
int mm_config_line(const struct mm_config_reader *r); /* of the value that is being read */
/* name:line: sentence; a line of 0 is left out. ECONFIG. */
__attribute__((format(printf, 3, 4))) int mm_config_fault(struct mm_config_reader *r, int line, const char *format,
                                                          ...);
/* name:line: hosts.localhost.cores: sentence. ECONFIG. */
__attribute__((format(printf, 2, 3))) int mm_config_wrong(struct mm_config_reader *r, const char *format, ...);
/* … must be <right>, not <value>. ECONFIG. */
int mm_config_wrong_value(struct mm_config_reader *r, struct mm_json *value, const char *right);
int mm_config_no_memory(struct mm_config_reader *r);

/* --- config_keys.c: which keys there are ------------------------------------------------------------------------ */

enum mm_config_level { MM_CONFIG_TOP = 1, MM_CONFIG_HOST = 2 };

struct mm_config_key;
typedef int mm_config_read_fn(struct mm_config_reader *r, const struct mm_config_key *key, struct mm_json *value,
                              struct mm_config_host *host);

struct mm_config_key {
    const char *name;
    int levels;
    int concerns;
    mm_config_read_fn *read; /* NULL: config.c reads it itself */
    size_t at;               /* the field's offset in struct mm_config_host */
    const char *right;       /* what the value must be */
    int min, max;
    const char *words[3]; /* in order of the field's enum, ended by NULL */
};

/* The values of an object of that level into host; at the top level without hosts and modules. */
int mm_config_read_members(struct mm_config_reader *r, struct mm_json *object, enum mm_config_level level,
                           struct mm_config_host *host);
/* All values are read: does one of the host's own mean nothing beside the others? */
int mm_config_check_meaning(struct mm_config_reader *r, struct mm_json *object, const struct mm_config_host *host);

/* --- config_values.c: readers of values ------------------------------------------------------------------------- */

mm_config_read_fn mm_config_read_flag, mm_config_read_integer, mm_config_read_word, mm_config_read_transport,
    mm_config_read_path, mm_config_read_name, mm_config_read_address, mm_config_read_cc, mm_config_read_cflags,
    mm_config_read_libs, mm_config_read_launch, mm_config_read_env, mm_config_read_pin, mm_config_read_cores,
    mm_config_read_data_port, mm_config_read_schema;
int mm_config_read_cores_or(struct mm_config_reader *r, struct mm_json *value, struct mm_config_host *host,
                            const char *right);
int mm_config_read_modules(struct mm_config_reader *r, struct mm_json *value, char ***modules);
/* Why a text cannot be a host's address, as the end of "must be …"; NULL: it can. */
const char *mm_config_bad_address(const char *text);

/* --- config_host.c: hosts, and what a config owns --------------------------------------------------------------------- */

/* Memory from core/alloc.h becomes the config's, until its end; returns it. NULL, and freed: there is no memory, or was none. */
void *mm_config_own(struct mm_config *config, void *memory);
extern const struct mm_config_host mm_config_host_defaults; /* without a label */
/* One more host, which begins as defaults; there is room. ENOMEM. */
int mm_config_add_host(struct mm_config *config, const struct mm_config_host *defaults, const char *label);
/* On failure what is read so far is the config's, to be freed. */
int mm_config_read_hosts(struct mm_config_reader *r, struct mm_json *value, const struct mm_config_host *defaults);

#endif
