/* libFuzzer entry: a text to mm_config_parse, and, if jansson accepts it, each of its key paths to mm_jsonpos_line.
 * Aborts where a promise of config.h or jsonpos.h is broken. Seeds: corpus/config; tests/fuzz/replay.c runs those. */
#include "core/config.h"
#include "core/jsonpos.h"

#include <jansson.h>
#include <stdio.h>
#include <stdlib.h>

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

enum { MAX_STEPS = 2100, MAX_PATHS = 2000 }; /* jansson's own limit of depth is 2048 */

static void must(bool holds, const char *what)
{
    if (holds)
        return;
    fprintf(stderr, "broken: %s\n", what);
    abort();
}

/* Filled with 0x5A, and not written since. */
static bool is_untouched(const void *bytes, size_t n)
{
    const unsigned char *p = bytes;
    while (n > 0 && p[n - 1] == 0x5A)
        n--;
    return n == 0;
}

static void check_list(char **list, const char *what)
{
    for (char **p = list; p && *p; p++)
        must(**p, what);
}

static void check_host(const struct mm_config_host *host)
{
    must(host->cores >= 0 && host->cores <= MM_CONFIG_MAX_CORES, "cores are in range");
    must(host->label[0] && strlen(host->label) < sizeof((mamuto_error_t *)0)->host, "a label fits into an error");
    must(host->local == (strcmp(host->label, MM_CONFIG_LOCAL) == 0), "one label is this machine's");
    must(host->local == (host->transport == MM_TRANSPORT_SHM), "shm is this machine's alone");
    must(host->cc[0], "cc is not empty");
    must(!host->workdir || host->workdir[0], "a workdir is not empty");
    must(host->nice >= 0 && host->nice <= 19, "nice is in range");
    must(host->data_port_first <= host->data_port_last && host->data_port_last <= 65535, "ports are in range");
    must(!host->launch || host->launch[0], "a command has a program");
    check_list(host->cflags, "a flag is not empty");
    check_list(host->libs, "a library is not empty");
    check_list(host->launch, "a word of a command is not empty");
    for (char **p = host->env; p && *p; p++)
        must(strchr(*p, '=') > *p, "a variable has a name");
}

static void check_config(const char *text)
{
    struct mm_config config;
    mamuto_error_t err = { 0 };
    int lines = 1;
    for (const char *p = text; *p; p++)
        lines += *p == '\n';
    memset(&config, 0x5A, sizeof config);
    int code = mm_config_parse(&config, text, &err);
    must(code == err.code, "the code is the error's");
    if (code) {
        must(code == MAMUTO_ECONFIG, "an error is ECONFIG");
        must(is_untouched(&config, sizeof config), "the config is untouched");
        must(strncmp(err.text, "config:", 7) == 0, "the sentence says where");
        must(err.line >= (strlen(text) <= MM_CONFIG_MAX_BYTES) && err.line <= lines, "the line is one of the text's");
        for (const char *p = err.text; *p; p++)
            must((unsigned char)*p >= 0x20 && *p != 0x7F, "the sentence has no control characters");
        return;
    }
    must(config.n_hosts > 0 && config.n_hosts <= MM_CONFIG_MAX_HOSTS, "there are hosts");
    for (size_t i = 0; i < config.n_hosts; i++)
        check_host(&config.hosts[i]);
    must((config.n_hosts > 1 || !config.hosts[0].local) == (config.other_line != 0), "another host has its line");
    must(config.other_line <= lines, "which is one of the text's");
    mm_config_fini(&config);
}

struct walk {
    const char *text;
    size_t length, n_paths;
    struct mm_jsonpos_step at[MAX_STEPS];
};

static void walk(struct walk *w, json_t *value, size_t depth)
{
    const char *key;
    json_t *member;
    size_t i;
    if (w->n_paths++ > MAX_PATHS)
        return;
    must(mm_jsonpos_line(w->text, w->length, w->at, depth) > 0, "each path is found");
    json_object_foreach(value, key, member)
    {
        w->at[depth] = (struct mm_jsonpos_step){ key, 0 };
        walk(w, member, depth + 1);
    }
    json_array_foreach(value, i, member)
    {
        w->at[depth] = (struct mm_jsonpos_step){ NULL, i };
        walk(w, member, depth + 1);
    }
}

static void check_positions(const char *text, size_t length)
{
    static struct walk w;
    json_t *json = json_loadb(text, length, JSON_REJECT_DUPLICATES | JSON_DECODE_ANY | JSON_ALLOW_NUL, NULL);
    const struct mm_jsonpos_step somewhere[] = { { "hosts", 0 }, { "localhost", 0 }, { "cflags", 0 }, { NULL, 1 } };
    for (size_t n = 0; n <= 4; n++)
        must(mm_jsonpos_line(text, length, somewhere, n) >= 0, "a broken text gives a line or 0");
    if (!json)
        return;
    w.text = text;
    w.length = length;
    w.n_paths = 0;
    walk(&w, json, 0);
    json_decref(json);
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    char *exact = malloc(size ? size : 1), *text = malloc(size + 1); /* exact: no byte behind it may be touched */
    if (exact && text) {
        memcpy(exact, data, size);
        memcpy(text, data, size);
        text[size] = '\0';
        check_positions(exact, size);
        check_config(text);
    }
    free(exact);
    free(text);
    return 0;
}
