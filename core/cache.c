/* The folder of built modules: where it is, and how a file comes into it.
 *
 * What lies in this folder is loaded as code, so it must be a folder that nobody else can write: a real directory,
 * owned by the effective user, closed to group and others. A candidate that is not is left as it is, and the next one
 * is tried; nothing is repaired by chmod. Files appear in it whole or not at all: they are written under a temporary
 * name of their own, synced, and renamed, so that any number of programs may build the same module at once.
 *
 * Called by core/module.c, in a child process or a thread: it blocks on the file system. It keeps no state, knows
 * nothing of what the files hold, and removes only temporary files whose writer died more than a day ago. */
#include "core/cache.h"

#include <dirent.h>
#include <errno.h>
#include <fcntl.h>
#include <inttypes.h>
#include <limits.h>
#include <pwd.h>
#include <signal.h>
#include <stdarg.h>
#include <stdbool.h>
#include <stdio.h>
#include <stdlib.h>
#include <sys/stat.h>
#include <sys/statvfs.h>
#include <time.h>
#include <unistd.h>

#include "core/alloc.h"
#include "core/error.h"

enum { MAX_CANDIDATES = 3, REASON_BYTES = 130, SHOWN_BYTES = 64, PASSWD_BYTES = 16384, STALE_S = 24 * 60 * 60 };

/* Why each candidate was refused, for the one sentence that lists them all. */
struct reasons {
    char text[MAX_CANDIDATES][REASON_BYTES];
    int n;
};

/* Always returns false, so that a check may end with it. Of a long path the end is shown. */
__attribute__((format(printf, 3, 4))) static bool refuse(struct reasons *reasons, const char *path, const char *format,
                                                         ...)
{
    char *text = reasons->text[reasons->n++];
    size_t bytes = strlen(path);
    const char *shown = bytes > SHOWN_BYTES ? path + bytes - SHOWN_BYTES : path;
    int n = snprintf(text, REASON_BYTES, "%s%s ", shown == path ? "" : "...", shown);
    va_list args;
    va_start(args, format);
    vsnprintf(text + n, REASON_BYTES - (size_t)n, format, args);
    va_end(args);
    return false;
}

/* mkdir of path and of the parents that are missing, but for the first keep bytes of it. 0, or an errno. */
static int make_folders(char *path, size_t keep)
{
    if (mkdir(path, 0700) == 0 || errno == EEXIST)
        return 0;
    if (errno != ENOENT)
        return errno;
    char *slash = strrchr(path, '/');
    if (!slash || (size_t)(slash - path) <= keep)
        return ENOENT;
    *slash = '\0';
    int rc = make_folders(path, keep);
    *slash = '/';
    if (rc)
        return rc;
    return mkdir(path, 0700) == 0 || errno == EEXIST ? 0 : errno;
}

/* Whether code may be kept in dir, and loaded from there. */
static bool is_safe(const char *dir, struct reasons *reasons)
{
    struct stat st;
    if (lstat(dir, &st))
        return refuse(reasons, dir, "cannot be looked at: %s", strerror(errno));
    if (S_ISLNK(st.st_mode))
        return refuse(reasons, dir, "is a symbolic link");
    if (!S_ISDIR(st.st_mode))
        return refuse(reasons, dir, "is not a folder");
    if (st.st_uid != geteuid())
        return refuse(reasons, dir, "belongs to user %lu", (unsigned long)st.st_uid);
    if (st.st_mode & 077)
        return refuse(reasons, dir, "has mode %04o, not 0700", (unsigned)(st.st_mode & 07777));
    if (faccessat(AT_FDCWD, dir, R_OK | W_OK | X_OK, AT_EACCESS))
        return refuse(reasons, dir, "is not writable: %s", strerror(errno));
    struct statvfs fs;
    if (statvfs(dir, &fs) == 0 && fs.f_flag & ST_NOEXEC)
        return refuse(reasons, dir, "is on a file system mounted noexec");
    return true;
}

/* Tries base/name; keep: only what is below base's first keep bytes is made. Room is left for a file's name. */
static bool try_folder(char *dir, const char *base, const char *name, size_t keep, struct reasons *reasons)
{
    char path[PATH_MAX];
    if (base[0] != '/')
        return refuse(reasons, base, "is not an absolute path");
    int n = snprintf(path, sizeof path, "%s/%s", base, name);
    if (n < 0 || (size_t)n + 1 + NAME_MAX + 1 > sizeof path)
        return refuse(reasons, base, "is too long a path");
    int rc = make_folders(path, keep);
    if (rc)
        return refuse(reasons, path, "cannot be made: %s", strerror(rc));
    if (!is_safe(path, reasons))
        return false;
    memcpy(dir, path, (size_t)n + 1);
    return true;
}

static const char *set_variable(const char *name)
{
    const char *value = getenv(name);
    return value && value[0] ? value : NULL;
}

