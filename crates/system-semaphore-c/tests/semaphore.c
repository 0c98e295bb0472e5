// The C face. Compiled as C11 and run by `cargo test` and by `check`.

#define _POSIX_C_SOURCE 200809L

#include "system_semaphore.h"

#include "checks.h"

#include <pthread.h>
#include <signal.h>
#include <string.h>
#include <sys/wait.h>
#include <time.h>

static syssem_semaphore *create(const char *name, uint32_t count)
{
    syssem_semaphore *semaphore = NULL;
    CHECK(syssem_create(name, count, &semaphore) == SYSSEM_OK);
    CHECK(semaphore);
    return semaphore;
}

static uint32_t available(const syssem_semaphore *semaphore)
{
    uint32_t count = 4711;
    CHECK(syssem_available_permits(semaphore, &count) == SYSSEM_OK);
    return count;
}

static uint32_t held(const syssem_semaphore *semaphore)
{
    uint32_t count = 4711;
    CHECK(syssem_detached_permits(semaphore, &count) == SYSSEM_OK);
    return count;
}

static void counts(void)
{
    syssem_semaphore *market = create(NAME("counts"), 3), *other = NULL;
    syssem_permit *permit = NULL, *two = NULL;
    CHECK(syssem_acquire(market, 1, &permit) == SYSSEM_OK && available(market) == 2);
    CHECK(syssem_acquire(market, 2, &two) == SYSSEM_OK && available(market) == 0);
    CHECK(syssem_permit_count(two) == 2);
    CHECK(syssem_try_acquire(market, 1, NULL) == SYSSEM_NO_PERMITS);
    CHECK(syssem_permit_release(permit) == SYSSEM_OK && available(market) == 1);
    CHECK(syssem_permit_release(two) == SYSSEM_OK && available(market) == 3);
    CHECK(syssem_release(market, 10) == SYSSEM_OK && available(market) == 13);
    CHECK(syssem_add_permits(market, 2) == SYSSEM_OK && available(market) == 15);
    CHECK(syssem_clone(market, &other) == SYSSEM_OK);
    syssem_close(market);
    CHECK(available(other) == 15);
    syssem_close(other);
}

static void permits(void)
{
    syssem_semaphore *market = create(NAME("permits"), 10), *other = create(NAME("others"), 10);
    syssem_permit *all = NULL, *part = NULL, *foreign = NULL;
    CHECK(syssem_acquire(market, 6, &all) == SYSSEM_OK);
    CHECK(syssem_permit_split(all, 7, &part) == SYSSEM_INVALID_ARGUMENT && !part);
    CHECK(syssem_permit_split(all, 2, &part) == SYSSEM_OK);
    CHECK(syssem_permit_count(all) == 4 && syssem_permit_count(part) == 2);
    CHECK(syssem_permit_merge(all, part) == SYSSEM_OK);
    CHECK(syssem_permit_count(all) == 6 && syssem_permit_count(part) == 0);
    CHECK(syssem_permit_release(part) == SYSSEM_OK && available(market) == 4);

    CHECK(syssem_acquire(other, 5, &foreign) == SYSSEM_OK);
    CHECK(syssem_permit_merge(all, foreign) == SYSSEM_INVALID_ARGUMENT);
    CHECK(strstr(syssem_last_error_message(), "cannot merge"));
    CHECK(syssem_permit_count(all) == 6 && syssem_permit_count(foreign) == 5);
    CHECK(syssem_permit_merge(all, all) == SYSSEM_INVALID_ARGUMENT && syssem_permit_count(all) == 6);
    CHECK(syssem_permit_release(foreign) == SYSSEM_OK && available(other) == 10);

    // detached permits, which syssem_release() releases first
    CHECK(syssem_permit_split(all, 3, &part) == SYSSEM_OK);
    CHECK(syssem_permit_detach(part) == SYSSEM_OK && held(market) == 3);
    CHECK(syssem_acquire(market, 1, NULL) == SYSSEM_OK && held(market) == 4);
    uint32_t forgotten = 0;
    CHECK(syssem_forget_detached(market, 2, &forgotten) == SYSSEM_OK && forgotten == 2 && held(market) == 2);
    CHECK(syssem_release(market, 3) == SYSSEM_OK && held(market) == 0 && available(market) == 6);

    CHECK(syssem_permit_forget(all) == SYSSEM_OK && available(market) == 6);
    CHECK(syssem_permit_release(NULL) == SYSSEM_OK);
    syssem_close(market);
    syssem_close(other);
}

