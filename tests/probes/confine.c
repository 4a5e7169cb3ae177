/* confine: lookups of a process that has little: few system calls, little stack, little memory.
 *
 *   confine NAME ADDRESS kill LIST | errno LIST
 *       seccomp: any system call that is not in LIST (`libc`: what this libc's own resolver makes;
 *       `wide`: those and what the shim makes besides at its first lookup) kills the process, or
 *       fails with EPERM. LIST `trip` is `libc`, and then one call that is not in it.
 *   confine NAME ADDRESS stack KILOBYTES
 *       first and later lookups in a thread with a stack of so many kilobytes (`min`:
 *       PTHREAD_STACK_MIN)
 *   confine NAME ADDRESS depth
 *       how deep the stack of each entry point goes, on its first use in a process and later:
 *       lines `FUNCTION first BYTES later BYTES`
 *   confine NAME ADDRESS locked | space MEGABYTES
 *       under mlockall(MCL_CURRENT|MCL_FUTURE); under RLIMIT_AS of so much more than is used
 *
 * Prints `right N` (of 3) where nothing else is said.
 */
#define _GNU_SOURCE
#include "entries.h"
#include <limits.h>
#include <pthread.h>
#include <stdint.h>
#include <sys/mman.h>
#include <sys/prctl.h>
#include <sys/resource.h>
#include <sys/syscall.h>
#include <sys/wait.h>
#include <unistd.h>

/* As `strace` shows them of lookups without us: several threads, configurations and flags. Memory
 * is malloc's. */
static const int libc_calls[] = {
    SYS_read, SYS_close, SYS_lseek, SYS_mmap, SYS_munmap, SYS_mprotect, SYS_brk, SYS_futex,
    SYS_socket, SYS_connect, SYS_bind, SYS_getsockname, SYS_sendto, SYS_recvfrom, SYS_recvmsg,
#ifdef __GLIBC__
    SYS_openat, SYS_newfstatat, SYS_setsockopt, SYS_ioctl, SYS_sendmmsg, SYS_getrandom, SYS_uname,
    /* an NSS module is loaded with these */
    SYS_pread64,
#else
    SYS_fcntl, SYS_readv,
#ifdef SYS_open
    SYS_open,
#else
    SYS_openat,
#endif
#endif
#ifdef SYS_poll
    SYS_poll,
#else
    SYS_ppoll,
#endif
    /* How the probe itself speaks and ends. */
    SYS_write, SYS_writev, SYS_exit_group,
};

/* What the shim's first lookup makes besides. */
static const int our_calls[] = {
    SYS_fstatfs, SYS_prlimit64,
#ifndef __GLIBC__
    SYS_openat, SYS_newfstatat,
#endif
};

/* What each comparison makes besides where the view is in shadow. */
static const int shadow_calls[] = {SYS_getpid};

/* linux/filter.h and linux/seccomp.h, which musl-gcc does not see. */
struct instruction {
    unsigned short code;
    unsigned char if_true, if_false;
    unsigned value;
};
struct program {
    unsigned short length;
    struct instruction *code;
};
#define ALLOW 0x7fff0000u
#define KILL_PROCESS 0x80000000u
#define FAIL 0x00050000u
#define MODE_FILTER 2
#define COUNT(list) (int)(sizeof(list) / sizeof *(list))

static void allow(struct program *program, const int *numbers, int count)
{
    for (int k = 0; k < count; k++) {
        program->code[program->length++] = (struct instruction){0x15, 0, 1, (unsigned)numbers[k]};
        program->code[program->length++] = (struct instruction){0x06, 0, 0, ALLOW};
    }
}

static int filter(const char *list, unsigned otherwise)
{
    struct instruction code[200] = {{0x20, 0, 0, 0}};
    struct program program = {1, code};
    allow(&program, libc_calls, COUNT(libc_calls));
    int in_shadow = strcmp(list, "shadow") == 0;
    if (in_shadow || strcmp(list, "wide") == 0) allow(&program, our_calls, COUNT(our_calls));
    if (in_shadow) allow(&program, shadow_calls, COUNT(shadow_calls));
    code[program.length++] = (struct instruction){0x06, 0, 0, otherwise};
    if (prctl(PR_SET_NO_NEW_PRIVS, 1, 0, 0, 0) != 0 || prctl(PR_SET_SECCOMP, MODE_FILTER, &program))
        return 0;
    if (strcmp(list, "trip") == 0) getppid();
    return 1;
}

