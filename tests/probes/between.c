/* between: libraries that stand between a program and its libc, one per macro.
 *
 *   SEES       getaddrinfo: says so on standard output, then calls the next one
 *   SEES_HOST  the same for gethostbyname_r alone
 *   SEES_QUERIES  res_search, as a resolver for tests has it: it fails
 *   GCOMPAT    gnu_get_libc_version, as gcompat gives it to musl processes
 *   NO_LIST    dl_iterate_phdr, whose caller is ended with status 97
 *   COUNTS     malloc, calloc, free from a pool of its own: what it did not give it does not take
 */
#define _GNU_SOURCE
#include <dlfcn.h>
#include <netdb.h>
#include <stddef.h>
#include <stdint.h>
#include <string.h>
#include <unistd.h>

#if defined SEES || defined SEES_HOST
static void say(const char *name)
{
    char line[256] = "seen ";
    strncat(line, name, 200);
    strcat(line, "\n");
    if (write(1, line, strlen(line)) < 0) _exit(9);
}
#endif

#ifdef SEES
int getaddrinfo(const char *node, const char *service, const struct addrinfo *hints,
                struct addrinfo **list)
{
    int (*next)(const char *, const char *, const struct addrinfo *, struct addrinfo **) =
        (int (*)(const char *, const char *, const struct addrinfo *, struct addrinfo **))dlsym(
            RTLD_NEXT, "getaddrinfo");
    say(node);
    return next(node, service, hints, list);
}
#endif

#ifdef SEES_HOST
int gethostbyname_r(const char *name, struct hostent *entry, char *buffer, size_t length,
                    struct hostent **result, int *failure)
{
    int (*next)(const char *, struct hostent *, char *, size_t, struct hostent **, int *) =
        (int (*)(const char *, struct hostent *, char *, size_t, struct hostent **, int *))dlsym(
            RTLD_NEXT, "gethostbyname_r");
    say(name);
    return next(name, entry, buffer, length, result, failure);
}
#endif

#ifdef SEES_QUERIES
int res_search(const char *name, int class, int type, unsigned char *answer, int length);
int res_search(const char *name, int class, int type, unsigned char *answer, int length)
{
    (void)name;
    (void)class;
    (void)type;
    (void)answer;
    (void)length;
    return -1;
}
#endif

#ifdef GCOMPAT
const char *gnu_get_libc_version(void);
const char *gnu_get_libc_version(void)
{
    return "2.36";
}
#endif

#ifdef NO_LIST
/* Without a libc, so that it can be loaded into one of any age. */
int dl_iterate_phdr(int (*step)(void *, size_t, void *), void *data);
int dl_iterate_phdr(int (*step)(void *, size_t, void *), void *data)
{
    (void)step;
    (void)data;
#if defined __x86_64__
    __asm__ volatile("syscall" : : "a"(231), "D"(97) : "rcx", "r11", "memory");
#elif defined __aarch64__
    register long x8 __asm__("x8") = 94;
    register long x0 __asm__("x0") = 97;
    __asm__ volatile("svc 0" : : "r"(x8), "r"(x0) : "memory");
#endif
    return 0;
}
#endif

#ifdef COUNTS
/* A bump allocator: a block's size stands before it, freed blocks are filled and counted. */
#define POOL (1 << 30)
static _Alignas(16) unsigned char pool[POOL];
static size_t used;
static int given, taken;
int pool_given(void);
int pool_taken(void);

static int is_ours(const void *block)
{
    return (uintptr_t)block >= (uintptr_t)pool && (uintptr_t)block < (uintptr_t)pool + POOL;
}

void *malloc(size_t size)
{
    size_t whole = (size + 31) & ~(size_t)15, start;
    start = __atomic_fetch_add(&used, whole, __ATOMIC_RELAXED);
    if (start + whole > POOL) return NULL;
    memcpy(pool + start, &size, sizeof size);
    __atomic_fetch_add(&given, 1, __ATOMIC_RELAXED);
    return pool + start + 16;
}

void free(void *block)
{
    size_t size;
    if (block == NULL) return;
    /* What another allocator gave: the program would die of it. */
    if (!is_ours(block)) _exit(99);
    memcpy(&size, (unsigned char *)block - 16, sizeof size);
    memset(block, 0xdd, size);
    __atomic_fetch_add(&taken, 1, __ATOMIC_RELAXED);
}

void *calloc(size_t count, size_t size)
{
    if (size && count > POOL / size) return NULL;
    void *block = malloc(count * size);
    return block ? memset(block, 0, count * size) : NULL;
}

void *realloc(void *block, size_t size)
{
    void *next = malloc(size);
    size_t before;
    if (next == NULL || block == NULL) return next;
    memcpy(&before, (unsigned char *)block - 16, sizeof before);
    memcpy(next, block, before < size ? before : size);
    free(block);
    return next;
}

void *memalign(size_t alignment, size_t size);
void *memalign(size_t alignment, size_t size)
{
    return alignment <= 16 ? malloc(size) : NULL;
}

void *aligned_alloc(size_t alignment, size_t size)
{
    return memalign(alignment, size);
}

int posix_memalign(void **place, size_t alignment, size_t size)
{
    *place = memalign(alignment, size);
    return *place ? 0 : 12;
}

int pool_given(void)
{
    return given;
}

int pool_taken(void)
{
    return taken;
}
#endif
