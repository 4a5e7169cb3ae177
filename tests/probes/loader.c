/* loader: lookups in plugins.
 *
 *   loader NAME ADDRESS plugin FILE       dlopen of FILE, which looks up when it is asked, or whose
 *                                         constructor waits for a thread that does
 *   loader NAME ADDRESS deepbind FILE     the same with RTLD_DEEPBIND
 *
 * Prints `right N of 1`; one that hangs is ended by an alarm.
 */
#define _GNU_SOURCE
#include "look.h"
#include <dlfcn.h>
#include <unistd.h>

/* A lookup in memory takes a microsecond, one that hangs takes for ever. */
#define PATIENCE 20

int main(int count, char **argument)
{
    int mode = RTLD_NOW, right;
    int (*found)(const char *, const char *);
    void *plugin;
    if (count != 5) return 2;
    look_for(argument);
    alarm(PATIENCE);
#ifdef RTLD_DEEPBIND
    if (strcmp(argument[3], "deepbind") == 0) mode |= RTLD_DEEPBIND;
#endif
    plugin = dlopen(argument[4], mode);
    if (plugin == NULL) {
        puts(dlerror());
        return 2;
    }
    found = (int (*)(const char *, const char *))dlsym(plugin, "found");
    right = found ? found(look_name, look_address) : -1;
    printf("right %d of 1\n", right);
    return right == 1 ? 0 : 1;
}
