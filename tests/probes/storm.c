/* storm: many threads on small stacks resolve one name while the process forks and forks.
 *
 *   storm NAME ADDRESS THREADS ROUNDS STACK_KILOBYTES FORKS
 *
 * Every lookup, in every thread and in every child, must give ADDRESS first. Prints
 * `lookups N failures N` and ends with 0 when none failed.
 */
#define _GNU_SOURCE
#include <arpa/inet.h>
#include <netdb.h>
#include <pthread.h>
#include <stdatomic.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/wait.h>
#include <unistd.h>

static const char *name, *wanted;
static int rounds;
static atomic_int lookups, failures;

static void look(void)
{
    struct addrinfo hints = {.ai_family = AF_INET, .ai_socktype = SOCK_STREAM}, *list = NULL;
    char text[INET_ADDRSTRLEN] = "";
    atomic_fetch_add(&lookups, 1);
    if (getaddrinfo(name, "80", &hints, &list) != 0) {
        atomic_fetch_add(&failures, 1);
        return;
    }
    inet_ntop(AF_INET, &((struct sockaddr_in *)list->ai_addr)->sin_addr, text, sizeof text);
    if (strcmp(text, wanted) != 0) atomic_fetch_add(&failures, 1);
    freeaddrinfo(list);
}

static void *work(void *unused)
{
    (void)unused;
    for (int k = 0; k < rounds; k++) look();
    return NULL;
}

int main(int count, char **argument)
{
    pthread_attr_t attributes;
    pthread_t thread[64];
    int threads, forks, status;
    if (count != 7) return 2;
    name = argument[1];
    wanted = argument[2];
    threads = atoi(argument[3]);
    rounds = atoi(argument[4]);
    forks = atoi(argument[6]);
    if (threads > 64) return 2;
    pthread_attr_init(&attributes);
    if (pthread_attr_setstacksize(&attributes, (size_t)atoi(argument[5]) * 1024) != 0) return 2;
    for (int k = 0; k < threads; k++)
        if (pthread_create(&thread[k], &attributes, work, NULL) != 0) return 2;
    for (int k = 0; k < forks; k++) {
        pid_t child = fork();
        if (child == 0) {
            atomic_store(&failures, 0);
            look();
            _exit(atomic_load(&failures) ? 1 : 0);
        }
        atomic_fetch_add(&lookups, 1);
        if (child < 0 || waitpid(child, &status, 0) != child || status != 0)
            atomic_fetch_add(&failures, 1);
    }
    for (int k = 0; k < threads; k++) pthread_join(thread[k], NULL);
    printf("lookups %d failures %d\n", atomic_load(&lookups), atomic_load(&failures));
    return atomic_load(&failures) ? 1 : 0;
}
