/* The keys of a config: the one table of what is allowed where, of which type, in which range, and for whom.
 *
 * config.c reads the top level by it, config_host.c each host. The messages are made from it, too: what is unknown is
 * told with the nearest key there is. A key that says nothing beside the others is refused rather than ignored: what
 * concerns the way to another host on this machine, a login's settings beside "launch", the stream's beside "ssh". */
#include "core/config_read.h"
#include "core/nearest.h"

#include <stdio.h>

enum { TOP = MM_CONFIG_TOP, HOST = MM_CONFIG_HOST, BOTH = TOP | HOST };

/* What a key is about. */
enum {
    OTHERS = 1,          /* hosts that are not this machine */
    LOGIN = 2 | OTHERS,  /* the login by ssh, for which launch stands */
    STREAM = 4 | OTHERS, /* the stream beside the ssh channel */
};

#define FIELD(field_) .at = offsetof(struct mm_config_host, field_)
#define A_PATH "a path, as a string that is not empty"
#define AN_ADDRESS "a host's name or address, such as \"node1.example.org\""

/* clang-format off */
static const struct mm_config_key keys[] = {
    { "hosts", TOP, 0, NULL, .right = NULL },
    { "modules", TOP, 0, NULL, .right = NULL },
    { "cores", HOST, 0, mm_config_read_cores, FIELD(cores), "a number of cores from 1 to 255, or \"all\"" },
    { "workdir", BOTH, 0, mm_config_read_path, FIELD(workdir), "a folder's path, or \"\" to stay" },
    { "nice", BOTH, 0, mm_config_read_integer, FIELD(nice), "an integer from 0 to 19", 0, 19 },
    { "env", BOTH, 0, mm_config_read_env, FIELD(env), "an object of strings, such as {\"OMP_NUM_THREADS\": \"2\"}" },
    { "pin", BOTH, 0, mm_config_read_pin, FIELD(pin), "\"auto\", true or false" },
    { "core_dumps", BOTH, 0, mm_config_read_flag, FIELD(core_dumps), "true or false" },
    { "cc", BOTH, 0, mm_config_read_cc, FIELD(cc), "the name or path of a C compiler, such as \"cc\"" },
    { "cflags", BOTH, 0, mm_config_read_cflags, FIELD(cflags), "a list of strings, such as [\"-O2\"]" },
    { "libs", BOTH, 0, mm_config_read_libs, FIELD(libs), "a list of strings, such as [\"-lm\"]" },
    { "agent", HOST, 0, mm_config_read_path, FIELD(agent), "the path of mamuto-agent, as a string that is not empty" },
    { "required", BOTH, 0, mm_config_read_flag, FIELD(required), "true or false" },
    { "transport", BOTH, 0, mm_config_read_transport, FIELD(transport), "\"tcp\" or \"ssh\", or left out" },
    { "encrypt", BOTH, STREAM, mm_config_read_flag, FIELD(encrypt), "true or false" },
    { "known_hosts", BOTH, LOGIN, mm_config_read_word, FIELD(known_hosts), "\"strict\" or \"accept-new\"", 0, 0,
      { "strict", "accept-new" } },
    { "known_hosts_file", BOTH, LOGIN, mm_config_read_path, FIELD(known_hosts_file), A_PATH },
    { "ssh_config", BOTH, LOGIN, mm_config_read_path, FIELD(ssh_config), A_PATH },
    { "address", HOST, LOGIN, mm_config_read_address, FIELD(address), AN_ADDRESS },
    { "user", HOST, LOGIN, mm_config_read_name, FIELD(user), "a user's name, as a string" },
    { "port", HOST, LOGIN, mm_config_read_integer, FIELD(port), "a port, an integer from 1 to 65535", 1, 65535 },
    { "identity", HOST, LOGIN, mm_config_read_path, FIELD(identity), "the path of a private key" },
    { "data_address", HOST, STREAM, mm_config_read_address, FIELD(data_address), AN_ADDRESS },
    { "data_port", HOST, STREAM, mm_config_read_data_port, FIELD(data_port_first),
      "a port from 1 to 65535, or a range of them, such as \"40000-40100\"" },
    { "launch", HOST, OTHERS, mm_config_read_launch, FIELD(launch),
      "a command as a list of strings, such as [\"docker\", \"exec\", \"-i\", \"c1\", \"sh\", \"-c\"]" },
    { "connect_timeout_ms", BOTH, OTHERS, mm_config_read_integer, FIELD(connect_timeout_ms),
      "milliseconds, an integer from 1 to 3600000", 1, 3600000 },
    { "inflight_bytes", BOTH, OTHERS, mm_config_read_integer, FIELD(inflight_bytes),
      "bytes, an integer from 65536 to 1073741824", 1 << 16, 1 << 30 },
    { "same_code", BOTH, OTHERS, mm_config_read_word, FIELD(same_code), "\"require\" or \"warn\"", 0, 0,
      { "warn", "require" } },
    { "$schema", TOP, 0, mm_config_read_schema, .right = "a string, the address of a JSON schema" },
};
/* clang-format on */
static const struct mm_config_key *const keys_end = keys + sizeof keys / sizeof *keys;

