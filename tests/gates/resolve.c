/*
 * Resolves each argument with getaddrinfo (AF_INET, SOCK_STREAM) and prints "name address" or
 * "name error N"; frees every list. For programs of all kinds: dynamic, static, any libc.
 */
#include <arpa/inet.h>
#include <netdb.h>
#include <stdio.h>
#include <string.h>

/*
 * Set to the address of freeaddrinfo in code: a program that is not position-independent then has
 * an entry of its own that every library sees as the function's address.
 */
static void (*volatile release)(struct addrinfo *);

int main(int count, char **names)
{
    release = freeaddrinfo;
    for (int i = 1; i < count; i++) {
        struct addrinfo hints, *list = NULL;
        memset(&hints, 0, sizeof hints);
        hints.ai_family = AF_INET;
        hints.ai_socktype = SOCK_STREAM;
        int error = getaddrinfo(names[i], NULL, &hints, &list);
        if (error) {
            printf("%s error %d\n", names[i], error);
            continue;
        }
        char text[INET_ADDRSTRLEN];
        struct sockaddr_in *address = (struct sockaddr_in *)list->ai_addr;
        printf("%s %s\n", names[i], inet_ntop(AF_INET, &address->sin_addr, text, sizeof text));
        release(list);
    }
    return 0;
}
