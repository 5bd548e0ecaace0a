/* A power cut as an LD_PRELOAD shim: of the files under $PRIVET_POWERCUT_DIR, $PRIVET_POWERCUT_SHADOW holds at any moment
 * what a disk would hold if the power failed then. Kill the process, and open the shadow.
 *
 * The model
 *   bytes      survive once fsync or fdatasync of their file has returned. Nothing else counts: not write-back by
 *              sync_file_range, not close, not msync, O_SYNC or sync(2) (whoever relies on these loses here).
 *   names      (created, renamed, removed) survive once fsync of their directory has returned; fsync of a directory also
 *              makes its own name durable, as ext4, XFS and btrfs do. A name that is durable before its bytes is an empty file.
 *   all        bytes and names survive once syncfs of a file or directory among them has returned.
 *   lengths    survive with the bytes: a truncation is durable with the file's next sync.
 *   at start   what lies in the directory is durable if the shadow is empty (a machine that has just booted); otherwise the
 *              shadow stands, and what the directory holds beyond it is not durable yet (a process started again).
 *
 * $PRIVET_POWERCUT_SKIP  "1": fsync, fdatasync and syncfs answer 0 and make nothing durable; "fdatasync", "syncfs": only that one.
 *                        The positive control: a test of durability has to fail with it.
 * $PRIVET_POWERCUT_TORN  a number: besides, each write puts some of its 512-byte sectors into the shadow at once, as a disk
 *                        does that writes back early and in any order. The number seeds which.
 * "<shadow>.ready" appears once the shadow stands; to kill the process before that means nothing.
 * Both directories are absolute, exist, and lie on one file system that has hard links; the shadow's inodes are kept beside
 * it, in "<shadow>.inodes". */
#define _GNU_SOURCE
#include <dirent.h>
#include <dlfcn.h>
#include <errno.h>
#include <fcntl.h>
#include <limits.h>
#include <pthread.h>
#include <stdarg.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/sendfile.h>
#include <sys/stat.h>
#include <sys/uio.h>
#include <unistd.h>

#define BUCKETS 1024
#define SECTOR 512
#define CHUNK (1 << 20)

struct range { off_t from, to; };

/* One file of the directory, by inode. `state` guards ranges and shrunk_to; `syncing` is held through a whole sync, so that
 * a sync does not return before an earlier one that took its bytes has put them into the shadow. */
struct file {
    struct file *next;
    dev_t dev;
    ino_t ino;
    int real, shadow;
    pthread_mutex_t state, syncing;
    struct range *dirty;
    size_t count, room;
    off_t shrunk_to;
};

static char dir[PATH_MAX], shadow_dir[PATH_MAX];
static size_t dir_len;
static int on, skip_fsync, skip_fdatasync, skip_syncfs, torn;
static uint64_t torn_state;
static struct file *files[BUCKETS];
static pthread_mutex_t files_lock = PTHREAD_MUTEX_INITIALIZER, names_lock = PTHREAD_MUTEX_INITIALIZER;
static pthread_once_t started = PTHREAD_ONCE_INIT;

#define REAL(name) static __typeof__(&name) real_##name
REAL(open); REAL(openat); REAL(creat); REAL(pwrite); REAL(write); REAL(writev); REAL(pwritev); REAL(ftruncate);
REAL(truncate); REAL(fsync); REAL(fdatasync); REAL(copy_file_range); REAL(sendfile); REAL(unlink);
REAL(syncfs);

static void start(void);
static void ready(void) { pthread_once(&started, start); }

static void die(const char *what, const char *path) {
    dprintf(2, "powercut: %s %s: %s\n", what, path, strerror(errno));
    _exit(99);
}

static void shadow_inode_path(char *out, ino_t ino) {
    if (snprintf(out, PATH_MAX, "%s.inodes/%ju", shadow_dir, (uintmax_t)ino) >= PATH_MAX) die("path too long", shadow_dir);
}

