// Counting semaphores shared by processes: the C face of system-semaphore.

#ifndef SYSTEM_SEMAPHORE_H
#define SYSTEM_SEMAPHORE_H

// Generated from the Rust sources by cbindgen: changes belong there.

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

// Rules for all functions
//
// - Texts are UTF-8 and end with a NUL, but where a length is asked for. Texts that are given back (syssem_text) are freed
//   by syssem_text_free().
// - Pointers point to what their type says, or are NULL where the function says what happens then; else NULL is
//   SYSSEM_INVALID_ARGUMENT. A handle that is freed is not used again.
// - After any status but SYSSEM_OK nothing is written to places for results, and syssem_last_error_message() tells what
//   went wrong.
// - Functions may be called from any thread at once, but for what a handle's type or a function says. None may be called
//   in a signal handler. No C++ exception may pass through them.
// - What acquire, release, forget, hold and robust mean is told in the documentation of the Rust crate.


// A time that does not come: the wait has no end.
#define SYSSEM_FOREVER UINT64_MAX

// The type of key of this library's crash-safe semaphores (Linux), which a plain name means there.
#define SYSSEM_ROBUST 512

// The type of key of System V semaphores with Qt's project id, 'Q'; 1 to 255 are those with other ids.
#define SYSSEM_SYSTEM_V 81

// The type of key of POSIX named semaphores.
#define SYSSEM_POSIX 256

// The type of key of Windows kernel objects.
#define SYSSEM_WINDOWS 257

// How it went. The numbers up to 6 are those of QSystemSemaphore::SystemSemaphoreError.
//
// syssem_last_error_message() tells more of an error. There may be more in later versions.
typedef enum {
  // It was done.
  SYSSEM_OK = 0,
  // The semaphore belongs to another user, who has not allowed it.
  SYSSEM_PERMISSION_DENIED = 1,
  // The key cannot name a semaphore.
  SYSSEM_KEY_ERROR = 2,
  // A semaphore of that name is there, and SYSSEM_CREATE_NEW was asked.
  SYSSEM_ALREADY_EXISTS = 3,
  // There is no such semaphore, or it was removed while in use.
  SYSSEM_NOT_FOUND = 4,
  // A limit was met: the largest count, the number of semaphores, memory, descriptors.
  SYSSEM_OUT_OF_RESOURCES = 5,
  // The operating system gave a reason that has no number of its own; the message tells.
  SYSSEM_UNKNOWN = 6,
  // The time was over first; nothing was acquired.
  SYSSEM_TIMED_OUT = 7,
  // It would have had to wait; nothing was acquired.
  SYSSEM_NO_PERMITS = 8,
  // This type of semaphore cannot do that; see syssem_get_capabilities().
  SYSSEM_UNSUPPORTED = 9,
  // What stands under that name is not a usable semaphore.
  SYSSEM_CORRUPT = 10,
  // The caller's own function ended the wait; nothing was acquired.
  SYSSEM_INTERRUPTED = 11,
  // An argument makes no sense: NULL where that is not allowed, or a text that is not UTF-8.
  SYSSEM_INVALID_ARGUMENT = 12,
  // A defect of this library: it has not done what it was asked.
  SYSSEM_DEFECT = 13,
} syssem_status;

// What to do if the semaphore exists, and what if it does not.
typedef enum {
  // Use it if it exists (the initial value is then ignored), else create it.
  SYSSEM_OPEN = 0,
  // Create it, or set the count of the one that is there to the initial value.
  SYSSEM_CREATE = 1,
  // Create it; SYSSEM_ALREADY_EXISTS if it is there.
  SYSSEM_CREATE_NEW = 2,
  // Use it; SYSSEM_NOT_FOUND if it is not there.
  SYSSEM_OPEN_EXISTING = 3,
} syssem_mode;

// How a key is written.
typedef enum {
  // A plain name, which can be any text: "market".
  SYSSEM_NAME = 0,
  // The text form of a native key: "robust:market", "posix:/market".
  SYSSEM_KEY_TEXT = 1,
} syssem_key_form;

// Who held how many permits when it was asked. To be freed by syssem_holders_free().
typedef struct syssem_holders syssem_holders;

