/* errors NAME ADDRESS [ROUNDS]: calls every entry point for a name that is found, for one without
 * such data and for none, and prints for each what it returned and what it did to errno and h_errno:
 *
 *   FUNCTION KIND CODE errno untouched|NUMBER h_errno untouched|NUMBER
 *
 * With ROUNDS all of it so many times and nothing printed: for memory checkers. */
#include "entries.h"

/* Values that no libc sets. */
#define UNTOUCHED 4242

static void print(const char *name, int value)
{
    if (value == UNTOUCHED) printf(" %s untouched", name);
    else printf(" %s %d", name, value);
}

int main(int count, char **argument)
{
    int rounds;
    if (count < 3) return 2;
    look_for(argument);
    rounds = count > 3 ? atoi(argument[3]) : 0;
    for (int k = 0; k < rounds; k++)
        for (int entry = 0; entry < ENTRIES; entry++)
            for (int kind = 0; kind < KINDS; kind++) call_entry(entry, (enum kind)kind);
    if (rounds) return 0;
    for (int entry = 0; entry < ENTRIES; entry++)
        for (int kind = 0; kind < KINDS; kind++) {
            /* The first call of a process reads files: that is not what is looked at. */
            call_entry(entry, (enum kind)kind);
            errno = UNTOUCHED;
            h_errno = UNTOUCHED;
            int code = call_entry(entry, (enum kind)kind), first = errno, second = h_errno;
            printf("%s %s %d", entry_text[entry], kind_text[kind], code);
            print("errno", first);
            print("h_errno", second);
            printf("\n");
        }
    return 0;
}
