/* fetch HOST PORT: the smallest client. Prints the address that it connected to, and what a GET of
 * "/" brought after the header. Ends with 1 when the name has no address, 2 when none can be
 * reached. */
#define _POSIX_C_SOURCE 200809L
#include <netdb.h>
#include <stdio.h>
#include <string.h>
#include <sys/socket.h>
#include <unistd.h>

static int connect_to(const struct addrinfo *list)
{
    char text[64];
    for (const struct addrinfo *each = list; each; each = each->ai_next) {
        int fd = socket(each->ai_family, each->ai_socktype, each->ai_protocol);
        if (fd >= 0 && connect(fd, each->ai_addr, each->ai_addrlen) == 0) {
            getnameinfo(each->ai_addr, each->ai_addrlen, text, sizeof text, NULL, 0,
                        NI_NUMERICHOST);
            puts(text);
            return fd;
        }
        if (fd >= 0)
            close(fd);
    }
    return -1;
}

int main(int argc, char **argv)
{
    static const char request[] = "GET / HTTP/1.0\r\n\r\n";
    struct addrinfo hints = {.ai_socktype = SOCK_STREAM}, *list = NULL;
    char answer[4096] = "";
    size_t length = 0;
    ssize_t got;
    if (argc != 3)
        return 3;
    int error = getaddrinfo(argv[1], argv[2], &hints, &list);
    if (error != 0) {
        printf("%s: %s\n", argv[1], gai_strerror(error));
        return 1;
    }
    int fd = connect_to(list);
    freeaddrinfo(list);
    if (fd < 0)
        return 2;
    if (write(fd, request, sizeof request - 1) < 0)
        return 2;
    while (length < sizeof answer - 1 &&
           (got = read(fd, answer + length, sizeof answer - 1 - length)) > 0)
        length += (size_t)got;
    close(fd);
    const char *body = strstr(answer, "\r\n\r\n");
    fputs(body ? body + 4 : "no header\n", stdout);
    return 0;
}