/* The path below the directory ("" for itself), or NULL. */
static const char *below(const char *path) {
    if (strncmp(path, dir, dir_len) != 0) return NULL;
    if (path[dir_len] == '\0') return "";
    return path[dir_len] == '/' ? path + dir_len + 1 : NULL;
}

static int fd_path(int fd, char *out) {
    char link[64];
    snprintf(link, sizeof link, "/proc/self/fd/%d", fd);
    ssize_t length = readlink(link, out, PATH_MAX - 1);
    if (length < 0) return -1;
    out[length] = '\0';
    return 0;
}

static struct file *find(int fd) {
    struct stat st;
    if (!on || fstat(fd, &st) != 0 || !S_ISREG(st.st_mode)) return NULL;
    pthread_mutex_lock(&files_lock);
    struct file *file = files[st.st_ino % BUCKETS];
    while (file && (file->ino != st.st_ino || file->dev != st.st_dev)) file = file->next;
    pthread_mutex_unlock(&files_lock);
    return file;
}

static void dirty_locked(struct file *file, off_t from, off_t to) {
    if (from >= to) return;
    if (file->count > 0) {
        struct range *last = &file->dirty[file->count - 1];
        if (from <= last->to && to >= last->from) {
            if (from < last->from) last->from = from;
            if (to > last->to) last->to = to;
            return;
        }
    }
    if (file->count == file->room) {
        file->room = file->room ? 2 * file->room : 16;
        file->dirty = realloc(file->dirty, file->room * sizeof *file->dirty);
        if (!file->dirty) die("no memory", "");
    }
    file->dirty[file->count++] = (struct range){from, to};
}

static void copy_range(int from_fd, int to_fd, off_t from, off_t to) {
    static __thread char *buffer;
    if (!buffer && !(buffer = malloc(CHUNK))) die("no memory", "");
    while (from < to) {
        size_t want = to - from < CHUNK ? (size_t)(to - from) : CHUNK;
        ssize_t got = pread(from_fd, buffer, want, from);
        if (got < 0) die("read", dir);
        if (got == 0) return;
        if (real_pwrite(to_fd, buffer, got, from) != got) die("write the shadow of", dir);
        from += got;
    }
}

/* Some sectors of a write reach the disk at once. */
static void tear_locked(struct file *file, off_t from, off_t to) {
    for (off_t at = from / SECTOR * SECTOR; at < to;) {
        torn_state = torn_state * 6364136223846793005u + 1442695040888963407u;
        uint64_t random = torn_state >> 33;
        off_t length = SECTOR * (1 + (off_t)(random % 64));
        if (random / 64 % 2) copy_range(file->real, file->shadow, at, at + length < to ? at + length : to);
        at += length;
    }
}

static void wrote(struct file *file, off_t from, off_t to) {
    if (torn) tear_locked(file, from, to);
    dirty_locked(file, from, to);
}

/* Gets to know a file that has just been opened. `fresh`: the call made it. */
static void learn(int fd, int fresh) {
    struct stat st;
    char path[PATH_MAX], link[64];
    if (!on || fd < 0 || fstat(fd, &st) != 0 || !S_ISREG(st.st_mode)) return;
    struct file *file = find(fd);
    if (file && !fresh) return;
    if (fd_path(fd, path) != 0 || !below(path)) return;
    char inode[PATH_MAX];
    shadow_inode_path(inode, st.st_ino);
    pthread_mutex_lock(&files_lock);
    struct file **bucket = &files[st.st_ino % BUCKETS];
    for (struct file **at = bucket; *at; at = &(*at)->next) {
        if ((*at)->ino != st.st_ino || (*at)->dev != st.st_dev) continue;
        if (!fresh) { pthread_mutex_unlock(&files_lock); return; }
        *at = (*at)->next; /* the inode's number is used again; the old entry stays allocated for whoever holds it */
        break;
    }
    if (fresh) real_unlink(inode);
    file = calloc(1, sizeof *file);
    if (!file) die("no memory", "");
    snprintf(link, sizeof link, "/proc/self/fd/%d", fd);
    file->dev = st.st_dev;
    file->ino = st.st_ino;
    file->real = real_open(link, O_RDONLY | O_CLOEXEC);
    file->shadow = real_open(inode, O_RDWR | O_CREAT | O_CLOEXEC, 0600);
    if (file->real < 0 || file->shadow < 0) die("open", path);
    pthread_mutex_init(&file->state, NULL);
    pthread_mutex_init(&file->syncing, NULL);
    file->shrunk_to = st.st_size;
    dirty_locked(file, 0, st.st_size);
    file->next = *bucket;
    *bucket = file;
    pthread_mutex_unlock(&files_lock);
}

