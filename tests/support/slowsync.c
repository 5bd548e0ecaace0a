/* A slow disk as an LD_PRELOAD shim: each fdatasync first waits $PRIVET_SLOWSYNC_MS milliseconds. Calls from several threads
 * wait at the same time, as they would in a queue that the disk empties at once. */
#define _GNU_SOURCE
#include <dlfcn.h>
#include <errno.h>
#include <stdlib.h>
#include <time.h>
#include <unistd.h>

int fdatasync(int fd) {
    int (*real)(int) = (int (*)(int))dlsym(RTLD_NEXT, "fdatasync");
    const char *text = getenv("PRIVET_SLOWSYNC_MS");
    long ms = text ? strtol(text, NULL, 10) : 0;
    struct timespec left = {ms / 1000, ms % 1000 * 1000000};
    while (nanosleep(&left, &left) != 0 && errno == EINTR) {
    }
    return real(fd);
}