static volatile sig_atomic_t signalled;

static void note_signal(int signal)
{
    (void)signal;
    signalled = 1;
}

static bool is_signalled(void *questions)
{
    ++*(int *)questions;
    return signalled;
}

static void waits(void)
{
    syssem_semaphore *empty = create(NAME("waits"), 0);
    const uint64_t before = syssem_now(), moment = 20 * 1000 * 1000;
    CHECK(syssem_acquire_timeout(empty, 1, moment, NULL) == SYSSEM_TIMED_OUT);
    CHECK(syssem_now() - before >= moment);
    CHECK(syssem_acquire_timeout(empty, 1, 0, NULL) == SYSSEM_TIMED_OUT);
    CHECK(syssem_acquire_deadline(empty, 1, before, NULL) == SYSSEM_TIMED_OUT);
    CHECK(syssem_acquire_deadline(empty, 1, syssem_now() + moment, NULL) == SYSSEM_TIMED_OUT);
    CHECK(strstr(syssem_last_error_message(), "cannot acquire a permit"));

    // asked before it sleeps, and when a signal has woken it
    struct sigaction action = {.sa_handler = note_signal};
    CHECK(sigaction(SIGALRM, &action, NULL) == 0);
    int questions = 0;
    alarm(1);
    CHECK(syssem_acquire_interruptible(empty, 1, SYSSEM_FOREVER, is_signalled, &questions, NULL) ==
          SYSSEM_INTERRUPTED);
    CHECK(signalled && questions >= 2);

    CHECK(syssem_add_permits(empty, 3) == SYSSEM_OK);
    CHECK(syssem_acquire_timeout(empty, 1, SYSSEM_FOREVER, NULL) == SYSSEM_OK);
    CHECK(syssem_acquire_deadline(empty, 1, SYSSEM_FOREVER, NULL) == SYSSEM_OK);
    CHECK(syssem_acquire_interruptible(empty, 1, SYSSEM_FOREVER, NULL, NULL, NULL) == SYSSEM_OK);
    CHECK(held(empty) == 3 && syssem_release(empty, 3) == SYSSEM_OK);
    syssem_close(empty);
}

static void *has_no_message_yet(void *unused)
{
    (void)unused;
    CHECK(strcmp(syssem_last_error_message(), "") == 0);
    CHECK(syssem_open(NULL, 0, NULL) == SYSSEM_INVALID_ARGUMENT);
    CHECK(strstr(syssem_last_error_message(), "\"name\" is NULL"));
    return NULL;
}

