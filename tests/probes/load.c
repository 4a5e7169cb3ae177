/* load: looks names up without pause, and says how many lookups were wrong.
 *
 *   load MILLISECONDS NAME=ADDRESS...   until SIGTERM: a round over all names every so many milliseconds
 *   load once NAME=ADDRESS...           one round; status 1 when a lookup was wrong
 *   load wait                           looks nothing up: the process of a pod that something else is run in
 *
 * ADDRESS is the first IPv4 address wanted; `any` is any address, `none` is that the name does not exist.
 * Every 16th round is made by a new process (`load once`), as a program that starts then would see it.
 *
 * A wrong lookup is a line `failure NAME got WHAT after MICROSECONDS us`. About once a second, and at the end:
 * `lookups N failures N processes N slowest MICROSECONDS`; the lookups of new processes are counted, their
 * slowest is not (they map everything anew).
 */
#define _GNU_SOURCE
#include <arpa/inet.h>
#include <netdb.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>
#include <sys/wait.h>
#include <time.h>
#include <unistd.h>

static volatile sig_atomic_t ended;
static unsigned long lookups, failures, processes;
static long slowest;

static void end(int unused)
{
    (void)unused;
    ended = 1;
}

static long now(void)
{
    struct timespec time;
    clock_gettime(CLOCK_MONOTONIC, &time);
    return time.tv_sec * 1000000L + time.tv_nsec / 1000;
}

/* One lookup; returns whether it was right. */
static int look(char *wish)
{
    struct addrinfo hints = {.ai_family = AF_INET, .ai_socktype = SOCK_STREAM}, *list = NULL;
    char name[1025], text[INET_ADDRSTRLEN] = "nothing", *wanted = strchr(wish, '=');
    long began = now(), took;
    const char *got = text;
    int code, right;
    snprintf(name, sizeof name, "%.*s", (int)(wanted - wish), wish);
    wanted++;
    code = getaddrinfo(name, "80", &hints, &list);
    took = now() - began;
    if (took > slowest) slowest = took;
    if (code == 0) {
        inet_ntop(AF_INET, &((struct sockaddr_in *)list->ai_addr)->sin_addr, text, sizeof text);
        freeaddrinfo(list);
        right = strcmp(wanted, "any") == 0 || strcmp(wanted, text) == 0;
    } else {
        got = gai_strerror(code);
        right = strcmp(wanted, "none") == 0 && (code == EAI_NONAME || code == EAI_NODATA);
    }
    lookups++;
    if (!right) {
        failures++;
        printf("failure %s got %s after %ld us\n", name, got, took);
        fflush(stdout);
    }
    return right;
}

/* A round in a new process: argument 1 becomes `once`. */
static void in_new_process(int count, char **argument)
{
    pid_t child;
    int status = 0;
    fflush(stdout);
    child = fork();
    if (child == 0) {
        argument[1] = "once";
        execv("/proc/self/exe", argument);
        _exit(127);
    }
    processes++;
    lookups += (unsigned long)count;
    if (child < 0 || waitpid(child, &status, 0) != child || (status != 0 && !(WIFSIGNALED(status) && ended))) {
        failures++;
        printf("failure a new process got status %d after 0 us\n", status);
    }
}

static void report(void)
{
    printf("lookups %lu failures %lu processes %lu slowest %ld\n", lookups, failures, processes, slowest);
    fflush(stdout);
}

int main(int count, char **argument)
{
    struct sigaction action = {.sa_handler = end, .sa_flags = SA_RESTART};
    struct timespec between = {0, 0};
    long interval, said;
    int once;
    if (count < 2) return 2;
    sigaction(SIGTERM, &action, NULL);
    while (strcmp(argument[1], "wait") == 0) {
        if (ended) return 0;
        usleep(100000);
    }
    for (int k = 2; k < count; k++)
        if (!strchr(argument[k], '=')) return 2;
    once = strcmp(argument[1], "once") == 0;
    interval = once ? 0 : atol(argument[1]);
    between.tv_sec = interval / 1000;
    between.tv_nsec = interval % 1000 * 1000000;
    said = now();
    for (unsigned long round = 1; !ended; round++) {
        if (!once && round % 16 == 0)
            in_new_process(count - 2, argument);
        else
            for (int k = 2; k < count; k++) look(argument[k]);
        if (once) return failures ? 1 : 0;
        if (now() - said > 1000000 || round == 1) {
            report();
            said = now();
        }
        nanosleep(&between, NULL);
    }
    report();
    return failures ? 1 : 0;
}
