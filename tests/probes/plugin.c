/* plugin: what `loader` opens. With WAIT its constructor waits for a thread that looks up the name
 * of the environment's LOOK_NAME; without, `found` looks up when called. */
#define _GNU_SOURCE
#include "look.h"
#include <pthread.h>

int found(const char *name, const char *address);

#ifdef WAIT
static int right;

static void *work(void *unused)
{
    look_name = getenv("LOOK_NAME");
    look_address = getenv("LOOK_ADDRESS");
    right = look_name && look_address && look();
    return unused;
}

__attribute__((constructor)) static void start(void)
{
    pthread_t thread;
    if (pthread_create(&thread, NULL, work, NULL) == 0) pthread_join(thread, NULL);
}

int found(const char *name, const char *address)
{
    (void)name;
    (void)address;
    return right;
}
#else
int found(const char *name, const char *address)
{
    look_name = name;
    look_address = address;
    return look();
}
#endif