static void errors(void)
{
    syssem_semaphore *semaphore = NULL;
    CHECK(syssem_open("", 1, &semaphore) == SYSSEM_KEY_ERROR && !semaphore);
    CHECK(strstr(syssem_last_error_message(), "the key is empty"));

    // each thread has its own message
    pthread_t thread;
    CHECK(pthread_create(&thread, NULL, has_no_message_yet, NULL) == 0 && pthread_join(thread, NULL) == 0);
    CHECK(strstr(syssem_last_error_message(), "the key is empty"));

    CHECK(syssem_open("\xff", 1, &semaphore) == SYSSEM_INVALID_ARGUMENT);
    CHECK(strstr(syssem_last_error_message(), "not UTF-8"));
    CHECK(syssem_open(NAME("errors"), 1, NULL) == SYSSEM_INVALID_ARGUMENT);
    CHECK(syssem_acquire(NULL, 1, NULL) == SYSSEM_INVALID_ARGUMENT);
    CHECK(syssem_permit_forget(NULL) == SYSSEM_INVALID_ARGUMENT);
    CHECK(syssem_permit_merge(NULL, NULL) == SYSSEM_INVALID_ARGUMENT);
    CHECK(syssem_available_permits(NULL, NULL) == SYSSEM_INVALID_ARGUMENT);

    syssem_options options = {.size = sizeof options, .mode = SYSSEM_OPEN_EXISTING};
    CHECK(syssem_open_with(NAME("errors"), &options, &semaphore) == SYSSEM_NOT_FOUND);
    options.mode = 4;
    CHECK(syssem_open_with(NAME("errors"), &options, &semaphore) == SYSSEM_INVALID_ARGUMENT);
    options.mode = SYSSEM_OPEN;
    options.form = 2;
    CHECK(syssem_open_with(NAME("errors"), &options, &semaphore) == SYSSEM_INVALID_ARGUMENT);
    options.form = SYSSEM_KEY_TEXT;
    CHECK(syssem_open_with("no key", &options, &semaphore) == SYSSEM_KEY_ERROR);
    options.form = SYSSEM_NAME;
    options.key_type = 300;
    CHECK(syssem_open_with(NAME("errors"), &options, &semaphore) == SYSSEM_KEY_ERROR);
    options.size = 1;
    CHECK(syssem_open_with(NAME("errors"), &options, &semaphore) == SYSSEM_INVALID_ARGUMENT);
    CHECK(syssem_remove(NAME("errors"), SYSSEM_NAME) == SYSSEM_NOT_FOUND);
    CHECK(!semaphore);

    CHECK(strcmp(syssem_status_text(SYSSEM_TIMED_OUT), "timed out") == 0);
    CHECK(strcmp(syssem_status_text(SYSSEM_DEFECT), "defect of the library") == 0);
    CHECK(strcmp(syssem_status_text(-1), "unknown status") == 0);
    CHECK(strcmp(syssem_status_text(99), "unknown status") == 0);
    CHECK(strlen(syssem_version()) > 0);
}

static void options_and_keys(void)
{
    syssem_semaphore *semaphore = NULL;
    syssem_options options = {
        .size = sizeof options, .mode = SYSSEM_CREATE_NEW, .initial_value = 2, .max_permits = 3, .persistent = 1};
    const char *name = NAME("options");
    CHECK(syssem_open_with(name, &options, &semaphore) == SYSSEM_OK);
    CHECK(syssem_release(semaphore, 2) == SYSSEM_OUT_OF_RESOURCES && available(semaphore) == 2);
    uint32_t initial = 0;
    bool persistent = false;
    CHECK(syssem_initial_value(semaphore, &initial) == SYSSEM_OK && initial == 2);
    CHECK(syssem_is_persistent(semaphore, &persistent) == SYSSEM_OK && persistent);
    syssem_capabilities can;
    CHECK(syssem_get_capabilities(semaphore, &can) == SYSSEM_OK && can.returns_on_death && can.max_permits == 3);

    syssem_semaphore *again = NULL;
    CHECK(syssem_open_with(name, &options, &again) == SYSSEM_ALREADY_EXISTS && !again);
    syssem_text *text = NULL, *native = NULL;
    CHECK(syssem_key_text(semaphore, &text) == SYSSEM_OK);
    syssem_close(semaphore);
    syssem_options by_text = {.size = sizeof by_text, .mode = SYSSEM_OPEN_EXISTING, .form = SYSSEM_KEY_TEXT};
    CHECK(syssem_open_with(syssem_text_data(text), &by_text, &again) == SYSSEM_OK && available(again) == 2);
    syssem_close(again);
    CHECK(syssem_remove(syssem_text_data(text), SYSSEM_KEY_TEXT) == SYSSEM_OK);

    uint16_t type = 0;
    CHECK(syssem_read_key_text(syssem_text_data(text), &type, &native) == SYSSEM_OK);
    CHECK(type == SYSSEM_ROBUST && strcmp(syssem_text_data(native), name) == 0);
    CHECK(syssem_text_length(native) == strlen(name));
    syssem_text_free(text);
    syssem_text_free(native);
    CHECK(syssem_platform_safe_key("printer", SYSSEM_POSIX, &text) == SYSSEM_OK);
    CHECK(strcmp(syssem_text_data(text), "posix:/printer") == 0);
    syssem_text_free(text);
    CHECK(syssem_legacy_native_key("printer", SYSSEM_POSIX, &text) == SYSSEM_OK);
    CHECK(strcmp(syssem_text_data(text),
                 "posix:/qipc_systemsem_printer3d3221b2db3115d65e938a1c497f209256c6185f?legacyKey=printer") == 0);
    syssem_text_free(text);
    syssem_text_free(NULL);
    CHECK(!syssem_text_data(NULL) && syssem_text_length(NULL) == 0);
    CHECK(syssem_is_key_type_supported(SYSSEM_SYSTEM_V) && !syssem_is_key_type_supported(SYSSEM_WINDOWS));

    options = (syssem_options){.size = sizeof options, .initial_value = 2, .key_type = SYSSEM_POSIX};
    CHECK(syssem_open_with(NAME("posix"), &options, &semaphore) == SYSSEM_OK);
    CHECK(syssem_acquire(semaphore, 2, NULL) == SYSSEM_UNSUPPORTED && available(semaphore) == 2);
    syssem_holders *holders = NULL;
    CHECK(syssem_get_holders(semaphore, &holders) == SYSSEM_UNSUPPORTED && !holders);
    syssem_close(semaphore);
}