static const struct mm_config_key *find(const char *name)
{
    const struct mm_config_key *k = keys;
    while (k < keys_end && strcmp(k->name, name) != 0)
        k++;
    return k < keys_end ? k : NULL;
}

static bool is_allowed(const struct mm_config_key *key, enum mm_config_level level, bool local)
{
    return (key->levels & (int)level) && !(local && (key->concerns & OTHERS));
}

static int unknown(struct mm_config_reader *r, const char *name, enum mm_config_level level, bool local)
{
    char allowed[300] = "";
    struct mm_nearest nearest = { 0 };
    for (const struct mm_config_key *k = keys; k < keys_end; k++) {
        size_t n = strlen(allowed);
        if (is_allowed(k, level, local))
            snprintf(allowed + n, sizeof allowed - n, "%s%s", n ? ", " : "", k->name);
        if (is_allowed(k, level, false)) /* what is meant is one thing, whether it may be another */
            mm_nearest_offer(&nearest, name, k->name);
    }
    if (nearest.name)
        return mm_config_wrong(r, "unknown key; did you mean \"%s\"?", nearest.name);
    return mm_config_wrong(r, "unknown key; allowed here: %s", allowed);
}

static int not_here(struct mm_config_reader *r, const struct mm_config_key *key, enum mm_config_level level)
{
    if (level == MM_CONFIG_TOP)
        return mm_config_wrong(r, "belongs to a host, within \"hosts\"; not allowed here");
    if (!(key->levels & HOST))
        return mm_config_wrong(r, "belongs to the top level; not allowed here");
    return mm_config_wrong(r, "concerns other hosts alone: the workers of \"" MM_CONFIG_LOCAL
                              "\" are on this machine; leave it out");
}

int mm_config_read_members(struct mm_config_reader *r, struct mm_json *object, enum mm_config_level level,
                           struct mm_config_host *host)
{
    for (struct mm_json_member member = { 0 }; mm_json_next(object, &member);) {
        const struct mm_config_key *key = find(member.name);
        mm_config_enter(r, member.name, 0);
        int code = !key                                   ? unknown(r, member.name, level, host->local)
                   : !is_allowed(key, level, host->local) ? not_here(r, key, level)
                   : key->read                            ? key->read(r, key, member.value, host)
                                                          : 0;
        if (code)
            return code;
        mm_config_leave(r);
    }
    return 0;
}

int mm_config_check_meaning(struct mm_config_reader *r, struct mm_json *object, const struct mm_config_host *host)
{
    for (struct mm_json_member member = { 0 }; mm_json_next(object, &member);) {
        const struct mm_config_key *key = find(member.name);
        mm_config_enter(r, member.name, 0);
        if (key && (key->concerns & LOGIN & ~OTHERS) && host->launch)
            return mm_config_wrong(r, "concerns a login by ssh, and \"launch\" stands for that here; leave one of the "
                                      "two out");
        if (key && (key->concerns & STREAM & ~OTHERS) && host->transport == MM_TRANSPORT_SSH)
            return mm_config_wrong(r, "concerns the stream of transport \"tcp\", and this host's is \"ssh\", whose "
                                      "channel carries everything, encrypted; leave it out");
        mm_config_leave(r);
    }
    return 0;
}
