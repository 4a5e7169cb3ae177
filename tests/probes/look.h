/* look: one lookup of a name whose address is known, for the probes of host processes. */
#ifndef LOOK_H
#define LOOK_H
#include <arpa/inet.h>
#include <errno.h>
#include <netdb.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>

static const char *look_name, *look_address;

/* Whether getaddrinfo answers, and with the address wanted first ("any": with any). */
static inline int look(void)
{
    struct addrinfo hints = {.ai_family = AF_INET, .ai_socktype = SOCK_STREAM}, *list = NULL;
    char text[INET_ADDRSTRLEN] = "";
    if (getaddrinfo(look_name, "80", &hints, &list) != 0) return 0;
    inet_ntop(AF_INET, &((struct sockaddr_in *)list->ai_addr)->sin_addr, text, sizeof text);
    freeaddrinfo(list);
    return strcmp(look_address, "any") == 0 || strcmp(text, look_address) == 0;
}

/* Takes the first two arguments. */
static inline void look_for(char **argument)
{
    look_name = argument[1];
    look_address = argument[2];
}
#endif
