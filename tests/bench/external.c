/* Many processes that look external names up at once.
 *
 *   external PROCESSES SECONDS warm|cold PREFIX
 *
 * Each process looks names up with getaddrinfo (AF_UNSPEC, SOCK_STREAM) for SECONDS: "warm" takes the same
 * 100 names in turn, each of them looked up once before the clock starts; "cold" never takes a name twice.
 * The names are "<PREFIX><number>.example.com". Prints one line:
 *
 *   lookups <per second, all processes> p50 <us> p99 <us> failed <count>
 *
 * Latencies are counted in steps of 1/8 of a power of two, which is exact enough for a percentile.
 */
#include <netdb.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/socket.h>
#include <sys/wait.h>
#include <time.h>
#include <unistd.h>

enum { STEPS = 64 * 8, WARM_NAMES = 100 };

struct shared {
    uint64_t lookups, failed, ready, started;
    uint64_t histogram[STEPS];
};

static uint64_t nanoseconds(void)
{
    struct timespec now;
    clock_gettime(CLOCK_MONOTONIC, &now);
    return (uint64_t)now.tv_sec * 1000000000u + (uint64_t)now.tv_nsec;
}

static int step_of(uint64_t value)
{
    if (value < 8)
        return (int)value;
    int power = 63 - __builtin_clzll(value);
    return (power - 2) * 8 + (int)(value >> (power - 3) & 7);
}

static double value_of(int step)
{
    if (step < 8)
        return step;
    int power = step / 8 + 2;
    return (double)((uint64_t)(8 + step % 8) << (power - 3));
}

static int look_up(const char *prefix, long number)
{
    char name[128];
    snprintf(name, sizeof name, "%s%ld.example.com", prefix, number);
    struct addrinfo hints, *list = NULL;
    memset(&hints, 0, sizeof hints);
    hints.ai_socktype = SOCK_STREAM;
    int failed = getaddrinfo(name, NULL, &hints, &list);
    if (list)
        freeaddrinfo(list);
    return failed;
}

static void work(struct shared *shared, int process, int processes, double seconds, int cold, const char *prefix)
{
    if (!cold)
        for (long name = 0; name < WARM_NAMES; name++)
            look_up(prefix, name);
    else
        look_up(prefix, -1 - process);
    __atomic_add_fetch(&shared->ready, 1, __ATOMIC_SEQ_CST);
    while (!__atomic_load_n(&shared->started, __ATOMIC_SEQ_CST))
        usleep(100);
    static uint64_t histogram[STEPS];
    uint64_t lookups = 0, failed = 0, end = nanoseconds() + (uint64_t)(seconds * 1e9), before = nanoseconds();
    for (long turn = 0; before < end; turn++) {
        failed += look_up(prefix, cold ? 1000 + turn * processes + process : (turn + process) % WARM_NAMES) != 0;
        uint64_t after = nanoseconds();
        histogram[step_of(after - before)]++;
        lookups++;
        before = after;
    }
    for (int step = 0; step < STEPS; step++)
        __atomic_add_fetch(&shared->histogram[step], histogram[step], __ATOMIC_RELAXED);
    __atomic_add_fetch(&shared->lookups, lookups, __ATOMIC_SEQ_CST);
    __atomic_add_fetch(&shared->failed, failed, __ATOMIC_SEQ_CST);
}

static double percentile(const struct shared *shared, double share)
{
    uint64_t wanted = (uint64_t)((double)shared->lookups * share), seen = 0;
    for (int step = 0; step < STEPS; step++)
        if ((seen += shared->histogram[step]) > wanted)
            return value_of(step) / 1000;
    return 0;
}

int main(int argc, char **argv)
{
    if (argc != 5) {
        fprintf(stderr, "usage: external PROCESSES SECONDS warm|cold PREFIX\n");
        return 2;
    }
    int processes = atoi(argv[1]);
    double seconds = atof(argv[2]);
    int cold = !strcmp(argv[3], "cold");
    struct shared *shared = mmap(NULL, sizeof *shared, PROT_READ | PROT_WRITE, MAP_SHARED | MAP_ANONYMOUS, -1, 0);
    if (processes < 1 || shared == MAP_FAILED)
        return 2;
    for (int process = 0; process < processes; process++)
        if (fork() == 0) {
            work(shared, process, processes, seconds, cold, argv[4]);
            _exit(0);
        }
    while (__atomic_load_n(&shared->ready, __ATOMIC_SEQ_CST) < (uint64_t)processes)
        usleep(1000);
    __atomic_store_n(&shared->started, 1, __ATOMIC_SEQ_CST);
    while (wait(NULL) > 0) {
    }
    printf("lookups %.0f p50 %.1f p99 %.1f failed %llu\n", (double)shared->lookups / seconds, percentile(shared, 0.5),
           percentile(shared, 0.99), (unsigned long long)shared->failed);
    return 0;
}
