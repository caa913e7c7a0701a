// Stands before the C library's file calls (LD_PRELOAD) and lets one of them, below one folder, go wrong.
//   FAULT_ROOT   the folder; calls on other files pass
//   FAULT_AT     which call, counted from 1; none: only count
//   FAULT_KIND   kill: the process ends there, a write half done; eio: this call fails; enospc: the disk is full then
//   FAULT_COUNT  a file that gets the number of calls when the process ends by itself
#define _GNU_SOURCE
#include <dlfcn.h>
#include <errno.h>
#include <fcntl.h>
#include <limits.h>
#include <signal.h>
#include <stdarg.h>
#include <stdatomic.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <sys/syscall.h>
#include <unistd.h>

enum kind { NONE, KILL, EIO_ONCE, FULL };
// What a call does to the disk: only what takes room fails on a full one.
enum need { NO_ROOM, ROOM };

static const char *root;
static long at;
static enum kind kind;
static atomic_long calls;
static atomic_bool ours[1 << 16];

#define REAL(name) \
    static __typeof__(name) *real; \
    if (!real) real = (__typeof__(name) *)dlsym(RTLD_NEXT, #name)

__attribute__((constructor)) static void begin(void) {
    const char *text = getenv("FAULT_KIND");
    root = getenv("FAULT_ROOT");
    at = getenv("FAULT_AT") ? atol(getenv("FAULT_AT")) : 0;
    kind = !text || !at ? NONE : !strcmp(text, "kill") ? KILL : !strcmp(text, "eio") ? EIO_ONCE : FULL;
}

__attribute__((destructor)) static void end(void) {
    const char *path = getenv("FAULT_COUNT");
    char text[32];
    if (!path) return;
    int fd = syscall(SYS_openat, AT_FDCWD, path, O_WRONLY | O_CREAT | O_TRUNC, 0644);
    if (fd < 0) return;
    syscall(SYS_write, fd, text, snprintf(text, sizeof text, "%ld", atomic_load(&calls)));
    syscall(SYS_close, fd);
}

static int known(int fd) { return fd >= 0 && fd < (int)(sizeof ours / sizeof *ours) && ours[fd]; }

static int below(int dir, const char *path) {
    size_t length = root ? strlen(root) : 0;
    if (!root || !path) return 0;
    if (path[0] != '/') return known(dir);
    return !strncmp(path, root, length) && (!path[length] || path[length] == '/');
}

static void die(void) {
    syscall(SYS_kill, getpid(), SIGKILL);
    for (;;) pause();
}

// Counts a call on one of our files. Returns whether it must fail, with errno set; if the process is to end, never.
static int fails(enum need need) {
    long call = atomic_fetch_add(&calls, 1) + 1;
    if (kind == KILL && call == at) die();
    if (kind == EIO_ONCE && call == at) return errno = EIO, 1;
    if (kind == FULL && call >= at && need == ROOM) return errno = ENOSPC, 1;
    return 0;
}

static int opened(int fd, int is_ours) {
    if (fd >= 0 && fd < (int)(sizeof ours / sizeof *ours)) ours[fd] = is_ours;
    return fd;
}

#define OPEN(name) \
    int name(const char *path, int flags, ...) { \
        REAL(name); \
        va_list list; \
        va_start(list, flags); \
        mode_t mode = flags & (O_CREAT | __O_TMPFILE) ? va_arg(list, mode_t) : 0; \
        va_end(list); \
        int is_ours = below(AT_FDCWD, path); \
        if (is_ours && fails(flags & O_CREAT ? ROOM : NO_ROOM)) return -1; \
        return opened(real(path, flags, mode), is_ours); \
    }
OPEN(open)
OPEN(open64)

#define OPENAT(name) \
    int name(int dir, const char *path, int flags, ...) { \
        REAL(name); \
        va_list list; \
        va_start(list, flags); \
        mode_t mode = flags & (O_CREAT | __O_TMPFILE) ? va_arg(list, mode_t) : 0; \
        va_end(list); \
        int is_ours = below(dir, path); \
        if (is_ours && fails(flags & O_CREAT ? ROOM : NO_ROOM)) return -1; \
        return opened(real(dir, path, flags, mode), is_ours); \
    }
OPENAT(openat)
OPENAT(openat64)

int close(int fd) {
    REAL(close);
    opened(fd, 0);
    return real(fd);
}

ssize_t read(int fd, void *to, size_t count) {
    REAL(read);
    return known(fd) && fails(NO_ROOM) ? -1 : real(fd, to, count);
}

ssize_t write(int fd, const void *from, size_t count) {
    REAL(write);
    if (!known(fd)) return real(fd, from, count);
    if (kind == KILL && atomic_load(&calls) + 1 == at) real(fd, from, count / 2);
    return fails(ROOM) ? -1 : real(fd, from, count);
}

#define ON_FILE(name, parameters, arguments, need) \
    int name parameters { \
        REAL(name); \
        return known(fd) && fails(need) ? -1 : real arguments; \
    }
ON_FILE(fsync, (int fd), (fd), NO_ROOM)
ON_FILE(fdatasync, (int fd), (fd), NO_ROOM)
ON_FILE(ftruncate, (int fd, off_t length), (fd, length), NO_ROOM)
ON_FILE(ftruncate64, (int fd, off64_t length), (fd, length), NO_ROOM)

#define ON_PATH(name, parameters, arguments, dir, need) \
    int name parameters { \
        REAL(name); \
        return below(dir, path) && fails(need) ? -1 : real arguments; \
    }
ON_PATH(mkdir, (const char *path, mode_t mode), (path, mode), AT_FDCWD, ROOM)
ON_PATH(rmdir, (const char *path), (path), AT_FDCWD, NO_ROOM)
ON_PATH(unlink, (const char *path), (path), AT_FDCWD, NO_ROOM)
ON_PATH(unlinkat, (int dir, const char *path, int flags), (dir, path, flags), dir, NO_ROOM)
ON_PATH(rename, (const char *path, const char *to), (path, to), AT_FDCWD, NO_ROOM)