/* 1: found, 0: the candidate was refused, or a negative code. */
static int try_home(char *dir, struct reasons *reasons, mamuto_error_t *err)
{
    const char *home = set_variable("HOME");
    if (home)
        return try_folder(dir, home, ".cache/mamuto", strlen(home), reasons);
    char *buffer = mm_alloc(PASSWD_BYTES);
    if (!buffer)
        return mm_error_set(err, MAMUTO_ENOMEM, "there is no memory to look up the home folder");
    struct passwd entry, *found = NULL;
    int found_it = 0;
    if (getpwuid_r(geteuid(), &entry, buffer, PASSWD_BYTES, &found) || !found)
        refuse(reasons, "$HOME", "is not set, and user %lu has no entry in passwd", (unsigned long)geteuid());
    else
        found_it = try_folder(dir, entry.pw_dir, ".cache/mamuto", strlen(entry.pw_dir), reasons);
    mm_free(buffer);
    return found_it;
}

int mm_cache_dir(char *dir, mamuto_error_t *err)
{
    struct reasons reasons = { .n = 0 };
    const char *xdg = set_variable("XDG_CACHE_HOME");
    if (xdg && try_folder(dir, xdg, "mamuto", 0, &reasons))
        return 0;
    int rc = try_home(dir, &reasons, err);
    if (rc)
        return rc < 0 ? rc : 0;
    char name[32];
    snprintf(name, sizeof name, "mamuto-%lu", (unsigned long)geteuid());
    const char *tmp = set_variable("TMPDIR");
    if (!tmp)
        tmp = "/tmp";
    if (try_folder(dir, tmp, name, strlen(tmp), &reasons))
        return 0;
    return mm_error_set(err, MAMUTO_ESYSTEM,
                        "no folder for built modules: set XDG_CACHE_HOME to a folder of your own; tried: %s; %s%s%s",
                        reasons.text[0], reasons.text[1], reasons.n > 2 ? "; " : "",
                        reasons.n > 2 ? reasons.text[2] : "");
}

int mm_cache_temporary(const char *dir, char *path, mamuto_error_t *err)
{
    char name[PATH_MAX];
    for (int attempt = 0; attempt < 1000; attempt++) {
        /* The time, not a counter: processes of other hosts and PID namespaces may have our number and our folder. */
        struct timespec now;
        clock_gettime(CLOCK_REALTIME, &now);
        uint64_t n = (uint64_t)now.tv_sec * 1000000000u + (uint64_t)now.tv_nsec;
        int bytes = snprintf(name, sizeof name, "%s/.tmp-%ld-%" PRIu64, dir, (long)getpid(), n);
        if (bytes < 0 || (size_t)bytes >= sizeof name)
            return mm_error_set(err, MAMUTO_ESYSTEM, "the path of the folder %.200s is too long", dir);
        int fd = open(name, O_WRONLY | O_CREAT | O_EXCL | O_NOFOLLOW | O_CLOEXEC, 0600);
        if (fd >= 0) {
            memcpy(path, name, (size_t)bytes + 1);
            return fd;
        }
        if (errno != EEXIST)
            return mm_error_system(err, errno, "cannot make a file in %.300s", dir);
    }
    return mm_error_system(err, EEXIST, "cannot find a free name for a temporary file in %.300s", dir);
}

/* The process of a temporary file's name, or 0: another kind of file. */
static pid_t writer_of(const char *name)
{
    if (strncmp(name, ".tmp-", 5) || name[5] < '1' || name[5] > '9')
        return 0;
    char *end;
    long pid = strtol(name + 5, &end, 10);
    return *end == '-' && pid > 0 && pid <= INT_MAX ? (pid_t)pid : 0;
}

/* Removes what programs that were killed while they compiled have left. Best effort. */
static void sweep(const char *dir)
{
    DIR *folder = opendir(dir);
    if (!folder)
        return;
    time_t now = time(NULL);
    for (struct dirent *entry = readdir(folder); entry; entry = readdir(folder)) {
        pid_t pid = writer_of(entry->d_name);
        struct stat st;
        if (pid == 0 || fstatat(dirfd(folder), entry->d_name, &st, AT_SYMLINK_NOFOLLOW))
            continue;
        bool dead = kill(pid, 0) && errno == ESRCH;
        if (dead && S_ISREG(st.st_mode) && now - st.st_mtime > STALE_S)
            unlinkat(dirfd(folder), entry->d_name, 0);
    }
    closedir(folder);
}

static int sync_file(const char *path)
{
    int fd = open(path, O_RDONLY | O_NOFOLLOW | O_CLOEXEC);
    if (fd < 0)
        return errno;
    int rc = fsync(fd) ? errno : 0;
    close(fd);
    return rc;
}

int mm_cache_publish(const char *dir, const char *temporary, const char *name, mamuto_error_t *err)
{
    char path[PATH_MAX];
    int bytes = snprintf(path, sizeof path, "%s/%s", dir, name);
    int rc = bytes < 0 || (size_t)bytes >= sizeof path ? ENAMETOOLONG : sync_file(temporary);
    if (!rc && rename(temporary, path))
        rc = errno;
    if (rc) {
        unlink(temporary);
        return mm_error_system(err, rc, "cannot put %.100s into %.300s", name, dir);
    }
    sweep(dir);
    return 0;
}
