/* A small disk as an LD_PRELOAD shim: what lies under $PRIVET_DISK_DIR (absolute) is on a disk of as many bytes as the file
 * $PRIVET_DISK_BYTES says, in decimal. That file may change at any time; without it the disk is as large as it is.
 *
 * A file takes as much as it is long. A write, a truncation to more, or an allocation that would take more than is left changes
 * nothing and fails with ENOSPC, and fstatvfs says what is left, in blocks of 4,096 bytes.
 *
 * $PRIVET_DISK_ALLOCATE  "no": fallocate answers EOPNOTSUPP; "lie": it only sets the length. */
#define _GNU_SOURCE
#include <dlfcn.h>
#include <errno.h>
#include <fcntl.h>
#include <ftw.h>
#include <limits.h>
#include <pthread.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <sys/statvfs.h>
#include <sys/uio.h>
#include <unistd.h>

#define BLOCK 4096
#define NEXT(name) ((__typeof__(&name))dlsym(RTLD_NEXT, #name))

static pthread_mutex_t adding = PTHREAD_MUTEX_INITIALIZER;
static long long used;

static int add(const char *path, const struct stat *st, int kind, struct FTW *at) {
    (void)path, (void)at;
    if (kind == FTW_F) used += st->st_size;
    return 0;
}

/* What is left on the disk that this file lies on; -1 if that is none of ours. */
static long long left_for(int fd) {
    char link[64], path[PATH_MAX], line[32];
    const char *dir = getenv("PRIVET_DISK_DIR"), *bytes = getenv("PRIVET_DISK_BYTES");
    size_t length = dir ? strlen(dir) : 0;
    int saved = errno;
    snprintf(link, sizeof link, "/proc/self/fd/%d", fd);
    ssize_t got = bytes && length ? readlink(link, path, sizeof path - 1) : -1;
    long long left = -1;
    if (got >= 0) {
        path[got] = '\0';
        int size = !strncmp(path, dir, length) && path[length] == '/' ? open(bytes, O_RDONLY | O_CLOEXEC) : -1;
        if (size >= 0) {
            ssize_t read_bytes = read(size, line, sizeof line - 1);
            close(size);
            line[read_bytes < 0 ? 0 : read_bytes] = '\0';
            pthread_mutex_lock(&adding);
            used = 0;
            nftw(dir, add, 8, FTW_PHYS);
            left = atoll(line) - used;
            if (left < 0) left = 0;
            pthread_mutex_unlock(&adding);
        }
    }
    errno = saved;
    return left;
}

/* Whether the file can become this long. */
static int fits(int fd, long long end) {
    struct stat st;
    int saved = errno;
    if (fstat(fd, &st) != 0 || !S_ISREG(st.st_mode) || end <= st.st_size) { errno = saved; return 1; }
    long long left = left_for(fd);
    if (left < 0 || end - st.st_size <= left) return 1;
    errno = ENOSPC;
    return 0;
}

static long long here(int fd) {
    struct stat st;
    if (fcntl(fd, F_GETFL) & O_APPEND) return fstat(fd, &st) == 0 ? st.st_size : 0;
    int saved = errno;
    off_t at = lseek(fd, 0, SEEK_CUR);
    errno = saved;
    return at < 0 ? 0 : at;
}

static long long length(const struct iovec *parts, int count) {
    long long all = 0;
    for (int i = 0; i < count; i++) all += parts[i].iov_len;
    return all;
}

#define GROWING(type, name, arguments, end, call) type name arguments { return fits(fd, end) ? call : -1; }
GROWING(ssize_t, write, (int fd, const void *bytes, size_t count), here(fd) + (long long)count, NEXT(write)(fd, bytes, count))
GROWING(ssize_t, writev, (int fd, const struct iovec *parts, int count), here(fd) + length(parts, count), NEXT(writev)(fd, parts, count))
GROWING(ssize_t, pwrite, (int fd, const void *bytes, size_t count, off_t at), at + (long long)count, NEXT(pwrite)(fd, bytes, count, at))
GROWING(ssize_t, pwrite64, (int fd, const void *bytes, size_t count, off64_t at), at + (long long)count, NEXT(pwrite64)(fd, bytes, count, at))
GROWING(ssize_t, pwritev, (int fd, const struct iovec *parts, int count, off_t at), at + length(parts, count), NEXT(pwritev)(fd, parts, count, at))
GROWING(ssize_t, pwritev64, (int fd, const struct iovec *parts, int count, off64_t at), at + length(parts, count), NEXT(pwritev64)(fd, parts, count, at))
GROWING(int, ftruncate, (int fd, off_t end), end, NEXT(ftruncate)(fd, end))
GROWING(int, ftruncate64, (int fd, off64_t end), end, NEXT(ftruncate64)(fd, end))

static int allocate(int fd, int mode, off64_t at, off64_t count) {
    const char *how = getenv("PRIVET_DISK_ALLOCATE");
    if (how && !strcmp(how, "no")) { errno = EOPNOTSUPP; return -1; }
    if (!fits(fd, at + count)) return -1;
    if (how && !strcmp(how, "lie")) return NEXT(ftruncate64)(fd, at + count);
    return NEXT(fallocate64)(fd, mode, at, count);
}
int fallocate(int fd, int mode, off_t at, off_t count) { return allocate(fd, mode, at, count); }
int fallocate64(int fd, int mode, off64_t at, off64_t count) { return allocate(fd, mode, at, count); }

#define LEFT(name, type) \
    int name(int fd, struct type *found) { \
        int answer = NEXT(name)(fd, found); \
        long long left = answer == 0 ? left_for(fd) : -1; \
        if (left >= 0) { \
            found->f_bsize = found->f_frsize = BLOCK; \
            found->f_bfree = found->f_bavail = left / BLOCK; \
        } \
        return answer; \
    }
LEFT(fstatvfs, statvfs) LEFT(fstatvfs64, statvfs64)