static void a_killed_holder(void)
{
    const char *name = NAME("killed");
    syssem_semaphore *semaphore = create(name, 5);
    int ready[2];
    CHECK(pipe(ready) == 0);
    const pid_t child = fork();
    CHECK(child >= 0);
    if (child == 0) {
        syssem_semaphore *mine = NULL;
        CHECK(syssem_open(name, 0, &mine) == SYSSEM_OK && syssem_acquire(mine, 4, NULL) == SYSSEM_OK);
        CHECK(write(ready[1], "x", 1) == 1);
        for (;;)
            pause();
    }
    // its own end is closed, so that a child that fails is an end of file
    close(ready[1]);
    char byte;
    CHECK(read(ready[0], &byte, 1) == 1);
    close(ready[0]);

    syssem_holders *holders = NULL;
    CHECK(available(semaphore) == 1 && syssem_get_holders(semaphore, &holders) == SYSSEM_OK);
    CHECK(syssem_holders_count(holders) == 1 && !syssem_holders_at(holders, 1));
    const syssem_holder *holder = syssem_holders_at(holders, 0);
    CHECK(holder->pid == (uint32_t)child && holder->permits == 4 && strlen(holder->command) > 0);
    CHECK(holder->since > 0);
    syssem_holders_free(holders);

    CHECK(kill(child, SIGKILL) == 0);
    syssem_permit *all = NULL;
    CHECK(syssem_acquire_timeout(semaphore, 5, UINT64_C(60000000000), &all) == SYSSEM_OK);
    CHECK(waitpid(child, NULL, 0) == child);
    uint64_t recoveries = 0;
    CHECK(syssem_recoveries(semaphore, &recoveries) == SYSSEM_OK && recoveries == 1);
    uint32_t waiting = 1;
    CHECK(syssem_waiting(semaphore, &waiting) == SYSSEM_OK && waiting == 0);
    CHECK(syssem_permit_release(all) == SYSSEM_OK);
    syssem_close(semaphore);
    syssem_close(NULL);
}

int main(void)
{
    counts();
    permits();
    waits();
    errors();
    options_and_keys();
    a_killed_holder();
    puts("ok");
    return 0;
}
