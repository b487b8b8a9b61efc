/* Feeds files to a fuzz target that is linked with it: each file that is named, and each file of each folder that is
 * named, in the order of their names. For compilers without libFuzzer, and for CTest: the target aborts where its
 * property does not hold. Exits with 1 when a file cannot be read or there was none. */
#include <dirent.h>
#include <errno.h>
#include <limits.h>
#include <stdbool.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

static int n_files;

static bool complain(const char *path)
{
    fprintf(stderr, "replay: %s: %s\n", path, strerror(errno));
    return false;
}

static bool replay_file(const char *path, size_t size)
{
    FILE *file = fopen(path, "rbe");
    uint8_t *data = malloc(size ? size : 1); /* exactly: a read behind the end is seen by the sanitizer */
    bool ok = file && data && fread(data, 1, size, file) == size;
    if (!ok)
        complain(path);
    if (file)
        fclose(file);
    if (ok) {
        LLVMFuzzerTestOneInput(data, size);
        n_files++;
    }
    free(data);
    return ok;
}

static bool replay(const char *path);

static bool replay_folder(const char *folder)
{
    struct dirent **entries;
    int n = scandir(folder, &entries, NULL, alphasort);
    bool ok = n >= 0 || complain(folder);
    for (int k = 0; k < n; k++) {
        char path[PATH_MAX];
        if (entries[k]->d_name[0] != '.') {
            snprintf(path, sizeof path, "%s/%s", folder, entries[k]->d_name);
            ok = replay(path) && ok;
        }
        free(entries[k]);
    }
    if (n >= 0)
        free(entries);
    return ok;
}

static bool replay(const char *path)
{
    struct stat st;
    if (stat(path, &st) != 0)
        return complain(path);
    return S_ISDIR(st.st_mode) ? replay_folder(path) : replay_file(path, (size_t)st.st_size);
}

int main(int argc, char **argv)
{
    bool ok = true;
    for (int k = 1; k < argc; k++)
        ok = replay(argv[k]) && ok;
    printf("replayed %d files\n", n_files);
    return ok && n_files ? 0 : 1;
}
