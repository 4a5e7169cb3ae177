/* An NSS module that passes every call on to another one and times it: what glibc waits for that module alone, with
 * the caches as libc's own work before it leaves them. Built as libnss_timed.so.2.
 *
 *   TIMED_FILE    the other module's file
 *   TIMED_NAME    its name, as in _nss_<name>_gethostbyname4_r
 *
 * At exit it prints "inside <median ns> of <calls>" on standard error; the clock's own cost is in it. */
#define _GNU_SOURCE
#include <dlfcn.h>
#include <netdb.h>
#include <nss.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <time.h>

enum { MOST = 200000 };
static uint32_t took[MOST];
static int calls;

static int ascending(const void *a, const void *b)
{
    uint32_t x = *(const uint32_t *)a, y = *(const uint32_t *)b;
    return x < y ? -1 : x > y;
}

static void report(void)
{
    qsort(took, (size_t)calls, sizeof *took, ascending);
    fprintf(stderr, "inside %u of %d\n", took[calls / 2], calls);
}

static void *function(const char *suffix)
{
    static void *module;
    char name[128];
    if (!module) {
        module = dlopen(getenv("TIMED_FILE"), RTLD_NOW);
        if (!module) {
            fprintf(stderr, "%s\n", dlerror());
            abort();
        }
        atexit(report);
    }
    snprintf(name, sizeof name, "_nss_%s_%s", getenv("TIMED_NAME"), suffix);
    return dlsym(module, name);
}

static uint64_t nanoseconds(void)
{
    struct timespec now;
    clock_gettime(CLOCK_MONOTONIC, &now);
    return (uint64_t)now.tv_sec * 1000000000u + (uint64_t)now.tv_nsec;
}

static void note(uint64_t start, uint64_t end)
{
    if (calls < MOST)
        took[calls++] = (uint32_t)(end - start);
}

enum nss_status _nss_timed_gethostbyname4_r(const char *name, struct gaih_addrtuple **pat, char *buffer, size_t length,
                                            int *errnop, int *h_errnop, int32_t *ttlp)
{
    static enum nss_status (*real)(const char *, struct gaih_addrtuple **, char *, size_t, int *, int *, int32_t *);
    if (!real)
        real = function("gethostbyname4_r");
    uint64_t start = nanoseconds();
    enum nss_status status = real(name, pat, buffer, length, errnop, h_errnop, ttlp);
    note(start, nanoseconds());
    return status;
}

enum nss_status _nss_timed_gethostbyname2_r(const char *name, int family, struct hostent *result, char *buffer,
                                            size_t length, int *errnop, int *h_errnop)
{
    static enum nss_status (*real)(const char *, int, struct hostent *, char *, size_t, int *, int *);
    if (!real)
        real = function("gethostbyname2_r");
    uint64_t start = nanoseconds();
    enum nss_status status = real(name, family, result, buffer, length, errnop, h_errnop);
    note(start, nanoseconds());
    return status;
}
