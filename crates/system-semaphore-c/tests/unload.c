// Unloads the shared library while its helper thread runs. Compiled as C11 and run by `cargo test`.
//
// usage: unload LIBRARY

#define _POSIX_C_SOURCE 200809L

#include "system_semaphore.h"

#include "checks.h"

#include <dirent.h>
#include <dlfcn.h>
#include <pthread.h>
#include <string.h>
#include <time.h>

// The helper thread ends 3 s after the last wait.
enum { PATIENCE_SECONDS = 60 };

// A function of the library. ISO C has no conversion from an object pointer.
#define FUNCTION(type, library, name) \
    type name = NULL; \
    do { \
        void *symbol = dlsym(library, "syssem_" #name); \
        CHECK(symbol); \
        memcpy(&name, &symbol, sizeof symbol); \
    } while (0)

typedef syssem_status (*open_function)(const char *, uint32_t, syssem_semaphore **);
typedef syssem_status (*acquire_function)(const syssem_semaphore *, uint32_t, uint64_t, syssem_permit **);
typedef void (*close_function)(syssem_semaphore *);

static int threads(void)
{
    DIR *directory = opendir("/proc/self/task");
    CHECK(directory);
    int count = 0;
    for (struct dirent *entry; (entry = readdir(directory));)
        count += entry->d_name[0] != '.';
    closedir(directory);
    return count;
}

static void pause_briefly(void)
{
    struct timespec pause = {0, 10 * 1000 * 1000};
    nanosleep(&pause, NULL);
}

static syssem_semaphore *semaphore;

// A wait starts the helper thread.
static void *wait_for_helper(void *library)
{
    FUNCTION(open_function, library, open);
    FUNCTION(acquire_function, library, acquire_timeout);
    CHECK(open(NAME("unload"), 0, &semaphore) == SYSSEM_OK);
    for (int tries = 0; threads() == 2; tries++) {
        CHECK(tries < 100);
        CHECK(acquire_timeout(semaphore, 1, 100 * 1000 * 1000, NULL) == SYSSEM_TIMED_OUT);
    }
    return NULL;
}

int main(int count, char **arguments)
{
    CHECK(count == 2);
    void *library = dlopen(arguments[1], RTLD_NOW | RTLD_LOCAL);
    CHECK(library);
    // A thread that has thread-local values of the library keeps it loaded. So the caller is another thread, which ends.
    pthread_t user;
    CHECK(pthread_create(&user, NULL, wait_for_helper, library) == 0);
    CHECK(pthread_join(user, NULL) == 0);

    CHECK(dlclose(library) == 0);
    CHECK(threads() == 2);
    // the helper thread wakes, and ends
    time_t deadline = time(NULL) + PATIENCE_SECONDS;
    while (threads() > 1) {
        CHECK(time(NULL) < deadline);
        pause_briefly();
    }

    library = dlopen(arguments[1], RTLD_NOW | RTLD_LOCAL);
    CHECK(library);
    FUNCTION(close_function, library, close);
    close(semaphore);
    return 0;
}
