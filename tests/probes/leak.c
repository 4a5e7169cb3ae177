/* leak NAME ADDRESS 1: loses the list of one lookup, for the control of leak checkers. */
#include "look.h"

static struct addrinfo *volatile list;

int main(int count, char **argument)
{
    struct addrinfo *lost = NULL;
    if (count < 3) return 2;
    look_for(argument);
    if (getaddrinfo(look_name, "80", NULL, &lost) != 0) return 3;
    list = lost;
    lost = NULL;
    list = NULL;
    return 0;
}
