/* mamuto_config_write: a small structure to a config file, for programs that ask their user for hosts.
 *
 * What it writes, the loader reads: the text is read back (config.c) before a file is made, so that what would be
 * refused is an error here, at the one who gave it. The file is new, or nothing is written: no config of the user's is
 * lost. Its mode is 0600 whatever the umask says, since a config that others can write is refused. */
#include "core/alloc.h"
#include "core/config.h"
#include "core/error.h"
#include "core/json.h"

#include <errno.h>
#include <fcntl.h>
#include <sys/stat.h>
#include <unistd.h>

#define CALL "mamuto_config_write: "

static int check_host(const mamuto_config_t *config, size_t i, mamuto_error_t *err)
{
    int cores = config->cores ? config->cores[i] : 0;
    if (!config->hosts[i])
        return mm_error_set(err, MAMUTO_EINVAL, CALL "hosts[%zu] is NULL; \"" MM_CONFIG_LOCAL "\" is this machine", i);
    if (cores < 0 || cores > MM_CONFIG_MAX_CORES)
        return mm_error_set(err, MAMUTO_EINVAL, CALL "cores[%zu] is %d; it must be 1 to %d, or 0 for all of them", i,
                            cores, MM_CONFIG_MAX_CORES);
    return 0;
}

static int check(const char *path, const mamuto_config_t *config, mamuto_error_t *err)
{
    if (!path || !*path || !config)
        return mm_error_set(err, MAMUTO_EINVAL, CALL "%s is %s", !config ? "config" : "path",
                            !config || !path ? "NULL" : "empty");
    for (size_t i = 0; i < sizeof config->reserved / sizeof *config->reserved; i++)
        if (config->reserved[i])
            return mm_error_set(err, MAMUTO_EINVAL,
                                CALL "reserved field %zu of the config is not 0: zero the struct before it is filled",
                                i);
    if (config->nice < 0 || config->nice > 19)
        return mm_error_set(err, MAMUTO_EINVAL, CALL "nice is %d; it must be 0 to 19", config->nice);
    if (config->n_hosts && !config->hosts)
        return mm_error_set(err, MAMUTO_EINVAL, CALL "n_hosts is %zu, and hosts is NULL", config->n_hosts);
    int code = 0;
    for (size_t i = 0; !code && i < config->n_hosts; i++)
        code = check_host(config, i, err);
    return code;
}

/* 0, ENOMEM, or EINVAL: said what it is of. */
static int said(int code, const char *what, mamuto_error_t *err)
{
    if (code == MAMUTO_EINVAL)
        mm_error_set(err, code, CALL "%s is not UTF-8", what);
    else if (code)
        mm_error_set(err, code, CALL "not enough memory");
    return code;
}

static int add_hosts(struct mm_json *root, const mamuto_config_t *config, mamuto_error_t *err)
{
    struct mm_json *hosts = mm_json_new();
    int code = said(hosts ? 0 : MAMUTO_ENOMEM, "", err);
    for (size_t i = 0; !code && i < config->n_hosts; i++) {
        const char *label = config->hosts[i];
        int cores = config->cores ? config->cores[i] : 0;
        if (mm_json_get(hosts, label))
            code = mm_error_set(err, MAMUTO_EINVAL, CALL "host \"%s\" is there twice", label);
        else
            code = said(cores ? mm_json_set_integer(hosts, label, cores) : mm_json_set_string(hosts, label, "all"),
                        "a host's label", err);
    }
    if (!code)
        return said(mm_json_set(root, "hosts", hosts), "", err);
    mm_json_free(hosts);
    return code;
}

/* NULL: see *code. */
static char *make_text(const mamuto_config_t *config, int *code, mamuto_error_t *err)
{
    struct mm_json *root = mm_json_new();
    *code = said(root ? 0 : MAMUTO_ENOMEM, "", err);
    if (!*code && config->n_hosts)
        *code = add_hosts(root, config, err);
    if (!*code && config->workdir && *config->workdir)
        *code = said(mm_json_set_string(root, "workdir", config->workdir), "workdir", err);
    if (!*code && config->nice)
        *code = said(mm_json_set_integer(root, "nice", config->nice), "nice", err);
    char *text = *code ? NULL : mm_json_text(root);
    mm_json_free(root);
    if (!*code && !text)
        *code = said(MAMUTO_ENOMEM, "", err);
    return text;
}

/* As the loader would. */
static int read_back(const char *text, mamuto_error_t *err)
{
    struct mm_config config;
    mamuto_error_t why = { 0 };
    int code = mm_config_parse(&config, text, &why);
    if (!code)
        mm_config_fini(&config);
    if (code == MAMUTO_ECONFIG)
        return mm_error_set(err, MAMUTO_EINVAL, CALL "what it would write, cannot be read: %s", why.text);
    return code ? mm_error_copy(err, &why) : 0;
}

/* 0, or errno. */
static int write_all(int fd, const char *text)
{
    size_t n = strlen(text);
    while (n > 0) {
        ssize_t got = write(fd, text, n);
        if (got < 0 && errno != EINTR)
            return errno;
        if (got > 0) {
            text += got;
            n -= (size_t)got;
        }
    }
    return fchmod(fd, 0600) ? errno : 0;
}

static int write_file(const char *path, const char *text, mamuto_error_t *err)
{
    int fd = open(path, O_WRONLY | O_CREAT | O_EXCL | O_CLOEXEC | O_NOCTTY, 0600);
    if (fd < 0 && errno == EEXIST)
        return mm_error_set(err, MAMUTO_ECONFIG,
                            CALL "%s is there already, and is kept; remove it, or name another file", path);
    if (fd < 0)
        return mm_error_set(err, MAMUTO_ESYSTEM, CALL "%s cannot be made: %s", path, strerror(errno));
    int failed = write_all(fd, text);
    if (close(fd) && !failed)
        failed = errno;
    if (!failed)
        return 0;
    unlink(path); /* half a config is worse than none */
    return mm_error_set(err, MAMUTO_ESYSTEM, CALL "%s cannot be written: %s", path, strerror(failed));
}

int mamuto_config_write(const char *path, const mamuto_config_t *config, mamuto_error_t *err)
{
    int code = check(path, config, err);
    char *text = code ? NULL : make_text(config, &code, err);
    if (!code)
        code = read_back(text, err);
    if (!code)
        code = write_file(path, text, err);
    mm_free(text);
    return code;
}
