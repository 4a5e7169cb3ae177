/* pause: holds a pod's namespaces, and reaps what is orphaned in them. Ends at SIGTERM or SIGINT. */
#include <signal.h>
#include <sys/wait.h>
#include <unistd.h>

static void end(int unused)
{
    (void)unused;
    _exit(0);
}

static void reap(int unused)
{
    (void)unused;
    while (waitpid(-1, 0, WNOHANG) > 0) continue;
}

int main(void)
{
    signal(SIGTERM, end);
    signal(SIGINT, end);
    signal(SIGCHLD, reap);
    for (;;) pause();
}