// Permits taken from a semaphore, which come back when it is released, and when the process ends, however that happens
// (where the type of semaphore can do that). It keeps the semaphore open. It may be used by all threads of the process at
// once; the one that releases, forgets or detaches it frees it.
typedef struct syssem_permit syssem_permit;

// A QNativeIpcKey. It may be read by several threads at once.
typedef struct syssem_qt_key syssem_qt_key;

// A QSystemSemaphore. It may be used by all threads of the process at once.
typedef struct syssem_qt_semaphore syssem_qt_semaphore;

// An open counting semaphore shared by processes. It may be used by all threads of the process at once. When its last
// handle is closed the semaphore ends, or stays, by the rules of its type: a robust one ends with its last user.
//
// After a fork, the child may use what it inherited, and owns no permits; handles are not inherited by exec.
typedef struct syssem_semaphore syssem_semaphore;

// A text that a function gave, in UTF-8, with a NUL behind it. To be freed by syssem_text_free().
typedef struct syssem_text syssem_text;

// How a semaphore is opened. All but `size` may be 0: `syssem_options options = { .size = sizeof options };`
typedef struct {
  // sizeof(syssem_options), so that later versions know what they were given.
  size_t size;
  // A syssem_mode.
  uint32_t mode;
  // A syssem_key_form.
  uint32_t form;
  // The count it has if it is made, or reset by SYSSEM_CREATE.
  uint32_t initial_value;
  // The largest count it may have, so that releasing too many is an error; 0: that of its type. Robust ones only.
  uint32_t max_permits;
  // Who may use it, as Unix permission bits; 0: the user alone. Of robust ones only those whose name begins with
  // `Global\` can be for others.
  uint32_t permissions;
  // The type of semaphore that a plain name means; 0: the best one of the platform.
  uint16_t key_type;
  // Not 0: it stays when its last user has gone, until syssem_remove().
  uint16_t persistent;
} syssem_options;

// What a type of semaphore can do. What it cannot is SYSSEM_UNSUPPORTED, at once.
typedef struct {
  // Permits come back when their holder dies, and waiters wake.
  bool returns_on_death;
  // Permits that were created stay when their creator exits.
  bool created_permits_stay;
  // Acquires can have a deadline.
  bool timeout;
  // Several permits can be acquired at once, all or none.
  bool several_at_once;
  // The number of free permits can be read.
  bool available_permits;
  // It is known who holds how many.
  bool holders;
  // The number of those who wait can be read.
  bool waiting;
  // It is known who used it last.
  bool last_pid;
  // Dead holders are counted.
  bool recoveries;
  // SYSSEM_CREATE voids permits taken before. (Without this, giving one back adds one.)
  bool reset_voids_permits;
  // It is gone after its last user, however that one ended.
  bool ends_with_last_user;
  // It can have a maximum of its own.
  bool own_maximum;
  // The largest count.
  uint32_t max_permits;
} syssem_capabilities;

// Ends a wait from outside: asked before each sleep of the wait, and each time a signal has woken the thread (its handler
// must have been installed without SA_RESTART). When it returns true, the wait ends. It must not throw nor jump away.
typedef bool (*syssem_interrupted)(void *context);

// Who holds permits.
typedef struct {
  // The process id; 0 if it is of another PID namespace.
  uint32_t pid;
  // How many permits it holds.
  uint32_t permits;
  // The name of its program; NULL where that may not be read.
  const char *command;
  // Since when, in nanoseconds since 1970; 0 where that is not known.
  int64_t since;
} syssem_holder;

