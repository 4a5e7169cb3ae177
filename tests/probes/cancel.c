/* cancel: threads are canceled while they resolve; the process must go on and resolve as before.
 *
 *   cancel NAME ADDRESS THREADS
 *
 * One thread after the other looks NAME up without end and is canceled somewhere on the way. Its
 * cleanup handler must run, and after each the main thread's own lookup must give ADDRESS.
 */
#define _GNU_SOURCE
#include <arpa/inet.h>
#include <netdb.h>
#include <pthread.h>
#include <stdatomic.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

static const char *name;
static atomic_int started, cleaned;

static void clean(void *unused)
{
    (void)unused;
    atomic_fetch_add(&cleaned, 1);
}

static int look(const char *wanted)
{
    struct addrinfo hints = {.ai_family = AF_INET, .ai_socktype = SOCK_STREAM}, *list = NULL;
    char text[INET_ADDRSTRLEN] = "";
    if (getaddrinfo(name, "80", &hints, &list) != 0) return 0;
    inet_ntop(AF_INET, &((struct sockaddr_in *)list->ai_addr)->sin_addr, text, sizeof text);
    freeaddrinfo(list);
    return wanted == NULL || strcmp(text, wanted) == 0;
}

static void *work(void *unused)
{
    pthread_cleanup_push(clean, NULL);
    for (;;) {
        look(NULL);
        atomic_store(&started, 1);
        /* In memory there may be no cancellation point at all. */
        pthread_testcancel();
    }
    pthread_cleanup_pop(0);
    return unused;
}

int main(int count, char **argument)
{
    int threads, right = 0;
    if (count != 4) return 2;
    name = argument[1];
    threads = atoi(argument[3]);
    for (int k = 0; k < threads; k++) {
        pthread_t thread;
        void *result;
        atomic_store(&started, 0);
        if (pthread_create(&thread, NULL, work, NULL) != 0) return 2;
        while (!atomic_load(&started)) {}
        pthread_cancel(thread);
        if (pthread_join(thread, &result) != 0 || result != PTHREAD_CANCELED) return 3;
        right += look(argument[2]);
    }
    printf("right %d cleaned %d\n", right, atomic_load(&cleaned));
    return right == threads && atomic_load(&cleaned) == threads ? 0 : 1;
}
