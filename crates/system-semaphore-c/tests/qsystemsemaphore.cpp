// QSystemSemaphore without Qt. Compiled as C++17 and run by `check`, on the engine that its environment names.

#include "qsystemsemaphore.hpp"

#include "checks.h"

#include <csignal>
#include <cstring>
#include <string>
#include <sys/wait.h>
#include <thread>
#include <type_traits>
#include <unordered_set>

static_assert(std::is_same_v<QSystemSemaphore, system_semaphore::QSystemSemaphore>);
static_assert(std::is_same_v<::QNativeIpcKey, system_semaphore::QNativeIpcKey>);
static_assert(!std::is_copy_constructible_v<QSystemSemaphore> && !std::is_move_constructible_v<QSystemSemaphore>);
static_assert(QSystemSemaphore::Open == 0 && QSystemSemaphore::AccessMode::Create == 1);
static_assert(QSystemSemaphore::NoError == 0 && QSystemSemaphore::PermissionDenied == 1);
static_assert(QSystemSemaphore::KeyError == 2 && QSystemSemaphore::AlreadyExists == 3);
static_assert(QSystemSemaphore::NotFound == 4 && QSystemSemaphore::OutOfResources == 5);
static_assert(QSystemSemaphore::SystemSemaphoreError::UnknownError == 6);
static_assert(static_cast<int>(QNativeIpcKey::Type::SystemV) == 81);
static_assert(static_cast<int>(QNativeIpcKey::Type::PosixRealtime) == 256);
static_assert(static_cast<int>(QNativeIpcKey::Type::Windows) == 257);
static_assert(static_cast<int>(QNativeIpcKey::Type::Robust) == 512);
static_assert(QNativeIpcKey::DefaultTypeForOs == QNativeIpcKey::Type::PosixRealtime);
static_assert(std::is_convertible_v<std::string, QNativeIpcKey>);
static_assert(!std::is_convertible_v<QNativeIpcKey::Type, QNativeIpcKey>);

