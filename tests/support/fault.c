/* A failing disk as an LD_PRELOAD shim. Once the file $PRIVET_FAULT_TRIGGER exists, calls on files under $PRIVET_FAULT_DIR
 * (absolute) fail as its first line says: "<calls> <error>", such as "write ENOSPC".
 *
 * calls  write  write, writev, pwrite, pwritev, ftruncate, and open of a file to be created
 *        sync   fsync, fdatasync, syncfs
 *        all    both
 * error  EIO, ENOSPC or EROFS
 *
 * A failing write changes nothing; remove the file and the disk works again. Create it elsewhere and rename it into place. */
#define _GNU_SOURCE
#include <dlfcn.h>
#include <errno.h>
#include <fcntl.h>
#include <limits.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <sys/uio.h>
#include <unistd.h>

enum calls { WRITE, SYNC };

#define NEXT(name) ((__typeof__(&name))dlsym(RTLD_NEXT, #name))

/* The error that calls of this kind get at present, or 0. */
static int ordered(enum calls calls) {
    const char *trigger = getenv("PRIVET_FAULT_TRIGGER");
    char line[64], which[16], name[16];
    int saved = errno;
    int fd = trigger ? NEXT(open)(trigger, O_RDONLY | O_CLOEXEC) : -1;
    errno = saved;
    if (fd < 0) return 0;
    ssize_t length = read(fd, line, sizeof line - 1);
    close(fd);
    errno = saved;
    if (length <= 0) return 0;
    line[length] = '\0';
    if (sscanf(line, "%15s %15s", which, name) != 2) return 0;
    if (strcmp(which, "all") != 0 && strcmp(which, calls == WRITE ? "write" : "sync") != 0) return 0;
    return !strcmp(name, "ENOSPC") ? ENOSPC : !strcmp(name, "EROFS") ? EROFS : EIO;
}

static int is_ours(const char *path) {
    const char *dir = getenv("PRIVET_FAULT_DIR");
    size_t length = dir ? strlen(dir) : 0;
    return length && !strncmp(path, dir, length) && (path[length] == '/' || path[length] == '\0');
}

static int fails(int fd, enum calls calls) {
    char link[64], path[PATH_MAX];
    int error = ordered(calls);
    if (!error) return 0;
    snprintf(link, sizeof link, "/proc/self/fd/%d", fd);
    ssize_t length = readlink(link, path, sizeof path - 1);
    if (length < 0) return 0;
    path[length] = '\0';
    if (!is_ours(path)) return 0;
    errno = error;
    return 1;
}

#define OPEN(name) \
    int name(const char *path, int flags, ...) { \
        mode_t mode = 0; \
        if (flags & (O_CREAT | __O_TMPFILE)) { va_list args; va_start(args, flags); mode = va_arg(args, mode_t); va_end(args); } \
        int error = (flags & O_CREAT) && is_ours(path) && access(path, F_OK) != 0 ? ordered(WRITE) : 0; \
        if (error) { errno = error; return -1; } \
        return NEXT(open)(path, flags | O_LARGEFILE, mode); \
    }
OPEN(open) OPEN(open64)

#define WRITING(type, name, arguments, call) type name arguments { return fails(fd, WRITE) ? -1 : call; }
WRITING(ssize_t, write, (int fd, const void *bytes, size_t count), NEXT(write)(fd, bytes, count))
WRITING(ssize_t, writev, (int fd, const struct iovec *parts, int count), NEXT(writev)(fd, parts, count))
WRITING(ssize_t, pwrite, (int fd, const void *bytes, size_t count, off_t at), NEXT(pwrite)(fd, bytes, count, at))
WRITING(ssize_t, pwrite64, (int fd, const void *bytes, size_t count, off64_t at), NEXT(pwrite64)(fd, bytes, count, at))
WRITING(ssize_t, pwritev, (int fd, const struct iovec *parts, int count, off_t at), NEXT(pwritev)(fd, parts, count, at))
WRITING(ssize_t, pwritev64, (int fd, const struct iovec *parts, int count, off64_t at), NEXT(pwritev64)(fd, parts, count, at))
WRITING(int, ftruncate, (int fd, off_t length), NEXT(ftruncate)(fd, length))
WRITING(int, ftruncate64, (int fd, off64_t length), NEXT(ftruncate64)(fd, length))

int fsync(int fd) { return fails(fd, SYNC) ? -1 : NEXT(fsync)(fd); }
int fdatasync(int fd) { return fails(fd, SYNC) ? -1 : NEXT(fdatasync)(fd); }
int syncfs(int fd) { return fails(fd, SYNC) ? -1 : NEXT(syncfs)(fd); }
