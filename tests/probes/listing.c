/* listing NAME ADDRESS ROUNDS: a thread lists the loaded objects without end, so that the loader's
 * lock is taken most of the time, while the process forks. Each child's first lookup must give
 * ADDRESS in time. Prints `right N of M`; a child that hangs is ended by an alarm. */
#define _GNU_SOURCE
#include "look.h"
#include <link.h>
#include <pthread.h>
#include <sched.h>
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
        while (!atomic_load(&busy)) sched_yield();
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
    int right, rounds;
    if (count != 4) return 2;
    look_for(argument);
    rounds = atoi(argument[3]);
    right = fork_rounds(rounds);
    printf("right %d of %d\n", right, rounds);
    return right == rounds ? 0 : 1;
}