/* Everything that the file held when this began is in the shadow when it returns, if the sync itself works. */
static int sync_file(struct file *file, int fd, int (*sync)(int)) {
    pthread_mutex_lock(&file->syncing);
    pthread_mutex_lock(&file->state);
    struct stat st;
    struct range *dirty = file->dirty;
    size_t count = file->count;
    off_t shrunk_to = file->shrunk_to;
    if (fstat(fd, &st) != 0) die("look at a file of", dir);
    file->dirty = NULL;
    file->count = file->room = 0;
    file->shrunk_to = st.st_size;
    pthread_mutex_unlock(&file->state);
    int answer = sync(fd), error = errno;
    pthread_mutex_lock(&file->state);
    if (answer == 0) {
        struct stat shadow;
        if (fstat(file->shadow, &shadow) != 0) die("look at the shadow of", dir);
        if (shrunk_to < shadow.st_size && real_ftruncate(file->shadow, shrunk_to) != 0) die("cut the shadow of", dir);
        for (size_t i = 0; i < count; i++)
            copy_range(file->real, file->shadow, dirty[i].from, dirty[i].to < st.st_size ? dirty[i].to : st.st_size);
        if (fstat(file->shadow, &shadow) != 0) die("look at the shadow of", dir);
        if (shadow.st_size < st.st_size && real_ftruncate(file->shadow, st.st_size) != 0) die("extend the shadow of", dir);
    } else {
        for (size_t i = 0; i < count; i++) dirty_locked(file, dirty[i].from, dirty[i].to);
        if (shrunk_to < file->shrunk_to) file->shrunk_to = shrunk_to;
    }
    pthread_mutex_unlock(&file->state);
    pthread_mutex_unlock(&file->syncing);
    free(dirty);
    errno = error;
    return answer;
}

static void make_directories(const char *path) {
    char partial[PATH_MAX];
    size_t length = strlen(path);
    if (length >= sizeof partial) die("path too long", path);
    memcpy(partial, path, length + 1);
    for (char *slash = partial + strlen(shadow_dir); (slash = strchr(slash + 1, '/'));) {
        *slash = '\0';
        if (mkdir(partial, 0700) != 0 && errno != EEXIST) die("make", partial);
        *slash = '/';
    }
    if (mkdir(partial, 0700) != 0 && errno != EEXIST) die("make", partial);
}

static void join(char *out, const char *directory, const char *name) {
    if (snprintf(out, PATH_MAX, *name ? "%s/%s" : "%s%s", directory, name) >= PATH_MAX) die("path too long", directory);
}

static void remove_tree(const char *path) {
    if (real_unlink(path) == 0 || errno == ENOENT) return;
    DIR *entries = opendir(path);
    if (!entries) die("open", path);
    for (struct dirent *entry; (entry = readdir(entries));) {
        char child[PATH_MAX];
        if (!strcmp(entry->d_name, ".") || !strcmp(entry->d_name, "..")) continue;
        join(child, path, entry->d_name);
        remove_tree(child);
    }
    closedir(entries);
    if (rmdir(path) != 0) die("remove", path);
}

static mode_t there_mode(const char *path) {
    struct stat st;
    return lstat(path, &st) == 0 ? st.st_mode : 0;
}

enum depth { NAMES, ALL_NAMES, ALL_BYTES };

/* The shadow of a directory gets the names that the directory has now; with ALL_NAMES all the way down, and with ALL_BYTES the
 * files' bytes as well: that is how a machine boots. Later, bytes are sync_file's alone: a copy beside it could put older bytes
 * over those that another thread has made durable meanwhile. New names come before old ones go, so a kill in between leaves a rename with
 * either or both, never neither. */
