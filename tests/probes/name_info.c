/* name_info: calls getnameinfo of whatever libc it was compiled for, on command.
 *
 * Reads one command per line from standard input and answers each with lines of `key value...`, ended
 * by a line holding a single dot.
 *
 *   name ADDRESS PORT FLAGS HOST_SIZE SERVICE_SIZE SCOPE LENGTH
 *
 * A size of -1 is a null pointer with the size 0, LENGTH 0 the length of the address's own struct.
 */
#define _GNU_SOURCE
#include <arpa/inet.h>
#include <errno.h>
#include <netdb.h>
#include <netinet/in.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>

/* A value that no libc sets: whoever leaves it there did not touch errno. */
#define UNTOUCHED 4242
#define WORDS 8
#define FILLER '~'

static char host[2048], service[2048];

/* What is in a buffer of `size` bytes, and whether the byte behind it is as it was. */
static void print_buffer(const char *key, const char *buffer, int size)
{
    int shown = size < 0 ? 0 : size;
    printf("%s ", key);
    for (int k = 0; k < shown && buffer[k] && buffer[k] != FILLER; k++) putchar(buffer[k]);
    putchar('\n');
    if (buffer[shown] != FILLER) printf("%s overrun\n", key);
}

static void ask(char **word)
{
    struct sockaddr_in6 six;
    struct sockaddr_in four;
    struct sockaddr *address = (void *)&six;
    socklen_t length = sizeof six;
    int host_size = atoi(word[4]), service_size = atoi(word[5]), code;
    memset(&six, 0, sizeof six);
    memset(&four, 0, sizeof four);
    if (inet_pton(AF_INET, word[1], &four.sin_addr) == 1) {
        four.sin_family = AF_INET;
        four.sin_port = htons((unsigned short)atoi(word[2]));
        address = (void *)&four;
        length = sizeof four;
    } else {
        inet_pton(AF_INET6, word[1], &six.sin6_addr);
        six.sin6_family = AF_INET6;
        six.sin6_port = htons((unsigned short)atoi(word[2]));
        six.sin6_scope_id = (unsigned)atoi(word[6]);
    }
    if (atoi(word[7])) length = (socklen_t)atoi(word[7]);
    memset(host, FILLER, sizeof host);
    memset(service, FILLER, sizeof service);
    errno = UNTOUCHED;
    code = getnameinfo(address, length, host_size < 0 ? NULL : host, host_size < 0 ? 0 : (socklen_t)host_size,
                       service_size < 0 ? NULL : service, service_size < 0 ? 0 : (socklen_t)service_size,
                       (int)strtol(word[3], NULL, 0));
    printf("returned %d\n", code);
    if (code == 0) {
        print_buffer("host", host, host_size);
        print_buffer("service", service, service_size);
    }
}

int main(void)
{
    char line[4096];
    while (fgets(line, sizeof line, stdin)) {
        char *word[WORDS] = {"", "0", "0", "0", "-1", "-1", "0", "0"};
        int words = 0;
        for (char *part = strtok(line, " \n"); part && words < WORDS; part = strtok(NULL, " \n"))
            word[words++] = part;
        ask(word);
        puts(".");
        fflush(stdout);
    }
    return 0;
}