static int thrice(void)
{
    int right = 0;
    for (int k = 0; k < 3; k++) right += look();
    return right;
}

static void *thrice_in_thread(void *right)
{
    *(int *)right = thrice();
    return NULL;
}

static int on_stack(size_t size)
{
    pthread_attr_t attributes;
    pthread_t thread;
    int right = -1;
    pthread_attr_init(&attributes);
    if (pthread_attr_setstacksize(&attributes, size) != 0) return -2;
    if (pthread_create(&thread, &attributes, thrice_in_thread, &right) != 0) return -3;
    pthread_join(thread, NULL);
    return right;
}

/* A stack that is painted before the call; what is no longer paint was used. */
#define PAINTED (256 << 10)
#define PAINT 0xa5
struct work {
    int entry, returned, calls;
    uintptr_t top;
};

static void *one_call(void *work)
{
    struct work *mine = work;
    char here;
    mine->top = (uintptr_t)&here;
    for (int k = 0; k < mine->calls; k++) mine->returned = call_entry(mine->entry, FOUND);
    return NULL;
}

/* The depth below the thread's first frame; negative when the call failed. */
static long depth_of(int entry, int calls)
{
    struct work work = {entry, 0, calls, 0};
    pthread_attr_t attributes;
    pthread_t thread;
    unsigned char *stack = mmap(NULL, PAINTED, PROT_READ | PROT_WRITE,
                                MAP_PRIVATE | MAP_ANONYMOUS, -1, 0), *deepest = stack;
    memset(stack, PAINT, PAINTED);
    pthread_attr_init(&attributes);
    if (pthread_attr_setstack(&attributes, stack, PAINTED) != 0) return -2;
    if (pthread_create(&thread, &attributes, one_call, &work) != 0) return -3;
    pthread_join(thread, NULL);
    if (work.returned != 0) return -1;
    while (*deepest == PAINT) deepest++;
    return (long)(work.top - (uintptr_t)deepest);
}

/* Each entry point's first use is a process's own. */
static void print_depths(void)
{
    for (int entry = 0; entry < ENTRIES; entry++) {
        fflush(stdout);
        pid_t child = fork();
        if (child == 0) {
            long first = depth_of(entry, 1), later = depth_of(entry, 3);
            printf("%s first %ld later %ld\n", entry_text[entry], first, later);
            fflush(stdout);
            _exit(0);
        }
        waitpid(child, NULL, 0);
    }
}

int main(int count, char **argument)
{
    const char *how, *more;
    int right = -1;
    if (count < 4) return 2;
    look_for(argument);
    how = argument[3];
    more = count > 4 ? argument[4] : "";
    if (strcmp(how, "kill") == 0) {
        if (!filter(more, KILL_PROCESS)) return 3;
        right = thrice();
    } else if (strcmp(how, "errno") == 0) {
        if (!filter(more, FAIL | EPERM)) return 3;
        right = thrice();
    } else if (strcmp(how, "stack") == 0) {
        right = on_stack(strcmp(more, "min") ? (size_t)atoi(more) << 10 : (size_t)PTHREAD_STACK_MIN);
    } else if (strcmp(how, "depth") == 0) {
        print_depths();
        return 0;
    } else if (strcmp(how, "locked") == 0) {
        if (mlockall(MCL_CURRENT | MCL_FUTURE) != 0) return 3;
        right = thrice();
    } else if (strcmp(how, "space") == 0) {
        long pages = 0;
        FILE *file = fopen("/proc/self/statm", "r");
        if (!file || fscanf(file, "%ld", &pages) != 1) return 3;
        fclose(file);
        rlim_t space = (rlim_t)pages * 4096 + ((rlim_t)atoi(more) << 20);
        struct rlimit limit = {space, space};
        if (setrlimit(RLIMIT_AS, &limit) != 0) return 3;
        right = thrice();
        /* The program's own memory is there afterwards. */
        void *block = malloc((size_t)atoi(more) << 18);
        if (block == NULL) return 4;
        memset(block, 1, (size_t)atoi(more) << 18);
        free(block);
    }
    dprintf(1, "right %d\n", right);
    return 0;
}