static void sync_names(const char *relative, enum depth depth) {
    char real[PATH_MAX], shadow[PATH_MAX];
    join(real, dir, relative);
    join(shadow, shadow_dir, relative);
    make_directories(shadow);
    DIR *entries = opendir(real);
    if (!entries) die("open", real);
    for (struct dirent *entry; (entry = readdir(entries));) {
        char from[PATH_MAX], to[PATH_MAX], inode[PATH_MAX], next[PATH_MAX];
        struct stat st, there;
        if (!strcmp(entry->d_name, ".") || !strcmp(entry->d_name, "..")) continue;
        join(from, real, entry->d_name);
        join(to, shadow, entry->d_name);
        if (lstat(from, &st) != 0) continue;
        if (S_ISDIR(st.st_mode)) {
            if (mkdir(to, 0700) != 0 && errno != EEXIST) die("make", to);
            join(next, relative, entry->d_name);
            if (depth != NAMES) sync_names(*relative ? next : entry->d_name, depth);
        } else if (S_ISREG(st.st_mode)) {
            shadow_inode_path(inode, st.st_ino);
            int kept = real_open(inode, O_RDWR | O_CREAT | O_CLOEXEC, 0600);
            if (kept < 0) die("open", inode);
            if (depth == ALL_BYTES) {
                int fd = real_open(from, O_RDONLY | O_CLOEXEC);
                if (fd < 0) die("open", from);
                copy_range(fd, kept, 0, st.st_size);
                close(fd);
            }
            struct stat inode_st;
            if (fstat(kept, &inode_st) != 0) die("look at", inode);
            close(kept);
            if (lstat(to, &there) == 0 && there.st_ino == inode_st.st_ino) continue;
            char step[PATH_MAX];
            if (S_ISDIR(there_mode(to))) remove_tree(to);
            if (snprintf(step, sizeof step, "%s.step", inode) >= PATH_MAX) die("path too long", inode);
            real_unlink(step);
            if (link(inode, step) != 0 || rename(step, to) != 0) die("link", to);
        }
    }
    closedir(entries);
    if (!(entries = opendir(shadow))) die("open", shadow);
    for (struct dirent *entry; (entry = readdir(entries));) {
        char from[PATH_MAX], to[PATH_MAX];
        struct stat st;
        if (!strcmp(entry->d_name, ".") || !strcmp(entry->d_name, "..")) continue;
        join(from, real, entry->d_name);
        join(to, shadow, entry->d_name);
        if (lstat(from, &st) != 0) remove_tree(to);
    }
    closedir(entries);
}

static int is_empty(const char *path) {
    DIR *entries = opendir(path);
    if (!entries) die("open", path);
    int count = 0;
    while (readdir(entries)) count++;
    closedir(entries);
    return count <= 2;
}

static void start(void) {
#define FIND(name) if (!(real_##name = (__typeof__(real_##name))dlsym(RTLD_NEXT, #name))) die("find", #name)
    FIND(open); FIND(openat); FIND(creat); FIND(pwrite); FIND(write); FIND(writev); FIND(pwritev); FIND(ftruncate);
    FIND(truncate); FIND(fsync); FIND(fdatasync); FIND(copy_file_range); FIND(sendfile); FIND(unlink);
    FIND(syncfs);
    const char *real = getenv("PRIVET_POWERCUT_DIR"), *shadow = getenv("PRIVET_POWERCUT_SHADOW");
    if (!real || !shadow) return;
    if (!realpath(real, dir)) die("find", real);
    if (!realpath(shadow, shadow_dir)) die("find", shadow);
    dir_len = strlen(dir);
    const char *skip = getenv("PRIVET_POWERCUT_SKIP"), *seed = getenv("PRIVET_POWERCUT_TORN");
    skip_fsync = skip && !strcmp(skip, "1");
    skip_syncfs = skip_fsync || (skip && !strcmp(skip, "syncfs"));
    skip_fdatasync = skip_fsync || (skip && !strcmp(skip, "fdatasync"));
    torn = seed != NULL;
    torn_state = seed ? strtoull(seed, NULL, 10) : 0;
    char inodes[PATH_MAX];
    if (snprintf(inodes, sizeof inodes, "%s.inodes", shadow_dir) >= PATH_MAX) die("path too long", shadow_dir);
    int booted = is_empty(shadow_dir);
    if (mkdir(inodes, 0700) != 0 && errno != EEXIST) die("make", inodes);
    if (booted) sync_names("", ALL_BYTES);
    char ready_path[PATH_MAX];
    if (snprintf(ready_path, sizeof ready_path, "%s.ready", shadow_dir) >= PATH_MAX) die("path too long", shadow_dir);
    int ready_fd = real_open(ready_path, O_WRONLY | O_CREAT | O_CLOEXEC, 0600);
    if (ready_fd < 0) die("make", ready_path);
    close(ready_fd);
    on = 1;
}

