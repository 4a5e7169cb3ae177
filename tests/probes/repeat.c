/* repeat: one lookup after the other in one process, for a tracer to look at.
 *
 *   repeat COUNT [!]NAME/FAMILY/FLAGS...
 *
 * Makes every call once, then calls getppid, then makes COUNT of them in turn, then calls getppid
 * again: what a tracer sees in between belongs to warm lookups. Prints nothing; fails with status 1
 * when a lookup does, or when one with `!` does not.
 */
#include <netdb.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>
#include <unistd.h>

#define MOST 16

static char *name[MOST];
static int fails[MOST];
static struct addrinfo hints[MOST];

static int look_up(int which)
{
    struct addrinfo *list;
    if (getaddrinfo(name[which], "80", &hints[which], &list) != 0) return !fails[which];
    if (fails[which]) return 1;
    freeaddrinfo(list);
    return 0;
}

int main(int count, char **arguments)
{
    int kinds = count - 2;
    long left = count > 2 ? atol(arguments[1]) : 0;
    if (left < 1 || kinds > MOST) return 2;
    for (int k = 0; k < kinds; k++) {
        char *family = strchr(arguments[k + 2], '/'), *flags = family ? strchr(family + 1, '/') : NULL;
        if (!flags) return 2;
        *family++ = *flags++ = 0;
        fails[k] = arguments[k + 2][0] == '!';
        name[k] = arguments[k + 2] + fails[k];
        hints[k].ai_family = atoi(family);
        hints[k].ai_flags = (int)strtol(flags, NULL, 0);
        if (look_up(k)) return 1;
    }
    getppid();
    for (long k = 0; k < left; k++)
        if (look_up((int)(k % kinds))) return 1;
    getppid();
    return 0;
}
