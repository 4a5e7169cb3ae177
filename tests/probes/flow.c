/* flow: lookups of a process whose control goes elsewhere in the middle, or whose world changes.
 *
 *   flow NAME ADDRESS forks ROUNDS      threads look up without end while the process forks; each
 *                                       child looks up, forks again, and that child looks up too
 *   flow NAME ADDRESS vfork ROUNDS      the same threads; vfork, and exec of `flow .. once`
 *   flow NAME ADDRESS once              one lookup
 *   flow NAME ADDRESS close             descriptors: all closed before the first lookup and after
 *                                       it; what the program opens in between stays its own
 *   flow NAME ADDRESS jail DIRECTORY before|after
 *                                       chroot before or after the first lookup
 *   flow NAME ADDRESS signals ROUNDS    a timer interrupts lookups all the time
 *   flow NAME ADDRESS jump ROUNDS       the timer's handler leaves the lookup by siglongjmp, in
 *                                       first lookups (a child for each) and in later ones
 *   flow NAME ADDRESS cancel ROUNDS     threads are canceled while they look up for the first time
 *                                       (a child for each) and later
 *
 * Prints `right N of M`, and for `close`, `jump` how many descriptors are left over.
 */
#define _GNU_SOURCE
#include "look.h"
#include <dirent.h>
#include <fcntl.h>
#include <pthread.h>
#include <sched.h>
#include <setjmp.h>
#include <signal.h>
#include <stdatomic.h>
#include <sys/stat.h>
#include <sys/time.h>
#include <sys/wait.h>
#include <unistd.h>

#ifndef PATIENCE
#define PATIENCE 60
#endif

static atomic_int stop, wrong, started, cleaned;

static void *look_on(void *unused)
{
    while (!atomic_load(&stop)) {
        if (!look()) atomic_fetch_add(&wrong, 1);
        atomic_fetch_add(&started, 1);
    }
    return unused;
}

static int descriptors(void)
{
    DIR *directory = opendir("/proc/self/fd");
    int count = 0;
    while (directory && readdir(directory)) count++;
    if (directory) closedir(directory);
    return count;
}

/* Whether a child ended well. */
static int well(pid_t child)
{
    int status;
    return child > 0 && waitpid(child, &status, 0) == child && status == 0;
}

static int fork_twice(void)
{
    pid_t child = fork();
    if (child == 0) {
        alarm(PATIENCE);
        int right = look();
        pid_t grandchild = fork();
        if (grandchild == 0) {
            alarm(PATIENCE);
            _exit(look() ? 0 : 1);
        }
        _exit(well(grandchild) && right && look() ? 0 : 1);
    }
    return well(child);
}

static int vfork_and_exec(char **argument)
{
    char *again[] = {argument[0], argument[1], argument[2], "once", NULL};
    pid_t child = vfork();
    if (child == 0) {
        execv("/proc/self/exe", again);
        _exit(127);
    }
    return well(child);
}

static int beside_threads(int rounds, char **argument)
{
    pthread_t thread[3];
    int right = 0;
    for (int k = 0; k < 3; k++)
        if (pthread_create(&thread[k], NULL, look_on, NULL) != 0) return -1;
    for (int k = 0; k < rounds; k++) right += argument ? vfork_and_exec(argument) : fork_twice();
    atomic_store(&stop, 1);
    for (int k = 0; k < 3; k++) pthread_join(thread[k], NULL);
    return atomic_load(&wrong) ? -1 : right;
}

/* What a daemon does; the three standard ones stay. */
static void close_all(void)
{
    for (int k = 3; k < 1024; k++) close(k);
}

static int close_everything(void)
{
    struct stat before, after;
    int right = 0, before_count, own;
    close_all();
    before_count = descriptors();
    right += look();
    /* The number that a careless library would have kept. */
    own = open("/dev/null", O_RDWR | O_CLOEXEC);
    if (own < 0 || fstat(own, &before) != 0) return -1;
    for (int k = 0; k < 10; k++) right += look();
    if (fstat(own, &after) != 0 || before.st_ino != after.st_ino) return -2;
    close(own);
    close_all();
    right += look();
    printf("left over %d\n", descriptors() - before_count);
    return right;
}

static sigjmp_buf back;
static volatile sig_atomic_t inside, rings;

static void ring(int number)
{
    (void)number;
    rings++;
}

static void jump(int number)
{
    (void)number;
    rings++;
    if (inside) {
        inside = 0;
        siglongjmp(back, 1);
    }
}