__attribute__((constructor)) static void at_load(void) { ready(); }

static int opened(int fd, int flags, int existed) {
    int error = errno;
    if (fd >= 0) {
        learn(fd, (flags & O_CREAT) && !existed);
        struct file *file = (flags & O_TRUNC) ? find(fd) : NULL;
        if (file) {
            pthread_mutex_lock(&file->state);
            file->count = 0;
            file->shrunk_to = 0;
            pthread_mutex_unlock(&file->state);
        }
    }
    errno = error;
    return fd;
}

static int exists(int at, const char *path, int flags) {
    struct stat st;
    int error = errno, there = !(flags & O_CREAT) || fstatat(at, path, &st, 0) == 0;
    errno = error;
    return there;
}

#define MODE(flags, mode) \
    mode_t mode = 0; \
    if ((flags) & (O_CREAT | __O_TMPFILE)) { va_list args; va_start(args, flags); mode = va_arg(args, mode_t); va_end(args); }

#define OPEN(name) \
    int name(const char *path, int flags, ...) { \
        MODE(flags, mode); ready(); \
        int existed = exists(AT_FDCWD, path, flags); \
        return opened(real_open(path, flags | O_LARGEFILE, mode), flags, existed); \
    }
#define OPENAT(name) \
    int name(int at, const char *path, int flags, ...) { \
        MODE(flags, mode); ready(); \
        int existed = exists(at, path, flags); \
        return opened(real_openat(at, path, flags | O_LARGEFILE, mode), flags, existed); \
    }
OPEN(open) OPEN(open64) OPENAT(openat) OPENAT(openat64)

int creat(const char *path, mode_t mode) { return open(path, O_CREAT | O_WRONLY | O_TRUNC, mode); }
int creat64(const char *path, mode_t mode) { return open(path, O_CREAT | O_WRONLY | O_TRUNC, mode); }

/* A write at a known place. */
#define PLACED(call, at) \
    ready(); \
    struct file *file = find(fd); \
    if (!file) return call; \
    pthread_mutex_lock(&file->state); \
    ssize_t done = call; \
    int error = errno; \
    if (done > 0) wrote(file, at, at + done); \
    pthread_mutex_unlock(&file->state); \
    errno = error; \
    return done;

/* A write at the file's own position, which has moved past it. */
#define STREAMED(out, call) \
    ready(); \
    struct file *file = find(out); \
    if (!file) return call; \
    pthread_mutex_lock(&file->state); \
    ssize_t done = call; \
    int error = errno; \
    off_t end = lseek(out, 0, SEEK_CUR); \
    if (done > 0) wrote(file, end - done, end); \
    pthread_mutex_unlock(&file->state); \
    errno = error; \
    return done;

