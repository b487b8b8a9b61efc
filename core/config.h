/* The config: JSON to structure, and a small structure to JSON. Blocks on reading or writing a small file. */
#ifndef MM_CORE_CONFIG_H
#define MM_CORE_CONFIG_H

#include "core/mamuto.h"

#include <stdbool.h>

#define MM_CONFIG_LOCAL "localhost" /* the label of this machine */

enum { MM_CONFIG_MAX_CORES = 255, MM_CONFIG_MAX_HOSTS = 1000, MM_CONFIG_MAX_BYTES = 1 << 20 };

enum mm_pin { MM_PIN_AUTO, MM_PIN_ON, MM_PIN_OFF };
enum mm_transport { MM_TRANSPORT_AUTO, MM_TRANSPORT_SHM, MM_TRANSPORT_TCP, MM_TRANSPORT_SSH }; /* AUTO: tcp, else ssh */
enum mm_known_hosts { MM_KNOWN_HOSTS_STRICT, MM_KNOWN_HOSTS_ACCEPT_NEW };
enum mm_same_code { MM_SAME_CODE_WARN, MM_SAME_CODE_REQUIRE };

/* One host, with the top level's values where it has none of its own: the same strings and lists, which are the config's.
 * Paths are absolute if the config is a file. */
struct mm_config_host {
    char *label;
    char *cc;              /* no slash: to be looked for in PATH */
    char **cflags, **libs; /* these and the other lists are ended by NULL */
    char *workdir;         /* NULL: stay */
    char **env;            /* "NAME=value", each name once; NULL: nothing */
    char *agent;           /* NULL: to be found */
    int cores;             /* 1 to MM_CONFIG_MAX_CORES; 0: all that this process may use there */
    int nice;              /* 0 to 19, added to what this process has */
    enum mm_pin pin;
    bool local; /* this machine */
    bool core_dumps, required;
    /* of other hosts alone */
    bool encrypt;
    enum mm_transport transport; /* SHM for this machine, and for no other */
    enum mm_known_hosts known_hosts;
    enum mm_same_code same_code;
    int port;                                                        /* 0: as ssh has it */
    char *known_hosts_file, *ssh_config, *address, *user, *identity; /* NULL: as ssh has it */
    char **launch;                                                   /* NULL: ssh */
    char *data_address;                                              /* NULL: the connection's own */
    int data_port_first, data_port_last;                             /* 0: any */
    int connect_timeout_ms, inflight_bytes;
};

struct mm_config {
    struct mm_config_host *hosts;
    size_t n_hosts; /* at least one */
    char **modules; /* ended by NULL; NULL: none */
    char *path;     /* of the file; NULL: there is none */
    int other_line; /* where the first host that is not this machine stands; 0: there is none */
    struct mm_config_owned {
        void **at;
        size_t n, room;
    } owned; /* all strings and lists, of the hosts too */
};

/* The defaults: this machine, all cores, cc, -O3 -march=native -ffp-contract=off, -lm. MAMUTO_ENOMEM. */
int mm_config_default(struct mm_config *config, mamuto_error_t *err);
/* From a file, or from text. MAMUTO_ECONFIG with file (err->file), line and key, and what would be right; ENOMEM.
 * *config is untouched on failure. Relative paths in a file are from the file's folder, and come out absolute: cc and
 * launch's program if they have a slash, the folders of -I -L -isystem -iquote -idirafter, other arguments in libs,
 * those in cflags that have a slash, and all of modules, workdir, agent, identity, known_hosts_file and ssh_config. */
int mm_config_load(struct mm_config *config, const char *path, mamuto_error_t *err);
int mm_config_parse(struct mm_config *config, const char *text, mamuto_error_t *err);
void mm_config_fini(struct mm_config *config); /* also of a zeroed one; zeroes it */

#endif
