/* What the agent says of its host. */
#include "net/agent.h"
#include "net/tls_library.h"

#include "core/build_id.h"
#include "core/cpus.h"

#include <stdio.h>
#include <stdlib.h>
#include <sys/utsname.h>
#include <unistd.h>

/* "model name" of /proc/cpuinfo, or nothing. */
static void cpu_name(char *text, size_t size)
{
    char line[512];
    FILE *file = fopen("/proc/cpuinfo", "re");
    text[0] = '\0';
    while (file && !text[0] && fgets(line, sizeof line, file)) {
        char *colon = strchr(line, ':');
        if (strncmp(line, "model name", 10) == 0 && colon)
            snprintf(text, size, "%.*s", (int)strcspn(colon + 2, "\n"), colon + 2);
    }
    if (file)
        fclose(file);
}

static void libc_name(char *text, size_t size)
{
    text[0] = '\0';
#ifdef _CS_GNU_LIBC_VERSION
    if (confstr(_CS_GNU_LIBC_VERSION, text, size) == 0)
        text[0] = '\0';
#endif
    (void)size;
}

int mm_agent_say_hello(struct mm_agent *agent)
{
    unsigned char body[2048];
    char cpu[256], libc[64];
    struct utsname name = { 0 };
    struct mm_writer w = { .at = body, .room = sizeof body };
    const char *connection = getenv("SSH_CONNECTION");
    uname(&name);
    cpu_name(cpu, sizeof cpu);
    libc_name(libc, sizeof libc);
    struct mm_hello hello = { .protocol_least = MM_PROTOCOL,
                              .protocol_most = MM_PROTOCOL,
                              .cores = (uint32_t)mm_cpus_allowed(),
                              .memory = mm_memory_budget(),
                              .build = MM_BUILD_ID,
                              .os = name.sysname,
                              .arch = name.machine,
                              .cpu = cpu,
                              .libc = libc,
                              .tls = mm_tls_library_name(),
                              .ssh_connection = connection && strlen(connection) < 256 ? connection : "" };
    mm_put_hello(&w, &hello);
    return mm_stream_send(agent->channel, MM_FRAME_HELLO, 0, body, w.n);
}