ssize_t pwrite(int fd, const void *bytes, size_t count, off_t at) { PLACED(real_pwrite(fd, bytes, count, at), at) }
ssize_t pwrite64(int fd, const void *bytes, size_t count, off64_t at) { PLACED(real_pwrite(fd, bytes, count, at), at) }
ssize_t pwritev(int fd, const struct iovec *parts, int count, off_t at) { PLACED(real_pwritev(fd, parts, count, at), at) }
ssize_t pwritev64(int fd, const struct iovec *parts, int count, off64_t at) { PLACED(real_pwritev(fd, parts, count, at), at) }
ssize_t write(int fd, const void *bytes, size_t count) { STREAMED(fd, real_write(fd, bytes, count)) }
ssize_t writev(int fd, const struct iovec *parts, int count) { STREAMED(fd, real_writev(fd, parts, count)) }
ssize_t sendfile(int out, int in, off_t *at, size_t count) { STREAMED(out, real_sendfile(out, in, at, count)) }
ssize_t sendfile64(int out, int in, off64_t *at, size_t count) { STREAMED(out, real_sendfile(out, in, at, count)) }

ssize_t copy_file_range(int in, off64_t *in_at, int fd, off64_t *at, size_t count, unsigned flags) {
    if (!at) { STREAMED(fd, real_copy_file_range(in, in_at, fd, at, count, flags)) }
    off_t from = *at;
    PLACED(real_copy_file_range(in, in_at, fd, at, count, flags), from)
}

static int cut(int fd, off_t length) {
    ready();
    struct file *file = find(fd);
    if (!file) return real_ftruncate(fd, length);
    pthread_mutex_lock(&file->state);
    int answer = real_ftruncate(fd, length), error = errno;
    if (answer == 0) {
        size_t kept = 0;
        for (size_t i = 0; i < file->count; i++) {
            struct range range = file->dirty[i];
            if (range.to > length) range.to = length;
            if (range.from < range.to) file->dirty[kept++] = range;
        }
        file->count = kept;
        if (length < file->shrunk_to) file->shrunk_to = length;
    }
    pthread_mutex_unlock(&file->state);
    errno = error;
    return answer;
}
int ftruncate(int fd, off_t length) { return cut(fd, length); }
int ftruncate64(int fd, off64_t length) { return cut(fd, length); }

static int cut_path(const char *path, off_t length) {
    int fd = open(path, O_WRONLY | O_CLOEXEC);
    if (fd < 0) return -1;
    int answer = cut(fd, length), error = errno;
    close(fd);
    errno = error;
    return answer;
}
int truncate(const char *path, off_t length) { return cut_path(path, length); }
int truncate64(const char *path, off64_t length) { return cut_path(path, length); }

static int made_durable(int fd, int (*sync)(int), int skip) {
    struct stat st;
    char path[PATH_MAX];
    struct file *file = find(fd);
    if (file) return skip ? 0 : sync_file(file, fd, sync);
    if (!on || fstat(fd, &st) != 0 || !S_ISDIR(st.st_mode) || fd_path(fd, path) != 0 || !below(path)) return sync(fd);
    if (skip) return 0;
    int answer = sync(fd), error = errno;
    if (answer == 0) {
        pthread_mutex_lock(&names_lock);
        sync_names(below(path), NAMES);
        pthread_mutex_unlock(&names_lock);
    }
    errno = error;
    return answer;
}
int fsync(int fd) { ready(); return made_durable(fd, real_fsync, skip_fsync); }
int fdatasync(int fd) { ready(); return made_durable(fd, real_fdatasync, skip_fdatasync); }

static int nothing(int fd) {
    (void)fd;
    return 0;
}

int syncfs(int fd) {
    ready();
    char path[PATH_MAX];
    if (!on || fd_path(fd, path) != 0 || !below(path)) return real_syncfs(fd);
    if (skip_syncfs) return 0;
    int answer = real_syncfs(fd), error = errno;
    if (answer == 0) {
        for (size_t i = 0; i < BUCKETS; i++) {
            pthread_mutex_lock(&files_lock);
            struct file *file = files[i];
            pthread_mutex_unlock(&files_lock);
            for (; file; file = file->next) sync_file(file, file->real, nothing);
        }
        pthread_mutex_lock(&names_lock);
        sync_names("", ALL_NAMES);
        pthread_mutex_unlock(&names_lock);
    }
    errno = error;
    return answer;
}
