/* await: says when names begin to resolve.
 *
 *   await NAME...
 *
 * Asks for each name in turn, about once a millisecond, until it has an IPv4 address, and prints `NAME MICROSECONDS`:
 * the time since 1970. Then does nothing until it is killed.
 */
#define _GNU_SOURCE
#include <netdb.h>
#include <stdio.h>
#include <sys/socket.h>
#include <time.h>
#include <unistd.h>

int main(int count, char **argument)
{
    const struct timespec between = {0, 1000000};
    struct addrinfo hints = {.ai_family = AF_INET, .ai_socktype = SOCK_STREAM}, *list;
    struct timespec time;
    for (int k = 1; k < count; k++) {
        while (getaddrinfo(argument[k], "80", &hints, &list) != 0) nanosleep(&between, NULL);
        clock_gettime(CLOCK_REALTIME, &time);
        freeaddrinfo(list);
        printf("%s %lld\n", argument[k], time.tv_sec * 1000000LL + time.tv_nsec / 1000);
        fflush(stdout);
    }
    for (;;) pause();
}