#ifdef __cplusplus
extern "C" {
#endif // __cplusplus

// Opens a semaphore by its plain name, or creates it with so many permits.
//
// # Errors
// SYSSEM_KEY_ERROR if the key cannot name a semaphore, SYSSEM_PERMISSION_DENIED if it belongs to another user,
// SYSSEM_OUT_OF_RESOURCES if the initial value is above the maximum or the system has no more semaphores,
// SYSSEM_CORRUPT if something else stands in its place, SYSSEM_TIMED_OUT if another process that is opening or closing
// it is stopped, SYSSEM_INVALID_ARGUMENT, SYSSEM_UNKNOWN.
//
// # Safety
// `name` is NULL or ends with a NUL.
syssem_status syssem_open(const char *name,
                          uint32_t initial_value,
                          syssem_semaphore **semaphore);

// Creates a semaphore by its plain name with so many permits, or sets the count of the one that is there.
//
// # Errors
// Those of syssem_open().
//
// # Safety
// `name` is NULL or ends with a NUL.
syssem_status syssem_create(const char *name, uint32_t initial_value, syssem_semaphore **semaphore);

// Opens a semaphore as the options say.
//
// # Errors
// Those of syssem_open(), what the mode says, SYSSEM_UNSUPPORTED for what the type cannot do.
//
// # Safety
// `key` is NULL or ends with a NUL.
syssem_status syssem_open_with(const char *key, const syssem_options *options, syssem_semaphore **semaphore);

// Another handle of the same semaphore, to be closed on its own.
//
// # Errors
// SYSSEM_INVALID_ARGUMENT.
syssem_status syssem_clone(const syssem_semaphore *semaphore, syssem_semaphore **other);

// Closes a handle. No other thread may be using it. Nothing happens to NULL. Permits of guards, and
// detached permits of the process, stay acquired.
void syssem_close(syssem_semaphore *semaphore);

// Removes a semaphore from the system by its key, whoever uses it. `form` is a syssem_key_form.
//
// # Errors
// SYSSEM_NOT_FOUND if there is none, SYSSEM_PERMISSION_DENIED if it belongs to another user, SYSSEM_KEY_ERROR,
// SYSSEM_INVALID_ARGUMENT.
//
// # Safety
// `key` is NULL or ends with a NUL.
syssem_status syssem_remove(const char *key,
                            uint32_t form);

// The native key of the semaphore in its text form, which opens it with SYSSEM_KEY_TEXT.
//
// # Errors
// SYSSEM_INVALID_ARGUMENT.
syssem_status syssem_key_text(const syssem_semaphore *semaphore, syssem_text **key_text);

// What this semaphore can do.
//
// # Errors
// SYSSEM_INVALID_ARGUMENT.
syssem_status syssem_get_capabilities(const syssem_semaphore *semaphore, syssem_capabilities *capabilities);

// Takes `count` permits, all or none, waiting as long as it takes.
//
// They come in a guard, at `permit`. If that is NULL, the process holds them without one, until syssem_release() or its
// end. This is so with all functions that acquire.
//
// # Errors
// SYSSEM_NOT_FOUND if the semaphore is removed, also while waiting (where the type tells: robust and System V);
// SYSSEM_OUT_OF_RESOURCES if there can never be so many; SYSSEM_UNSUPPORTED if the type cannot take several at once;
// SYSSEM_INVALID_ARGUMENT.
syssem_status syssem_acquire(const syssem_semaphore *semaphore,
                             uint32_t count,
                             syssem_permit **permit);

// Takes `count` permits, all or none, if that needs no wait.
//
// # Errors
// SYSSEM_NO_PERMITS if it would, and those of syssem_acquire().
syssem_status syssem_try_acquire(const syssem_semaphore *semaphore, uint32_t count, syssem_permit **permit);

// Takes `count` permits, all or none, waiting no longer than so many nanoseconds, on a clock that cannot be set;
// SYSSEM_FOREVER: as long as it takes.
//
// # Errors
// SYSSEM_TIMED_OUT, and those of syssem_acquire(); SYSSEM_UNSUPPORTED where the type has no timeouts.
syssem_status syssem_acquire_timeout(const syssem_semaphore *semaphore,
                                     uint32_t count,
                                     uint64_t nanoseconds,
                                     syssem_permit **permit);

// Takes `count` permits, all or none, waiting no longer than until `deadline`, in nanoseconds of syssem_now();
// SYSSEM_FOREVER: as long as it takes.
//
// # Errors
// Those of syssem_acquire_timeout().
syssem_status syssem_acquire_deadline(const syssem_semaphore *semaphore,
                                      uint32_t count,
                                      uint64_t deadline,
                                      syssem_permit **permit);

// The same in a way that can be ended from outside.
//
// # Errors
// SYSSEM_INTERRUPTED if the wait was ended, and those of syssem_acquire_timeout().
//
// # Safety
// `interrupted` may be called with `context` until this returns.
syssem_status syssem_acquire_interruptible(const syssem_semaphore *semaphore,
                                           uint32_t count,
                                           uint64_t deadline,
                                           syssem_interrupted interrupted,
                                           void *context,
                                           syssem_permit **permit);

// The time of syssem_acquire_deadline(), in nanoseconds: of a clock that cannot be set, whose beginning says nothing.
uint64_t syssem_now(void);

// Releases up to `count` detached permits of this process, and adds the rest of `count`. Added permits stay when the
// process exits. 0 does nothing.
//
// # Errors
// SYSSEM_OUT_OF_RESOURCES if the count would pass the maximum: nothing has happened then. SYSSEM_NOT_FOUND if the
// semaphore was removed; SYSSEM_INVALID_ARGUMENT.
syssem_status syssem_release(const syssem_semaphore *semaphore,
                             uint32_t count);

// Creates `count` permits, and never gives back what this process holds.
//
// # Errors
// Those of syssem_release().
syssem_status syssem_add_permits(const syssem_semaphore *semaphore, uint32_t count);

// Forgets up to `count` detached permits of this process: they stay acquired, and no process holds them. Their number is
// written to `forgotten`, which may be NULL.
//
// # Errors
// SYSSEM_NOT_FOUND if the semaphore was removed; SYSSEM_INVALID_ARGUMENT.
syssem_status syssem_forget_detached(const syssem_semaphore *semaphore,
                                     uint32_t count,
                                     uint32_t *forgotten);

// Writes the number of detached permits of this process to `count`: permits that it holds without a guard.
//
// # Errors
// SYSSEM_INVALID_ARGUMENT.
syssem_status syssem_detached_permits(const syssem_semaphore *semaphore, uint32_t *count);

// How many permits are free at this moment. Others may take them in the next.
//
// # Errors
// SYSSEM_NOT_FOUND if the semaphore was removed, SYSSEM_UNSUPPORTED where the type does not tell,
// SYSSEM_INVALID_ARGUMENT.
syssem_status syssem_available_permits(const syssem_semaphore *semaphore, uint32_t *count);

// How many threads, of all processes, wait at this moment.
//
// # Errors
// Those of syssem_available_permits().
syssem_status syssem_waiting(const syssem_semaphore *semaphore, uint32_t *count);

// The process that operated on the semaphore last; 0 if none has, or if it cannot be seen from here.
//
// # Errors
// Those of syssem_available_permits().
syssem_status syssem_last_pid(const syssem_semaphore *semaphore, uint32_t *pid);

// How many holders have died and had their permits given back so far. Who guards data by the semaphore compares it before
// and after: what a dead holder guarded may be half written.
//
// # Errors
// Those of syssem_available_permits().
syssem_status syssem_recoveries(const syssem_semaphore *semaphore,
                                uint64_t *count);

// How many permits it was made with, or reset to.
//
// # Errors
// Those of syssem_available_permits().
syssem_status syssem_initial_value(const syssem_semaphore *semaphore, uint32_t *count);

// Whether it stays when its last user leaves.
//
// # Errors
// Those of syssem_available_permits().
syssem_status syssem_is_persistent(const syssem_semaphore *semaphore, bool *persistent);

// Who holds how many permits.
//
// # Errors
// Those of syssem_available_permits().
syssem_status syssem_get_holders(const syssem_semaphore *semaphore, syssem_holders **holders);

// How many holders these are.
size_t syssem_holders_count(const syssem_holders *holders);

// One of them, from 0 on, which stays as long as all do; NULL behind the last.
const syssem_holder *syssem_holders_at(const syssem_holders *holders, size_t index);

// Frees them. Nothing happens to NULL.
void syssem_holders_free(syssem_holders *holders);

// How many permits these are: 0 for NULL, and in a forked child, where they are its parent's still.
uint32_t syssem_permit_count(const syssem_permit *permit);

// Gives the permits back and frees the guard, in any case. Nothing happens to NULL.
//
// # Errors
// SYSSEM_NOT_FOUND if the semaphore was removed from the system; SYSSEM_OUT_OF_RESOURCES if others have created so many
// permits that the count has no room for all (it is filled up then).
syssem_status syssem_permit_release(syssem_permit *permit);

// Gives up ownership and frees the guard, in any case: the permits stay taken, and nobody owes them, so that the end of
// this process does not bring them back. Another one can create them again: that is producer/consumer and hand-over.
//
// # Errors
// SYSSEM_NOT_FOUND if the semaphore was removed from the system, SYSSEM_INVALID_ARGUMENT.
syssem_status syssem_permit_forget(syssem_permit *permit);

// Detaches the permits from the guard, and frees the guard. The process holds the permits until syssem_release() by any of
// its threads, or until it ends.
//
// # Errors
// SYSSEM_INVALID_ARGUMENT.
syssem_status syssem_permit_detach(syssem_permit *permit);

// Splits `count` permits off into a guard of their own.
//
// # Errors
// SYSSEM_INVALID_ARGUMENT, if there are fewer, too: nothing has happened then.
syssem_status syssem_permit_split(const syssem_permit *permit, uint32_t count, syssem_permit **part);

// Takes the permits of another guard over, which is empty then; it is still to be freed, by syssem_permit_release().
//
// # Errors
// SYSSEM_INVALID_ARGUMENT, also if the other one is the same, or of another semaphore, or the semaphore was reset between
// the two acquires, or in a forked child, or if together they would be more than it can count: nothing has happened then.
syssem_status syssem_permit_merge(const syssem_permit *permit,
                                  const syssem_permit *other);

// Whether this platform has semaphores of this type. May be called from any thread.
bool syssem_is_key_type_supported(uint16_t key_type);

// The native key of this type that suits the platform and keeps the name readable, in its text form, as Qt's
// QSystemSemaphore::platformSafeKey makes it. May be called from any thread.
//
// # Errors
// SYSSEM_KEY_ERROR if there is no such type, SYSSEM_INVALID_ARGUMENT.
//
// # Safety
// `name` is NULL or ends with a NUL.
syssem_status syssem_platform_safe_key(const char *name, uint16_t key_type, syssem_text **key_text);

// The native key of this type that programs from Qt 4.4 on have used for a plain name, in its text form, as Qt's
// QSystemSemaphore::legacyNativeKey makes it. May be called from any thread.
//
// # Errors
// SYSSEM_KEY_ERROR if there is no such type, SYSSEM_INVALID_ARGUMENT.
//
// # Safety
// `name` is NULL or ends with a NUL.
syssem_status syssem_legacy_native_key(const char *name,
                                       uint16_t key_type,
                                       syssem_text **key_text);

// The parts of a native key's text form: the number of its type, and its native name. Either may be NULL if it is not
// asked for. May be called from any thread.
//
// # Errors
// SYSSEM_KEY_ERROR if the text is not that of a key, SYSSEM_INVALID_ARGUMENT.
//
// # Safety
// `key_text` is NULL or ends with a NUL.
syssem_status syssem_read_key_text(const char *key_text,
                                   uint16_t *key_type,
                                   syssem_text **native_name);

// What went wrong when a function last answered other than SYSSEM_OK in this thread: the operation, the key, the reason
// and, where there is something to do, what to do. Empty if nothing has. Each thread has its own.
//
// The text stays until the next error of this thread, or its end.
const char *syssem_last_error_message(void);

// The operating system's number (errno) for the last error of this thread, where it gave one; else 0.
int32_t syssem_last_error_number(void);

// A few words that say what a status is, for ever; NULL never.
const char *syssem_status_text(int32_t status);

// The version of the library that is running, such as "0.1.0".
const char *syssem_version(void);

// Its characters, which stay as long as it does; NULL for NULL.
const char *syssem_text_data(const syssem_text *text);

// How many bytes it has, without the NUL behind it: native keys can have one within, too.
size_t syssem_text_length(const syssem_text *text);

// Frees it. Nothing happens to NULL.
void syssem_text_free(syssem_text *text);

// A key of this native name and type. Texts in this part are of `length` bytes; what is not UTF-8 is read as Qt reads it.
//
// # Safety
// So many bytes can be read.
syssem_qt_key *syssem_qt_key_new(const char *native_key,
                                 size_t length,
                                 uint16_t key_type);

// QNativeIpcKey::fromString().
//
// # Safety
// So many bytes can be read.
syssem_qt_key *syssem_qt_key_from_text(const char *key_text, size_t length);

// QSystemSemaphore::platformSafeKey().
//
// # Safety
// So many bytes can be read.
syssem_qt_key *syssem_qt_key_platform_safe(const char *name, size_t length, uint16_t key_type);

// QSystemSemaphore::legacyNativeKey().
//
// # Safety
// So many bytes can be read.
syssem_qt_key *syssem_qt_key_legacy(const char *name, size_t length, uint16_t key_type);

// QNativeIpcKey::legacyDefaultTypeForOs().
uint16_t syssem_qt_legacy_default_type(void);

// Another key like this one.
syssem_qt_key *syssem_qt_key_clone(const syssem_qt_key *key);

// Frees a key. Nothing happens to NULL.
void syssem_qt_key_free(syssem_qt_key *key);

// Whether the two are equal, in the plain names that they were made from, too.
bool syssem_qt_key_equals(const syssem_qt_key *key, const syssem_qt_key *other);

// QNativeIpcKey::isEmpty().
bool syssem_qt_key_is_empty(const syssem_qt_key *key);

// QNativeIpcKey::isValid().
bool syssem_qt_key_is_valid(const syssem_qt_key *key);

// QNativeIpcKey::type().
uint16_t syssem_qt_key_type(const syssem_qt_key *key);

// QNativeIpcKey::setType().
void syssem_qt_key_set_type(syssem_qt_key *key, uint16_t key_type);

// QNativeIpcKey::nativeKey().
syssem_text *syssem_qt_key_native(const syssem_qt_key *key);

// QNativeIpcKey::setNativeKey().
//
// # Safety
// So many bytes can be read.
void syssem_qt_key_set_native(syssem_qt_key *key, const char *native_key, size_t length);

// QNativeIpcKey::toString().
syssem_text *syssem_qt_key_text(const syssem_qt_key *key);

// A QSystemSemaphore from a plain name. `access_mode` is 0 (Open) or 1 (Create).
//
// # Safety
// So many bytes can be read.
syssem_qt_semaphore *syssem_qt_new(const char *name,
                                   size_t length,
                                   int32_t initial_value,
                                   int32_t access_mode);

// A QSystemSemaphore from a native key.
syssem_qt_semaphore *syssem_qt_new_native(const syssem_qt_key *key,
                                          int32_t initial_value,
                                          int32_t access_mode);

// The destructor. No other thread may be using it. Nothing happens to NULL.
void syssem_qt_free(syssem_qt_semaphore *semaphore);

// QSystemSemaphore::setKey().
//
// # Safety
// So many bytes can be read.
void syssem_qt_set_key(const syssem_qt_semaphore *semaphore,
                       const char *name,
                       size_t length,
                       int32_t initial_value,
                       int32_t access_mode);

// QSystemSemaphore::setNativeKey().
void syssem_qt_set_native_key(const syssem_qt_semaphore *semaphore,
                              const syssem_qt_key *key,
                              int32_t initial_value,
                              int32_t access_mode);

// QSystemSemaphore::key().
syssem_text *syssem_qt_key_name(const syssem_qt_semaphore *semaphore);

// QSystemSemaphore::nativeIpcKey().
syssem_qt_key *syssem_qt_native_key(const syssem_qt_semaphore *semaphore);

// QSystemSemaphore::isKeyTypeSupported().
bool syssem_qt_is_key_type_supported(uint16_t key_type);

// QSystemSemaphore::acquire(), of `n`; they are the process's until it releases them, or ends.
bool syssem_qt_acquire(const syssem_qt_semaphore *semaphore, int32_t n);

// The same, waiting at most so many milliseconds; without an end if that is negative.
bool syssem_qt_try_acquire(const syssem_qt_semaphore *semaphore, int32_t n, int32_t timeout);

// QSystemSemaphore::release().
bool syssem_qt_release(const syssem_qt_semaphore *semaphore, int32_t n);

// Gives up ownership of `n` permits that this process holds: they stay taken, also when it ends. False if it held fewer,
// which are forgotten.
bool syssem_qt_forget(const syssem_qt_semaphore *semaphore,
                      int32_t n);

// How many permits are free; -1 on an error, which is set.
int64_t syssem_qt_available(const syssem_qt_semaphore *semaphore);

// QSystemSemaphore::error().
int32_t syssem_qt_error(const syssem_qt_semaphore *semaphore);

// QSystemSemaphore::errorString().
syssem_text *syssem_qt_error_string(const syssem_qt_semaphore *semaphore);

#ifdef __cplusplus
}  // extern "C"
#endif  // __cplusplus

#endif  /* SYSTEM_SEMAPHORE_H */
