/* allocator NAME ADDRESS ROUNDS: with `between` (COUNTS) preloaded, the nodes of every list must
 * come from the process's own malloc and go back there. Prints `right N held N left N`: lookups
 * that were right, those with memory of the pool in between, and blocks still given at the end. */
#include "look.h"
#include <stdint.h>

#pragma weak pool_given
#pragma weak pool_taken
int pool_given(void);
int pool_taken(void);

int main(int count, char **argument)
{
    struct addrinfo hints = {.ai_socktype = SOCK_STREAM, .ai_flags = AI_CANONNAME}, *list;
    int right = 0, held = 0, rounds, before;
    if (count != 4 || !pool_given) return 2;
    look_for(argument);
    rounds = atoi(argument[3]);
    /* What the first lookup keeps for ever is not ours to count. */
    right += look();
    before = pool_given() - pool_taken();
    for (int k = 1; k < rounds; k++) {
        list = NULL;
        if (getaddrinfo(look_name, "80", &hints, &list) != 0) continue;
        right += list != NULL && list->ai_canonname != NULL;
        held += pool_given() - pool_taken() > before;
        freeaddrinfo(list);
    }
    printf("right %d held %d left %d\n", right, held, pool_given() - pool_taken() - before);
    return 0;
}
