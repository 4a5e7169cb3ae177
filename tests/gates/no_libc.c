/*
 * A position-independent program without any libc: it has an interpreter and no NEEDED, as Go makes
 * them without cgo. Starting is half of the test. The other half: it may call what a preloaded
 * library exports, and must get a number back.
 *
 * Built with -nostdlib -pie.
 */
#define WEAK __attribute__((weak))

extern WEAK int getaddrinfo(const char *, const char *, const void *, void **);

#if defined(__x86_64__)
static long call(long number, long a, long b, long c)
{
    long result;
    __asm__ volatile("syscall"
                     : "=a"(result)
                     : "a"(number), "D"(a), "S"(b), "d"(c)
                     : "rcx", "r11", "memory");
    return result;
}
enum { WRITE = 1, EXIT = 231 };
#elif defined(__aarch64__)
static long call(long number, long a, long b, long c)
{
    register long x8 __asm__("x8") = number;
    register long x0 __asm__("x0") = a;
    register long x1 __asm__("x1") = b;
    register long x2 __asm__("x2") = c;
    __asm__ volatile("svc 0" : "+r"(x0) : "r"(x8), "r"(x1), "r"(x2) : "memory");
    return x0;
}
enum { WRITE = 64, EXIT = 94 };
#endif

static void say(const char *text)
{
    long length = 0;
    while (text[length])
        length++;
    call(WRITE, 1, (long)text, length);
}

__attribute__((used, force_align_arg_pointer)) static void body(void)
{
    void *list = 0;
    say("started\n");
    if (!getaddrinfo)
        say("no getaddrinfo\n");
    else if (getaddrinfo("api", 0, 0, &list) < 0)
        say("refused\n");
    else
        say("answered\n");
    call(EXIT, 0, 0, 0);
}

#if defined(__x86_64__)
__asm__(".globl _start\n_start:\n\txor %ebp, %ebp\n\tand $-16, %rsp\n\tcall body\n\thlt\n");
#elif defined(__aarch64__)
__asm__(".globl _start\n_start:\n\tbl body\n\tbrk 1\n");
#endif
