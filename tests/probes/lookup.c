/* lookup: calls the resolver functions of whatever libc it was compiled for, on command.
 *
 * Reads one command per line from standard input (or takes one from its arguments) and answers
 * each with lines of `key value...`, ended by a line holding a single dot. It is one warm process
 * for as long as its input stays open. Words are separated by blanks; %XX in a word is a byte, and
 * the word "-" is a null pointer.
 *
 *   gai NODE SERVICE FAMILY SOCKTYPE PROTOCOL FLAGS    getaddrinfo; FAMILY "null": no hints
 *   host NAME | host2 NAME FAMILY                      gethostbyname, gethostbyname2
 *   hostr NAME SIZE | host2r NAME FAMILY SIZE          the _r forms with a buffer of SIZE bytes
 *   addr ADDRESS                                       gethostbyaddr
 *   addrr ADDRESS SIZE                                 gethostbyaddr_r (glibc and musl)
 *   name ADDRESS PORT FLAGS                            getnameinfo
 *   descriptors                                        how many are open
 *   limit NUMBER                                       open no descriptor from NUMBER on
 */
#define _GNU_SOURCE
#include <arpa/inet.h>
#include <dirent.h>
#include <errno.h>
#include <netdb.h>
#include <netinet/in.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/resource.h>
#include <sys/socket.h>

/* A value that no libc sets: whoever leaves it there did not touch errno. */
#define UNTOUCHED 4242
#define MAX_WORDS 8

#ifndef EAI_NODATA
#define EAI_NODATA -5
#endif

static const char *error_name(int code)
{
    switch (code) {
    case EAI_BADFLAGS: return "EAI_BADFLAGS";
    case EAI_NONAME: return "EAI_NONAME";
    case EAI_AGAIN: return "EAI_AGAIN";
    case EAI_FAIL: return "EAI_FAIL";
    case EAI_NODATA: return "EAI_NODATA";
    case EAI_FAMILY: return "EAI_FAMILY";
    case EAI_SOCKTYPE: return "EAI_SOCKTYPE";
    case EAI_SERVICE: return "EAI_SERVICE";
    case -9: return "EAI_ADDRFAMILY";
    case EAI_MEMORY: return "EAI_MEMORY";
    case EAI_SYSTEM: return "EAI_SYSTEM";
    case EAI_OVERFLOW: return "EAI_OVERFLOW";
    }
    return "EAI_?";
}

static int family_number(const char *word)
{
    if (strcmp(word, "INET") == 0) return AF_INET;
    if (strcmp(word, "INET6") == 0) return AF_INET6;
    if (strcmp(word, "UNSPEC") == 0) return AF_UNSPEC;
    return atoi(word);
}

static const char *family_name(int family)
{
    return family == AF_INET ? "INET" : family == AF_INET6 ? "INET6" : "?";
}

/* Decodes %XX in place; the word "-" becomes a null pointer. */
static char *decode(char *word)
{
    char *from = word, *to = word;
    if (strcmp(word, "-") == 0) return NULL;
    while (*from) {
        unsigned byte;
        if (*from == '%' && sscanf(from + 1, "%2x", &byte) == 1) {
            *to++ = (char)byte;
            from += 3;
        } else {
            *to++ = *from++;
        }
    }
    *to = 0;
    return word;
}

static void print_errno(void)
{
    if (errno == UNTOUCHED) puts("errno untouched");
    else printf("errno %d\n", errno);
}

static void print_addrinfo(const struct addrinfo *entry)
{
    char text[INET6_ADDRSTRLEN] = "?";
    unsigned port = 0, scope = 0;
    if (entry->ai_family == AF_INET && entry->ai_addrlen == sizeof(struct sockaddr_in)) {
        const struct sockaddr_in *in = (const void *)entry->ai_addr;
        inet_ntop(AF_INET, &in->sin_addr, text, sizeof text);
        port = ntohs(in->sin_port);
    } else if (entry->ai_family == AF_INET6 && entry->ai_addrlen == sizeof(struct sockaddr_in6)) {
        const struct sockaddr_in6 *in = (const void *)entry->ai_addr;
        inet_ntop(AF_INET6, &in->sin6_addr, text, sizeof text);
        port = ntohs(in->sin6_port);
        scope = in->sin6_scope_id;
    }
    if (entry->ai_addr == NULL || entry->ai_addr->sa_family != entry->ai_family) puts("broken family");
    printf("entry %s %d/%d %s %u flags=0x%x scope=%u canonical=%s\n", family_name(entry->ai_family),
           entry->ai_socktype, entry->ai_protocol, text, port, (unsigned)entry->ai_flags, scope,
           entry->ai_canonname ? entry->ai_canonname : "-");
}

static void run_getaddrinfo(char **word)
{
    struct addrinfo hints, *list = NULL;
    int without = strcmp(word[3], "null") == 0, code;
    memset(&hints, 0, sizeof hints);
    if (!without) {
        hints.ai_family = family_number(word[3]);
        hints.ai_socktype = atoi(word[4]);
        hints.ai_protocol = atoi(word[5]);
        hints.ai_flags = (int)strtol(word[6], NULL, 0);
    }
    errno = UNTOUCHED;
    code = getaddrinfo(decode(word[1]), decode(word[2]), without ? NULL : &hints, &list);
    print_errno();
    if (code) {
        printf("error %s\n", error_name(code));
        return;
    }
    for (struct addrinfo *entry = list; entry; entry = entry->ai_next) print_addrinfo(entry);
    freeaddrinfo(list);
}

