/* resolver: calls the functions of resolv.h of whatever libc it was compiled for, on command.
 *
 * Reads one command per line from standard input and answers each with lines of `key value...`, ended
 * by a line holding a single dot. FUNCTION is res_query and so on; with two underscores before it, it
 * is the name that programs linked before glibc 2.34 import.
 *
 *   FUNCTION NAME TYPE SIZE             with a buffer of SIZE bytes; "-" is a null pointer
 *   FUNCTION NAME DOMAIN TYPE SIZE      of the querydomain functions
 *   init                                res_init
 *   patch init|ndots|server|domain|option|retry   changes the thread's state (glibc) behind libc's back
 *   getaddrinfo NAME | gethostbyname NAME    lookups of another kind with that state
 *   state                               what of the state lookups leave behind
 *
 * The message is printed as it parses, so that compression makes no difference: header, question,
 * records; of a call that failed, too.
 */
#define _GNU_SOURCE
#include <arpa/inet.h>
#include <arpa/nameser.h>
#include <errno.h>
#include <netdb.h>
#include <netinet/in.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <resolv.h>

/* A value that no libc sets: whoever leaves it there did not touch it. */
#define UNTOUCHED 4242
#define MAX_WORDS 8
#define FILLER 0xa5

#ifdef __GLIBC__
/* Before 2.34 the header gives the names two underscores, and the library has no others. */
#define OLD(name, ...) \
    extern int old_##name(__VA_ARGS__); \
    __asm__(".symver old_" #name ", __" #name "@GLIBC_2.2.5")
#define ASKED const char *, int, int, unsigned char *, int
#define ASKED_JOINED const char *, const char *, int, int, unsigned char *, int
OLD(res_query, ASKED);
OLD(res_search, ASKED);
OLD(res_querydomain, ASKED_JOINED);
OLD(res_nquery, res_state, ASKED);
OLD(res_nsearch, res_state, ASKED);
OLD(res_nquerydomain, res_state, ASKED_JOINED);
/* The state that the res_n* functions get: one of the program's own. */
static struct __res_state own;
#endif

static unsigned char answer[70000];

/* Prints the name at `at`, as zone files escape it; returns the offset behind it, or -1. */
static int print_name(int at, int end)
{
    int behind = -1, jumps = 0;
    if (at < end && answer[at] == 0) printf(" .");
    else putchar(' ');
    while (at < end && answer[at] != 0) {
        int length = answer[at];
        if (length >= 0xc0) {
            if (at + 1 >= end || jumps++ > 20) return -1;
            if (behind < 0) behind = at + 2;
            at = (length & 0x3f) << 8 | answer[at + 1];
            continue;
        }
        if (at + length >= end) return -1;
        for (int k = 1; k <= length; k++)
            putchar(answer[at + k] > ' ' && answer[at + k] < 127 ? answer[at + k] : '?');
        putchar('.');
        at += length + 1;
    }
    if (at >= end) return -1;
    return behind < 0 ? at + 1 : behind;
}

static int number(int at)
{
    return answer[at] << 8 | answer[at + 1];
}

/* Prints the record at `at`; returns the offset behind it, or -1. */
static int print_record(const char *section, int at, int end)
{
    int kind, length, next;
    printf("record %s", section);
    at = print_name(at, end);
    if (at < 0 || at + 10 > end) return -1;
    kind = number(at);
    length = number(at + 8);
    printf(" %d %d %u", kind, number(at + 2), (unsigned)number(at + 4) << 16 | (unsigned)number(at + 6));
    at += 10;
    next = at + length;
    if (next > end) return -1;
    switch (kind) {
    case 2: case 5: case 12:
        if (print_name(at, end) != next) return -1;
        break;
    case 33:
        printf(" %d %d %d", number(at), number(at + 2), number(at + 4));
        if (print_name(at + 6, end) != next) return -1;
        break;
    case 6:
        at = print_name(at, end);
        if (at < 0) return -1;
        at = print_name(at, end);
        if (at < 0 || at + 20 != next) return -1;
        /* The serial is the server's own. */
        for (int k = 4; k < 20; k += 4)
            printf(" %u", (unsigned)number(at + k) << 16 | (unsigned)number(at + k + 2));
        break;
    default:
        putchar(' ');
        for (; at < next; at++) printf("%02x", answer[at]);
    }
    putchar('\n');
    return next;
}

static void print_message(int length)
{
    static const char *const section[] = {"answer", "authority", "additional"};
    int at = 12;
    if (length < 12) {
        puts("no message");
        return;
    }
    printf("header %02x %02x\n", answer[2], answer[3]);
    for (int k = number(4); k > 0; k--) {
        printf("question");
        at = print_name(at, length);
        if (at < 0 || at + 4 > length) break;
        printf(" %d %d\n", number(at), number(at + 2));
        at += 4;
    }
    for (int part = 0; part < 3; part++)
        for (int k = number(6 + 2 * part); k > 0 && at >= 0; k--) at = print_record(section[part], at, length);
    if (at < 0) puts("\nbroken");
}

/* The bytes that a call that failed has written: up to the last that is no filler. */
static int written(void)
{
    int length = sizeof answer;
    while (length > 0 && answer[length - 1] == FILLER) length--;
    return length;
}

static void print_errors(int failure)
{
    if (errno == UNTOUCHED) puts("errno untouched");
    else printf("errno %d\n", errno);
    if (failure == UNTOUCHED) puts("h_errno untouched");
    else printf("h_errno %d\n", failure);
}

static char *text(char *word)
{
    return strcmp(word, "-") == 0 ? NULL : strcmp(word, "\"\"") == 0 ? "" : word;
}

static void ask(char **word)
{
    const char *function = word[0], *plain = function;
    int joined = strstr(function, "domain") != NULL, old = 0, length = -1000;
    char *name = text(word[1]), *domain = joined ? text(word[2]) : NULL;
    int kind = atoi(word[2 + joined]), size = atoi(word[3 + joined]);
    memset(answer, FILLER, sizeof answer);
    if (strncmp(plain, "__", 2) == 0) {
        plain += 2;
        old = 1;
    }
    (void)old;
    h_errno = UNTOUCHED;
    errno = UNTOUCHED;
#ifdef __GLIBC__
    if (strncmp(plain, "res_n", 5) == 0) own.res_h_errno = UNTOUCHED;
#define CALL(f, ...) if (strcmp(plain, #f) == 0) length = old ? old_##f(__VA_ARGS__) : f(__VA_ARGS__)
    CALL(res_nquery, &own, name, 1, kind, answer, size);
    CALL(res_nsearch, &own, name, 1, kind, answer, size);
    CALL(res_nquerydomain, &own, name, domain, 1, kind, answer, size);
#else
#define CALL(f, ...) if (strcmp(function, #f) == 0) length = f(__VA_ARGS__)
#endif
    CALL(res_query, name, 1, kind, answer, size);
    CALL(res_search, name, 1, kind, answer, size);
    CALL(res_querydomain, name, domain, 1, kind, answer, size);
    print_errors(h_errno);
#ifdef __GLIBC__
    if (strncmp(plain, "res_n", 5) == 0) printf("state %d\n", own.res_h_errno);
#endif
    if (length == -1000) puts("error unknown function");
    else if (length < 0) printf("returned %d\n", length);
    else puts(length <= size ? "returned a length" : "returned more than fits");
    print_message(length < 0 ? written() : length < size ? length : size);
}

/* Addresses by functions that are not of resolv.h. */
static void look_up(const char *function, const char *name)
{
    char text[INET_ADDRSTRLEN];
    if (strcmp(function, "gethostbyname") == 0) {
        struct hostent *host = gethostbyname(name);
        puts(host ? inet_ntop(AF_INET, host->h_addr_list[0], text, sizeof text) : "none");
    } else {
        struct addrinfo hints = {.ai_family = AF_INET, .ai_socktype = SOCK_STREAM}, *list = NULL;
        int code = getaddrinfo(name, NULL, &hints, &list);
        if (code) printf("error %d\n", code);
        else puts(inet_ntop(AF_INET, &((struct sockaddr_in *)list->ai_addr)->sin_addr, text, sizeof text));
        if (list) freeaddrinfo(list);
    }
}

#ifdef __GLIBC__
static void patch(const char *what)
{
    if (strcmp(what, "init") == 0) res_init();
    if (strcmp(what, "ndots") == 0) _res.ndots = 1;
    if (strcmp(what, "server") == 0) _res.nsaddr_list[0].sin_addr.s_addr = htonl(INADDR_LOOPBACK);
    if (strcmp(what, "domain") == 0) _res.defdname[0] ^= 1;
    if (strcmp(what, "option") == 0) _res.options &= ~(unsigned long)RES_DNSRCH;
    if (strcmp(what, "retry") == 0) _res.retry += 1;
}

static void print_state(void)
{
    printf("options %lx ndots %d servers %d first %s domain %s sort %d\n", _res.options, (int)_res.ndots,
           _res.nscount, inet_ntoa(_res.nsaddr_list[0].sin_addr), _res.dnsrch[0] ? _res.dnsrch[0] : "-",
           (int)_res.nsort);
}
#endif

static void obey(char **word, int count)
{
    while (count < MAX_WORDS) word[count++] = "0";
#ifdef __GLIBC__
    if (strcmp(word[0], "patch") == 0) patch(word[1]);
    else if (strcmp(word[0], "state") == 0) print_state();
    else
#endif
    if (strncmp(word[0], "get", 3) == 0) look_up(word[0], word[1]);
    else if (strcmp(word[0], "init") == 0) printf("returned %d\n", res_init());
    else ask(word);
    puts(".");
    fflush(stdout);
}

int main(void)
{
    static char line[65536];
#ifdef __GLIBC__
    if (res_ninit(&own) != 0) return 1;
#endif
    while (fgets(line, sizeof line, stdin)) {
        char *word[MAX_WORDS + 1];
        int words = 0;
        for (char *part = strtok(line, " \n"); part && words < MAX_WORDS; part = strtok(NULL, " \n"))
            word[words++] = part;
        if (words) obey(word, words);
    }
    return 0;
}
