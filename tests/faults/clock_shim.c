/* Wall clock of a process under test: the true one plus an offset that the harness keeps in a shared file.
 *
 * Preloaded into the daemon and the workers. The monotonic clocks are left alone: whatever has to do with the length
 * of time must go by them. */
#define _GNU_SOURCE
#include <dlfcn.h>
#include <fcntl.h>
#include <stdint.h>
#include <stdlib.h>
#include <sys/mman.h>
#include <sys/time.h>
#include <time.h>
#include <unistd.h>

static int64_t seconds_ahead(void) {
    static volatile int64_t *offset;
    static int64_t none;
    if (!offset) {
        const char *path = getenv("FAULTS_CLOCK");
        int descriptor = path ? open(path, O_RDONLY | O_CLOEXEC) : -1;
        void *page = descriptor < 0 ? MAP_FAILED : mmap(0, 8, PROT_READ, MAP_SHARED, descriptor, 0);
        if (descriptor >= 0)
            close(descriptor);
        offset = page == MAP_FAILED ? &none : page;
    }
    return *offset;
}

int clock_gettime(clockid_t clock, struct timespec *now) {
    static int (*real)(clockid_t, struct timespec *);
    if (!real)
        real = dlsym(RTLD_NEXT, "clock_gettime");
    int result = real(clock, now);
    if (!result && (clock == CLOCK_REALTIME || clock == CLOCK_REALTIME_COARSE))
        now->tv_sec += seconds_ahead();
    return result;
}

int gettimeofday(struct timeval *restrict now, void *restrict zone) {
    static int (*real)(struct timeval *, void *);
    if (!real)
        real = dlsym(RTLD_NEXT, "gettimeofday");
    int result = real(now, zone);
    if (!result && now)
        now->tv_sec += seconds_ahead();
    return result;
}

time_t time(time_t *now) {
    struct timespec full;
    clock_gettime(CLOCK_REALTIME, &full);
    if (now)
        *now = full.tv_sec;
    return full.tv_sec;
}
