/* This library is preloaded into the drivers and workers of two builds. Each worker executes the program of either build, at random.
 *
 * A driver starts its own program as its workers, and a worker of chaos may execute its own program again. The library's constructor
 * runs in each of these before main. The process id and the inherited descriptors stay the same.
 *
 * Environment:
 * MIXED_BUILD_0, MIXED_BUILD_1  the programs of the two builds
 * MIXED_LOG                     the file to which a worker appends each of its events: the event, the process id, the build
 */
#define _GNU_SOURCE
#include <fcntl.h>
#include <pthread.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/random.h>
#include <sys/syscall.h>
#include <unistd.h>

/* The build of this worker. A driver has -1. */
static int build = -1;
/* A worker's process id, in its environment. A process that finds its own id has executed a worker's program before. */
static char marker[32];

static void record(const char *event)
{
    char line[64];
    int length = snprintf(line, sizeof line, "%s %d %d\n", event, (int)getpid(), build);
    int log = open(getenv("MIXED_LOG"), O_WRONLY | O_APPEND | O_CLOEXEC);
    if (log < 0 || write(log, line, length) != length)
        abort();
    close(log);
}

static void set_marker(void)
{
    snprintf(marker, sizeof marker, "MIXED_MARKER=%d", (int)getpid());
}

static void record_fork(void)
{
    set_marker();
    record("fork");
}

__attribute__((constructor)) static void start(int argc, char **argv)
{
    const char *builds[] = {getenv("MIXED_BUILD_0"), getenv("MIXED_BUILD_1")};
    char self[4096] = "";
    unsigned char random;
    int is_worker = argc > 1 && (strcmp(argv[1], "play") == 0 || strcmp(argv[1], "worker") == 0);
    if (!is_worker || !builds[0] || !builds[1] || readlink("/proc/self/exe", self, sizeof self - 1) < 0)
        return;
    if (strcmp(self, builds[0]) != 0 && strcmp(self, builds[1]) != 0)
        return;
    build = strcmp(self, builds[1]) == 0;
    if (getenv("MIXED_CHOSEN")) {
        unsetenv("MIXED_CHOSEN");
    } else {
        if (getrandom(&random, 1, 0) != 1)
            abort();
        if ((random & 1) != build) {
            setenv("MIXED_CHOSEN", "yes", 1);
            execv(builds[random & 1], argv);
            abort();
        }
    }
    const char *before = getenv("MIXED_MARKER");
    int is_same_process = before && atoi(before) == getpid();
    set_marker();
    putenv(marker);
    pthread_atfork(NULL, NULL, record_fork);
    record(is_same_process ? "exec" : "start");
}

__attribute__((destructor)) static void record_exit(void)
{
    if (build >= 0)
        record("exit");
}

/* This replaces the C library's function: it runs no destructors. */
void _exit(int status)
{
    if (build >= 0)
        record("exit");
    for (;;)
        syscall(SYS_exit_group, status);
}