static void ring_in(int microseconds, int again)
{
    struct itimerval when = {{0, again}, {0, microseconds}};
    setitimer(ITIMER_REAL, &when, NULL);
}

static void on_alarm(void (*handler)(int), int flags)
{
    struct sigaction action = {.sa_handler = handler, .sa_flags = flags};
    sigemptyset(&action.sa_mask);
    sigaction(SIGALRM, &action, NULL);
}

static int under_signals(int rounds)
{
    int right = 0;
    on_alarm(ring, 0);
    ring_in(50, 50);
    for (int k = 0; k < rounds; k++) right += look();
    ring_in(0, 0);
    if (rings < 10) return -1;
    return right;
}

/* One lookup that the timer may leave; whether it did. */
static int jumped(int microseconds)
{
    if (sigsetjmp(back, 1)) return 1;
    inside = 1;
    ring_in(microseconds, 0);
    for (int k = 0; k < 2000; k++) look();
    inside = 0;
    ring_in(0, 0);
    return 0;
}

static int leave_by_jumps(int rounds)
{
    int right = 0, left = 0, before;
    on_alarm(jump, 0);
    /* First lookups: the state is half made, and must be made again or be whole. */
    for (int k = 0; k < rounds / 10; k++) {
        fflush(stdout);
        pid_t child = fork();
        if (child == 0) {
            jumped(1 + k % 300);
            on_alarm(SIG_DFL, 0);
            alarm(PATIENCE);
            for (int n = 0; n < 10; n++)
                if (!look()) _exit(1);
            _exit(0);
        }
        if (!well(child)) return -1 - k;
    }
    if (!look()) return -1;
    before = descriptors();
    for (int k = 0; k < rounds; k++) {
        left += jumped(1 + k % 100);
        right += look();
    }
    printf("left over %d\n", descriptors() - before);
    return left * 10 > rounds * 9 ? right : -left;
}

static void clean(void *unused)
{
    (void)unused;
    atomic_fetch_add(&cleaned, 1);
}

static void *look_until_canceled(void *unused)
{
    pthread_cleanup_push(clean, NULL);
    atomic_store(&started, 1);
    for (;;) {
        look();
        pthread_testcancel();
    }
    pthread_cleanup_pop(0);
    return unused;
}

/* Whether a thread that looks up is canceled, cleans up, and leaves lookups right. */
static int cancel_one(void)
{
    pthread_t thread;
    void *result;
    atomic_store(&cleaned, 0);
    atomic_store(&started, 0);
    if (pthread_create(&thread, NULL, look_until_canceled, NULL) != 0) return 0;
    while (!atomic_load(&started)) sched_yield();
    pthread_cancel(thread);
    return pthread_join(thread, &result) == 0 && result == PTHREAD_CANCELED &&
           atomic_load(&cleaned) == 1 && look();
}

static int cancel_many(int rounds)
{
    int right = 0;
    for (int k = 0; k < rounds; k++) {
        fflush(stdout);
        pid_t child = fork();
        if (child == 0) {
            alarm(PATIENCE);
            _exit(cancel_one() && cancel_one() ? 0 : 1);
        }
        right += well(child);
    }
    return right;
}

int main(int count, char **argument)
{
    int right = 0, rounds = 1;
    const char *how;
    if (count < 4) return 2;
    look_for(argument);
    how = argument[3];
    if (count > 4) rounds = atoi(argument[4]);
    if (strcmp(how, "once") == 0) return look() ? 0 : 1;
    if (strcmp(how, "forks") == 0) right = beside_threads(rounds, NULL);
    else if (strcmp(how, "vfork") == 0) right = beside_threads(rounds, argument);
    else if (strcmp(how, "close") == 0) {
        rounds = 12;
        right = close_everything();
    } else if (strcmp(how, "signals") == 0) right = under_signals(rounds);
    else if (strcmp(how, "jump") == 0) right = leave_by_jumps(rounds);
    else if (strcmp(how, "cancel") == 0) right = cancel_many(rounds);
    else if (strcmp(how, "jail") == 0 && count == 6) {
        rounds = 2;
        if (strcmp(argument[5], "after") == 0) right += look();
        if (chroot(argument[4]) != 0 || chdir("/") != 0) return 3;
        right += look();
        if (strcmp(argument[5], "before") == 0) right += look();
    } else return 2;
    printf("right %d of %d\n", right, rounds);
    return 0;
}