namespace {

using Type = QNativeIpcKey::Type;

void keys()
{
    const QNativeIpcKey none;
    CHECK(none.isEmpty() && none.isValid() && none.type() == Type::PosixRealtime);
    CHECK(QNativeIpcKey::legacyDefaultTypeForOs() == Type::SystemV);
    CHECK(QNativeIpcKey(Type::SystemV).type() == Type::SystemV);
    QNativeIpcKey key("/printer");
    CHECK(key.nativeKey() == "/printer" && key.toString() == "posix:/printer" && !key.isEmpty());
    CHECK(QNativeIpcKey::fromString(key.toString()) == key && key != none);
    CHECK(!QNativeIpcKey::fromString("printer").isValid());

    QNativeIpcKey copy = key, moved = std::move(copy);
    copy.setType(Type::SystemV);
    copy.setNativeKey(std::string_view("/other"));
    CHECK(copy.toString() == "systemv:/other" && moved == key);
    swap(copy, key);
    CHECK(copy == moved && key.nativeKey() == "/other");
    copy = key;
    CHECK(copy == key && qHash(copy) == qHash(key) && qHash(copy) != qHash(moved));

    // the plain name belongs to the key
    const auto legacy = QSystemSemaphore::legacyNativeKey("printer", Type::PosixRealtime);
    CHECK(legacy.nativeKey() == "/qipc_systemsem_printer3d3221b2db3115d65e938a1c497f209256c6185f");
    CHECK(legacy != QNativeIpcKey(legacy.nativeKey()));
    CHECK(QSystemSemaphore::legacyNativeKey("printer").type() == Type::SystemV);
    CHECK(QSystemSemaphore::platformSafeKey("printer") == QNativeIpcKey("/printer"));
    CHECK(QSystemSemaphore::platformSafeKey(std::string("/a"), Type::SystemV).nativeKey() == "/a");
    // not cut off at a NUL
    CHECK(QNativeIpcKey(std::string("/a\0b", 4)).toString() == "posix:/a%00b");
    CHECK(QNativeIpcKey(std::string("/a\0b", 4)).nativeKey().size() == 4);

    CHECK(QSystemSemaphore::isKeyTypeSupported(Type::SystemV));
    CHECK(QSystemSemaphore::isKeyTypeSupported(Type(1)) && !QSystemSemaphore::isKeyTypeSupported(Type(0)));
    CHECK(!QSystemSemaphore::isKeyTypeSupported(Type::Windows));
}

void rules()
{
    const std::string name = NAME("rules");
    QSystemSemaphore sem(name, 2, QSystemSemaphore::Create), user(name.c_str());
    CHECK(sem.error() == QSystemSemaphore::NoError && sem.errorString().empty() && sem.key() == name);
    CHECK(sem.nativeIpcKey() == QSystemSemaphore::legacyNativeKey(name));
    CHECK(sem.acquire() && user.acquire() && !sem.tryAcquire() && sem.error() == QSystemSemaphore::NoError);
    CHECK(!sem.tryAcquire(1, 20) && sem.available() == 0);
    CHECK(user.release() && sem.available() == 1 && sem.tryAcquire(1, -1));
    // forgotten: taken for good
    CHECK(sem.forget() && !sem.forget(5) && sem.available() == 0);
    // nothing is held now, so these are created
    CHECK(sem.release(2) && sem.available() == 2);

    CHECK(sem.release(0) && !sem.release(-1) && sem.error() == QSystemSemaphore::NoError);
    CHECK(sem.acquire(0) && !sem.acquire(-1) && sem.available() == 2);

    // the same key with Open changes nothing, with Create it sets the count
    sem.setKey(name, 7);
    CHECK(sem.available() == 2);
    sem.setKey(name, 7, QSystemSemaphore::Create);
    CHECK(sem.available() == 7);
    sem.setNativeKey(QNativeIpcKey("x", Type::Windows));
    CHECK(sem.error() == QSystemSemaphore::KeyError && sem.key() == name);
    CHECK(sem.errorString() == "QSystemSemaphore::setNativeKey: unsupported key type");
    sem.setNativeKey("/" + name, 4, QSystemSemaphore::Open, Type::PosixRealtime);
    CHECK(sem.available() == 4 && sem.key().empty() && sem.error() == QSystemSemaphore::NoError);
    CHECK(sem.nativeIpcKey() == QNativeIpcKey("/" + name));
    sem.setNativeKey({"/" + name + "-braces", Type::PosixRealtime}, 5);
    CHECK(sem.available() == 5);

    QSystemSemaphore empty("");
    CHECK(empty.error() == QSystemSemaphore::NoError && !empty.acquire());
    CHECK(empty.error() == QSystemSemaphore::KeyError);
    CHECK(empty.errorString() == "QSystemSemaphore::handle:: key is empty" && empty.available() == -1);
    CHECK(QSystemSemaphore("", 0, QSystemSemaphore::Create).error() == QSystemSemaphore::KeyError);
}

// What acquire() took is the process's, not the object's.
void lifetime()
{
    const std::string name = NAME("lifetime");
    QSystemSemaphore maker(name, 2, QSystemSemaphore::Create);
    {
        QSystemSemaphore user(name);
        CHECK(user.acquire());
    }
    CHECK(maker.available() == 1 && maker.release() && maker.available() == 2);
}

// Whoever kills a holder: with the robust engine all of Qt's types give back.
void a_killed_holder(const QNativeIpcKey &key)
{
    QSystemSemaphore sem(key, 3, QSystemSemaphore::Create);
    int ready[2];
    CHECK(pipe(ready) == 0);
    const pid_t child = fork();
    CHECK(child >= 0);
    if (child == 0) {
        QSystemSemaphore mine(key);
        CHECK(mine.acquire() && mine.acquire() && mine.release() && mine.acquire());
        CHECK(write(ready[1], "x", 1) == 1);
        for (;;)
            pause();
    }
    close(ready[1]);
    char byte;
    CHECK(read(ready[0], &byte, 1) == 1);
    close(ready[0]);
    CHECK(sem.available() == 1 && kill(child, SIGKILL) == 0);
    for (int taken = 0; taken < 3; ++taken)
        CHECK(sem.tryAcquire(1, 60000));
    CHECK(waitpid(child, nullptr, 0) == child);
    CHECK(sem.release(3));
}

void another_thread_releases()
{
    QSystemSemaphore sem(NAME("thread"), 0, QSystemSemaphore::Create);
    std::thread waiter([&] { CHECK(sem.acquire()); });
    CHECK(sem.release());
    waiter.join();
    // it is the process's, so that this thread can give it back
    CHECK(sem.release() && sem.available() == 1);
}

} // namespace

int main()
{
    const char *engine = std::getenv("SYSTEM_SEMAPHORE_QT");
    const bool robust = engine && std::strcmp(engine, "robust") == 0;
    keys();
    lifetime();
    another_thread_releases();
    a_killed_holder(QSystemSemaphore::legacyNativeKey(NAME("killed")));
    if (robust)
        a_killed_holder(QSystemSemaphore::platformSafeKey(NAME("killed-posix")));
    else
        rules();
    std::puts("ok");
}
