/* mamuto COMMAND …: finds the command, and says what there is. Exit codes are in core/cli/cli.h.
 */
#include "core/cli/cli.h"

#include <stdarg.h>
#include <stdio.h>

static const struct mm_cli_command *const commands[] = { &mm_cli_check };
enum { N_COMMANDS = sizeof commands / sizeof *commands };

int mm_cli_misused(const struct mm_cli_command *command, const char *format, ...)
{
    va_list args;
    va_start(args, format);
    fprintf(stderr, "mamuto %s: ", command->name);
    vfprintf(stderr, format, args);
    fprintf(stderr, "\nusage: mamuto %s %s\n", command->name, command->synopsis);
    va_end(args);
    return MM_CLI_USAGE;
}

void mm_cli_help(const struct mm_cli_command *command)
{
    printf("usage: mamuto %s %s\n\n%s\n", command->name, command->synopsis, command->about);
}

int mm_cli_complain(const mamuto_error_t *err)
{
    if (err->file[0] && err->line)
        fprintf(stderr, "%s:%d: %s\n", err->file, err->line, err->text);
    else if (err->file[0])
        fprintf(stderr, "%s: %s\n", err->file, err->text);
    else
        fprintf(stderr, "mamuto: %s\n", err->text);
    switch (err->code) {
    case MAMUTO_ECONFIG:
    case MAMUTO_EMODULE:
    case MAMUTO_ECOMPILE:
    case MAMUTO_EINVAL:
        return MM_CLI_USAGE;
    default:
        return MM_CLI_NOT_RUN;
    }
}

static void help(FILE *to)
{
    fprintf(to, "usage: mamuto COMMAND …\n\n");
    for (size_t i = 0; i < N_COMMANDS; i++)
        fprintf(to, "  mamuto %s %s\n", commands[i]->name, commands[i]->synopsis);
    fprintf(to, "\nmamuto COMMAND --help says more of one; mamuto --version which version this is.\n");
}

int main(int argc, char **argv)
{
    const char *name = argc > 1 ? argv[1] : "";
    if (strcmp(name, "--help") == 0 || strcmp(name, "-h") == 0) {
        help(stdout);
        return MM_CLI_DONE;
    }
    if (strcmp(name, "--version") == 0) {
        printf("mamuto %s\n", mamuto_version());
        return MM_CLI_DONE;
    }
    for (size_t i = 0; i < N_COMMANDS; i++)
        if (strcmp(name, commands[i]->name) == 0)
            return commands[i]->run(argc - 1, argv + 1);
    if (*name)
        fprintf(stderr, "mamuto: there is no command \"%s\"\n", name);
    help(stderr);
    return MM_CLI_USAGE;
}
