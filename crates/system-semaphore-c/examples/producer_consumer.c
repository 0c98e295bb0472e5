// A producer process and a consumer process share a small buffer. Two semaphores count its free and its used places; what
// one side acquires it forgets, and the other side creates anew: so nothing comes back when either ends.

#define _DEFAULT_SOURCE

#include <stdio.h>
#include <stdlib.h>
#include <sys/mman.h>
#include <sys/wait.h>
#include <system_semaphore.h>
#include <unistd.h>

enum { PLACES = 4, ITEMS = 1000 };

static void must(syssem_status status)
{
    if (status != SYSSEM_OK) {
        fprintf(stderr, "%s\n", syssem_last_error_message());
        exit(1);
    }
}

static syssem_semaphore *opened(const char *name, const char *part, uint32_t count)
{
    char whole[256];
    syssem_semaphore *semaphore = NULL;
    snprintf(whole, sizeof whole, "%s-%s", name, part);
    must(syssem_open(whole, count, &semaphore));
    return semaphore;
}

// Takes one for good.
static void take(syssem_semaphore *semaphore)
{
    syssem_permit *permit = NULL;
    must(syssem_acquire(semaphore, 1, &permit));
    must(syssem_permit_forget(permit));
}

static void produce(int *buffer, syssem_semaphore *unused, syssem_semaphore *used)
{
    for (int item = 0; item < ITEMS; ++item) {
        take(unused);
        buffer[item % PLACES] = item;
        must(syssem_add_permits(used, 1));
    }
}

int main(int argc, char **argv)
{
    const char *name = argc > 1 ? argv[1] : "buffer";
    int *buffer = mmap(NULL, PLACES * sizeof *buffer, PROT_READ | PROT_WRITE, MAP_SHARED | MAP_ANONYMOUS, -1, 0);
    if (buffer == MAP_FAILED) {
        perror("mmap");
        return 1;
    }
    syssem_semaphore *unused = opened(name, "unused", PLACES), *used = opened(name, "used", 0);
    const pid_t producer = fork();
    if (producer < 0) {
        perror("fork");
        return 1;
    }
    if (producer == 0) {
        // a child may use the handles that it inherited
        produce(buffer, unused, used);
        syssem_close(unused);
        syssem_close(used);
        return 0;
    }
    long sum = 0;
    for (int item = 0; item < ITEMS; ++item) {
        take(used);
        sum += buffer[item % PLACES];
        must(syssem_add_permits(unused, 1));
    }
    waitpid(producer, NULL, 0);
    syssem_close(unused);
    syssem_close(used);
    munmap(buffer, PLACES * sizeof *buffer);
    printf("%d items, sum %ld\n", ITEMS, sum);
    return 0;
}
