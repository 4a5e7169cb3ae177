/* loader: first lookups while somebody else holds the dynamic loader's lock.
 *
 *   loader NAME ADDRESS fork ROUNDS       a thread lists the objects without end (the loader's lock
 *                                         is taken most of the time) while the process forks; each
 *                                         child's first lookup must give ADDRESS in time
 *   loader NAME ADDRESS plugin FILE       dlopen of FILE, whose constructor waits for a thread that
 *                                         looks up for the first time
 *   loader NAME ADDRESS deepbind FILE     dlopen(RTLD_DEEPBIND) of FILE, which looks up by itself
 *
 * Prints `right N of M`; one that hangs is ended by an alarm.
 */
#define _GNU_SOURCE
#include "look.h"
#include <dlfcn.h>
#include <link.h>
#include <pthread.h>
#include <signal.h>
#include <stdatomic.h>
#include <sys/wait.h>
#include <unistd.h>

/* A lookup in memory takes a microsecond, one that hangs takes for ever. */
#define PATIENCE 20

static atomic_int busy;

static int count_objects(struct dl_phdr_info *info, size_t size, void *count)
{
    (void)info;
    (void)size;
    for (volatile int k = 0; k < 5000; k++) {}
    atomic_store(&busy, 1);
    ++*(int *)count;
    return 0;
}

static void *list_objects(void *unused)
{
    int count = 0;
    for (;;) dl_iterate_phdr(count_objects, &count);
    return unused;
}

static int fork_rounds(int rounds)
{
    pthread_t thread;
    int right = 0, status;
    if (pthread_create(&thread, NULL, list_objects, NULL) != 0) return -1;
    for (int k = 0; k < rounds; k++) {
        atomic_store(&busy, 0);
        while (!atomic_load(&busy)) {}
        pid_t child = fork();
        if (child == 0) {
            alarm(PATIENCE);
            _exit(look() ? 0 : 1);
        }
        if (child < 0 || waitpid(child, &status, 0) != child) return -1;
        if (WIFSIGNALED(status)) {
            printf("round %d: signal %d\n", k, WTERMSIG(status));
            break;
        }
        right += status == 0;
    }
    return right;
}

int main(int count, char **argument)
{
    int right = 0, rounds = 1;
    if (count != 5) return 2;
    look_for(argument);
    if (strcmp(argument[3], "fork") == 0) {
        rounds = atoi(argument[4]);
        right = fork_rounds(rounds);
    } else {
        int mode = RTLD_NOW;
        alarm(PATIENCE);
#ifdef RTLD_DEEPBIND
        if (strcmp(argument[3], "deepbind") == 0) mode |= RTLD_DEEPBIND;
#endif
        void *plugin = dlopen(argument[4], mode);
        int (*found)(const char *, const char *);
        if (plugin == NULL) {
            puts(dlerror());
            return 2;
        }
        found = (int (*)(const char *, const char *))dlsym(plugin, "found");
        right = found ? found(look_name, look_address) : -1;
    }
    printf("right %d of %d\n", right, rounds);
    return right == rounds ? 0 : 1;
}
