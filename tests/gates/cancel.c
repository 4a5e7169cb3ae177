/*
 * Cancels a thread inside getaddrinfo: the name is libc's to look up, so the call is inside libc
 * and our frame may be between. The cleanup handler must run, and the process must live on.
 */
#include <netdb.h>
#include <pthread.h>
#include <stdio.h>
#include <string.h>

static volatile int cleaned;

static void clean(void *nothing)
{
    (void)nothing;
    cleaned = 1;
}

static void *lookup(void *service)
{
    struct addrinfo hints, *list = NULL;
    memset(&hints, 0, sizeof hints);
    hints.ai_socktype = SOCK_STREAM;
    pthread_cleanup_push(clean, NULL);
    /* Pending from here on: the first cancellation point takes it. */
    pthread_cancel(pthread_self());
    getaddrinfo(service ? "api" : "www.example.com", service, &hints, &list);
    pthread_testcancel();
    pthread_cleanup_pop(0);
    return NULL;
}

static int canceled(const char *service)
{
    pthread_t thread;
    void *result = NULL;
    cleaned = 0;
    if (pthread_create(&thread, NULL, lookup, (void *)service) || pthread_join(thread, &result))
        return 0;
    return result == PTHREAD_CANCELED && cleaned;
}

int main(void)
{
    printf("passed %d\n", canceled(NULL));
    /* A named service: our own call of the real function is what is canceled. */
    printf("service %d\n", canceled("http"));
    return 0;
}
