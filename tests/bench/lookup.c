/* One measured loop: getaddrinfo + freeaddrinfo of one name, again and again, in one warm process.
 *
 *   lookup NAME FAMILY(unspec|inet|inet6) CALLS BATCH
 *
 * Prints "addresses <n> p50 <ns per call> min <ns per call>" over CALLS calls timed in batches of
 * BATCH, or "error <code>" when the name does not resolve. A warm-up of one batch is not counted.
 */
#include <netdb.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>
#include <time.h>

static long long nanoseconds(void)
{
    struct timespec now;
    clock_gettime(CLOCK_MONOTONIC, &now);
    return now.tv_sec * 1000000000LL + now.tv_nsec;
}

static int ascending(const void *a, const void *b)
{
    double x = *(const double *)a, y = *(const double *)b;
    return x < y ? -1 : x > y;
}

int main(int argc, char **argv)
{
    if (argc != 5) {
        fprintf(stderr, "usage: lookup NAME unspec|inet|inet6 CALLS BATCH\n");
        return 2;
    }
    struct addrinfo hints;
    memset(&hints, 0, sizeof hints);
    hints.ai_socktype = SOCK_STREAM;
    hints.ai_family = !strcmp(argv[2], "inet") ? AF_INET : !strcmp(argv[2], "inet6") ? AF_INET6 : AF_UNSPEC;
    long calls = atol(argv[3]), batch = atol(argv[4]);
    if (calls < 1 || batch < 1)
        return 2;
    long batches = (calls + batch - 1) / batch;
    double *each = malloc(sizeof *each * (size_t)batches);
    int addresses = 0;
    for (long b = -1; b < batches; b++) {
        long long start = nanoseconds();
        for (long i = 0; i < batch; i++) {
            struct addrinfo *list = NULL;
            int failed = getaddrinfo(argv[1], NULL, &hints, &list);
            if (failed) {
                printf("error %d\n", failed);
                return 1;
            }
            if (b < 0 && i == 0)
                for (struct addrinfo *at = list; at; at = at->ai_next)
                    addresses++;
            freeaddrinfo(list);
        }
        if (b >= 0)
            each[b] = (double)(nanoseconds() - start) / (double)batch;
    }
    qsort(each, (size_t)batches, sizeof *each, ascending);
    printf("addresses %d p50 %.1f min %.1f\n", addresses, each[batches / 2], each[0]);
    return 0;
}
