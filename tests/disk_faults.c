/* Makes reading, writing and syncing of a database's files fail when a test wants it: for LD_PRELOAD.
 *
 * TORC_TEST_FAULTS names a file of bytes, mapped once and looked at in each call: [0] writes, [1] syncs, [2] reads; how
 * many of the next ones fail, 255: all. [3] is the errno. [4]: only of files whose name has "-wal" (1), "-journal" (2)
 * or neither (3) at its end; 0: of all. [5]: how many are let through before. Only files whose name holds "torc.db".
 */
#define _GNU_SOURCE
#include <dlfcn.h>
#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/types.h>
#include <unistd.h>

enum { WRITES, SYNCS, READS, ERROR, WHICH, SPARED };

static volatile unsigned char *faults;

__attribute__((constructor)) static void begin(void) {
    const char *path = getenv("TORC_TEST_FAULTS");
    int file = path ? open(path, O_RDWR | O_CLOEXEC) : -1;
    if (file < 0)
        return;
    void *map = mmap(NULL, 4096, PROT_READ | PROT_WRITE, MAP_SHARED, file, 0);
    if (map != MAP_FAILED)
        faults = map;
    close(file);
}

static int fails(int kind, int file) {
    char link[64], name[4096];
    if (!faults || !faults[kind])
        return 0;
    int error = errno;
    snprintf(link, sizeof link, "/proc/self/fd/%d", file);
    ssize_t length = readlink(link, name, sizeof name - 1);
    errno = error;
    if (length < 0)
        return 0;
    name[length] = 0;
    if (!strstr(name, "torc.db") || strstr(name, "-shm") || strstr(name, ".lock"))
        return 0;
    int which = strstr(name, "-wal") ? 1 : strstr(name, "-journal") ? 2 : 3;
    if (faults[WHICH] && faults[WHICH] != which)
        return 0;
    if (faults[SPARED]) {
        faults[SPARED]--;
        return 0;
    }
    if (faults[kind] != 255)
        faults[kind]--;
    errno = faults[ERROR];
    return 1;
}

#define REAL(name) (__typeof__(&name))dlsym(RTLD_NEXT, #name)

ssize_t pwrite(int file, const void *data, size_t size, off_t at) {
    return fails(WRITES, file) ? -1 : (REAL(pwrite))(file, data, size, at);
}
ssize_t pwrite64(int file, const void *data, size_t size, off64_t at) {
    return fails(WRITES, file) ? -1 : (REAL(pwrite64))(file, data, size, at);
}
ssize_t write(int file, const void *data, size_t size) {
    return fails(WRITES, file) ? -1 : (REAL(write))(file, data, size);
}
ssize_t pread(int file, void *data, size_t size, off_t at) {
    return fails(READS, file) ? -1 : (REAL(pread))(file, data, size, at);
}
ssize_t pread64(int file, void *data, size_t size, off64_t at) {
    return fails(READS, file) ? -1 : (REAL(pread64))(file, data, size, at);
}
ssize_t read(int file, void *data, size_t size) {
    return fails(READS, file) ? -1 : (REAL(read))(file, data, size);
}
int fsync(int file) {
    return fails(SYNCS, file) ? -1 : (REAL(fsync))(file);
}
int fdatasync(int file) {
    return fails(SYNCS, file) ? -1 : (REAL(fdatasync))(file);
}