static void print_hostent(const struct hostent *host, int failure)
{
    char text[INET6_ADDRSTRLEN];
    print_errno();
    if (host == NULL) {
        printf("error h_errno=%d\n", failure);
        return;
    }
    printf("name %s\n", host->h_name);
    for (char **alias = host->h_aliases; *alias; alias++) printf("alias %s\n", *alias);
    for (char **address = host->h_addr_list; *address; address++)
        printf("address %s %s\n", family_name(host->h_addrtype),
               host->h_length == (host->h_addrtype == AF_INET ? 4 : 16)
                   ? inet_ntop(host->h_addrtype, *address, text, sizeof text) : "broken length");
}

static void print_reentrant(int code, const struct hostent *host, int failure)
{
    if (code == ERANGE) {
        puts("error ERANGE");
        return;
    }
    print_hostent(host, failure);
}

/* An address in text form to its bytes; 0 when it is none. */
static int parse_address(const char *text, unsigned char *bytes, socklen_t *length)
{
    if (inet_pton(AF_INET, text, bytes) == 1) {
        *length = 4;
        return AF_INET;
    }
    if (inet_pton(AF_INET6, text, bytes) == 1) {
        *length = 16;
        return AF_INET6;
    }
    return 0;
}

static void run_getnameinfo(char **word)
{
    struct sockaddr_storage address;
    unsigned char bytes[16];
    char host[NI_MAXHOST], service[NI_MAXSERV];
    socklen_t length = 0;
    int family = parse_address(word[1], bytes, &length), code;
    memset(&address, 0, sizeof address);
    if (family == AF_INET) {
        struct sockaddr_in *in = (void *)&address;
        in->sin_family = AF_INET;
        in->sin_port = htons((unsigned short)atoi(word[2]));
        memcpy(&in->sin_addr, bytes, 4);
        length = sizeof *in;
    } else {
        struct sockaddr_in6 *in = (void *)&address;
        in->sin6_family = AF_INET6;
        in->sin6_port = htons((unsigned short)atoi(word[2]));
        memcpy(&in->sin6_addr, bytes, 16);
        length = sizeof *in;
    }
    errno = UNTOUCHED;
    code = getnameinfo((void *)&address, length, host, sizeof host, service, sizeof service,
                       (int)strtol(word[3], NULL, 0));
    print_errno();
    if (code) printf("error %s\n", error_name(code));
    else printf("name %s\nservice %s\n", host, service);
}

static void run_host(char **word, const char *verb)
{
    struct hostent result, *host = NULL;
    unsigned char bytes[16];
    socklen_t length = 0;
    int failure = 0, code, family;
    char *buffer = NULL;
    size_t size = 0;
    h_errno = 0;
    errno = UNTOUCHED;
    if (strcmp(verb, "host") == 0) {
        host = gethostbyname(decode(word[1]));
        print_hostent(host, h_errno);
        return;
    }
    if (strcmp(verb, "host2") == 0) {
        host = gethostbyname2(decode(word[1]), family_number(word[2]));
        print_hostent(host, h_errno);
        return;
    }
    if (strcmp(verb, "addr") == 0) {
        family = parse_address(word[1], bytes, &length);
        host = gethostbyaddr(bytes, length, family);
        print_hostent(host, h_errno);
        return;
    }
    size = (size_t)atoi(strcmp(verb, "host2r") == 0 ? word[3] : word[2]);
    buffer = malloc(size ? size : 1);
    errno = UNTOUCHED;
    if (strcmp(verb, "hostr") == 0) {
        code = gethostbyname_r(decode(word[1]), &result, buffer, size, &host, &failure);
    } else if (strcmp(verb, "host2r") == 0) {
        code = gethostbyname2_r(decode(word[1]), family_number(word[2]), &result, buffer, size,
                                &host, &failure);
    } else {
        family = parse_address(word[1], bytes, &length);
        code = gethostbyaddr_r(bytes, length, family, &result, buffer, size, &host, &failure);
    }
    print_reentrant(code, host, failure);
    free(buffer);
}

static void count_descriptors(void)
{
    DIR *directory = opendir("/proc/self/fd");
    int count = 0;
    while (directory && readdir(directory)) count++;
    if (directory) closedir(directory);
    /* without ".", ".." and the directory's own */
    printf("descriptors %d\n", count - 3);
}

static void obey(char **word, int count)
{
    while (count < MAX_WORDS) word[count++] = "0";
    if (strcmp(word[0], "gai") == 0) run_getaddrinfo(word);
    else if (strcmp(word[0], "name") == 0) run_getnameinfo(word);
    else if (strcmp(word[0], "descriptors") == 0) count_descriptors();
    else if (strcmp(word[0], "limit") == 0) {
        struct rlimit limit = {.rlim_cur = (rlim_t)atoi(word[1]), .rlim_max = (rlim_t)atoi(word[1])};
        if (setrlimit(RLIMIT_NOFILE, &limit) != 0) puts("error setrlimit");
    }
    else if (strncmp(word[0], "host", 4) == 0 || strncmp(word[0], "addr", 4) == 0)
        run_host(word, word[0]);
    else puts("error unknown command");
    puts(".");
    fflush(stdout);
}

int main(int count, char **arguments)
{
    static char line[65536];
    if (count > 1) {
        char *word[MAX_WORDS + 1];
        int words = 0;
        for (int k = 1; k < count && words < MAX_WORDS; k++) word[words++] = strdup(arguments[k]);
        obey(word, words);
        return 0;
    }
    while (fgets(line, sizeof line, stdin)) {
        char *word[MAX_WORDS + 1];
        int words = 0;
        for (char *part = strtok(line, " \n"); part && words < MAX_WORDS; part = strtok(NULL, " \n"))
            word[words++] = part;
        if (words) obey(word, words);
    }
    return 0;
}
