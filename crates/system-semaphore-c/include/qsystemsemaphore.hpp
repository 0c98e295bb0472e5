// QSystemSemaphore and QNativeIpcKey with the members, numbers and defaults that they have in Qt 6, over libsystem_semaphore
// (C++17, header only). Code written for Qt includes this instead of <QSystemSemaphore>, and needs no Qt.
//
// Texts. Without Qt they are std::string; all functions take anything that converts to std::string_view. If Qt Core's
// QString is known when this is included, functions take QString, too, and give QString, as in Qt.
//
// Names. The classes are system_semaphore::QSystemSemaphore and system_semaphore::QNativeIpcKey. They have their global
// names, too, but where Qt's own are known when this is included. If Qt's <QSystemSemaphore> comes after this in the same
// file, both compile; the bare name means two things then, and the compiler says so where it is used: write
// ::QSystemSemaphore for Qt's and system_semaphore::QSystemSemaphore for this one. With QString and Qt 6.6 or newer
// QNativeIpcKey is Qt's own class. (Without QString before this, Qt 6.6 and newer must not come after it.)
//
// Beyond Qt: acquire(n), tryAcquire(), available(), forget(). All members may be called from any thread at once.
// docs/qt.md tells what else differs from Qt.

#ifndef SYSTEM_SEMAPHORE_QSYSTEMSEMAPHORE_HPP
#define SYSTEM_SEMAPHORE_QSYSTEMSEMAPHORE_HPP

#if __cplusplus < 201703L && !defined(_MSVC_LANG)
#  error "qsystemsemaphore.hpp needs C++17"
#endif

#include <cstddef>
#include <cstdint>
#include <functional>
#include <memory>
#include <new>
#include <string>
#include <string_view>
#include <type_traits>

#include "system_semaphore.h"

// What is known of Qt decides what the classes look like, so each case has its own names for the linker.
#ifndef QSTRING_H
#  define SYSTEM_SEMAPHORE_TEXTS std_texts
#elif QT_VERSION < 0x060600
#  define SYSTEM_SEMAPHORE_TEXTS qt_texts
#else
#  define SYSTEM_SEMAPHORE_TEXTS qt_keys
#  define SYSTEM_SEMAPHORE_QT_KEYS
#  include <QtCore/qtipccommon.h>
#endif

namespace system_semaphore {
inline namespace SYSTEM_SEMAPHORE_TEXTS {
namespace qt_detail {

struct deleter {
    void operator()(syssem_qt_semaphore *semaphore) const noexcept { syssem_qt_free(semaphore); }
    void operator()(syssem_qt_key *key) const noexcept { syssem_qt_key_free(key); }
    void operator()(syssem_text *text) const noexcept { syssem_text_free(text); }
};

template <typename T> using handle = std::unique_ptr<T, deleter>;

/// What C gave, which is NULL only after a defect of the library.
template <typename T> handle<T> own(T *given)
{
    if (!given)
        throw std::bad_alloc();
    return handle<T>(given);
}

#ifdef QSTRING_H
using string = QT_PREPEND_NAMESPACE(QString);
#else
using string = std::string;
#endif

/// Whether something is a text.
template <typename T>
constexpr bool is_text = std::is_convertible_v<const T &, std::string_view> || std::is_convertible_v<const T &, string>;

/// As UTF-8.
template <typename T> std::string utf8(const T &text)
{
    if constexpr (std::is_convertible_v<const T &, const char *>) {
        const char *characters = text;
        return characters ? std::string(characters) : std::string();
    } else if constexpr (std::is_convertible_v<const T &, std::string_view>) {
        return std::string(static_cast<std::string_view>(text));
    } else {
        const string converted = text;
#ifdef QSTRING_H
        return converted.toStdString();
#else
        return converted;
#endif
    }
}

inline string take(syssem_text *given)
{
    const handle<syssem_text> text = own(given);
    const char *data = syssem_text_data(text.get());
    const std::size_t length = syssem_text_length(text.get());
#ifdef QSTRING_H
    return string::fromUtf8(data, static_cast<int>(length));
#else
    return string(data, length);
#endif
}

} // namespace qt_detail

#ifdef SYSTEM_SEMAPHORE_QT_KEYS

using QNativeIpcKey = QT_PREPEND_NAMESPACE(QNativeIpcKey);

namespace qt_detail {

inline handle<syssem_qt_key> key_handle(const QNativeIpcKey &key)
{
    const std::string text = key.toString().toStdString();
    if (!text.empty())
        return own(syssem_qt_key_from_text(text.data(), text.size()));
    // Qt has no text for a type that it does not know
    const std::string native = key.nativeKey().toStdString();
    return own(syssem_qt_key_new(native.data(), native.size(), static_cast<std::uint16_t>(key.type())));
}

inline QNativeIpcKey key_of(syssem_qt_key *given)
{
    const handle<syssem_qt_key> owner = own(given);
    const QNativeIpcKey key = QNativeIpcKey::fromString(take(syssem_qt_key_text(given)));
    if (key.isValid())
        return key;
    return QNativeIpcKey(take(syssem_qt_key_native(given)), QNativeIpcKey::Type(syssem_qt_key_type(given)));
}

} // namespace qt_detail

#else // SYSTEM_SEMAPHORE_QT_KEYS

class QNativeIpcKey;

namespace qt_detail {
handle<syssem_qt_key> key_handle(const QNativeIpcKey &key);
QNativeIpcKey key_of(syssem_qt_key *given);
} // namespace qt_detail

/// The exact name of a semaphore in the operating system: a type and a native key.
class QNativeIpcKey {
public:
    enum class Type : std::uint16_t {
        SystemV = 0x51,
        PosixRealtime = 0x100,
        Windows = 0x101,
        /// This library's crash-safe semaphores.
        Robust = 0x200,
    };

    static constexpr Type DefaultTypeForOs =
#ifdef _WIN32
        Type::Windows;
#else
        Type::PosixRealtime;
#endif

    static Type legacyDefaultTypeForOs() noexcept { return Type(syssem_qt_legacy_default_type()); }

    QNativeIpcKey() : QNativeIpcKey("", DefaultTypeForOs) {}

    explicit QNativeIpcKey(Type type) : QNativeIpcKey("", type) {}

    template <typename Text, std::enable_if_t<qt_detail::is_text<Text>, int> = 0>
    QNativeIpcKey(const Text &key, Type type = DefaultTypeForOs) : QNativeIpcKey(made(qt_detail::utf8(key), type))
    {
    }

    QNativeIpcKey(const QNativeIpcKey &other) : QNativeIpcKey(syssem_qt_key_clone(other.handle_.get())) {}

    QNativeIpcKey &operator=(const QNativeIpcKey &other)
    {
        QNativeIpcKey(other).swap(*this);
        return *this;
    }

    void swap(QNativeIpcKey &other) noexcept { handle_.swap(other.handle_); }

    bool isEmpty() const noexcept { return syssem_qt_key_is_empty(handle_.get()); }
    bool isValid() const noexcept { return syssem_qt_key_is_valid(handle_.get()); }

    Type type() const noexcept { return Type(syssem_qt_key_type(handle_.get())); }
    void setType(Type type) { syssem_qt_key_set_type(handle_.get(), static_cast<std::uint16_t>(type)); }

    qt_detail::string nativeKey() const { return qt_detail::take(syssem_qt_key_native(handle_.get())); }

    template <typename Text> void setNativeKey(const Text &key)
    {
        const std::string native = qt_detail::utf8(key);
        syssem_qt_key_set_native(handle_.get(), native.data(), native.size());
    }

    qt_detail::string toString() const { return qt_detail::take(syssem_qt_key_text(handle_.get())); }

    template <typename Text> static QNativeIpcKey fromString(const Text &text)
    {
        const std::string key = qt_detail::utf8(text);
        return QNativeIpcKey(syssem_qt_key_from_text(key.data(), key.size()));
    }

    friend bool operator==(const QNativeIpcKey &a, const QNativeIpcKey &b) noexcept
    {
        return syssem_qt_key_equals(a.handle_.get(), b.handle_.get());
    }

    friend bool operator!=(const QNativeIpcKey &a, const QNativeIpcKey &b) noexcept { return !(a == b); }

    friend void swap(QNativeIpcKey &a, QNativeIpcKey &b) noexcept { a.swap(b); }

    friend std::size_t qHash(const QNativeIpcKey &key, std::size_t seed = 0)
    {
        const std::string native = qt_detail::utf8(key.nativeKey());
        return std::hash<std::string>()(native) ^ static_cast<std::size_t>(key.type()) ^ seed;
    }

private:
    friend qt_detail::handle<syssem_qt_key> qt_detail::key_handle(const QNativeIpcKey &key);
    friend QNativeIpcKey qt_detail::key_of(syssem_qt_key *given);

    explicit QNativeIpcKey(syssem_qt_key *handle) : handle_(qt_detail::own(handle)) {}

    static syssem_qt_key *made(const std::string &key, Type type)
    {
        return syssem_qt_key_new(key.data(), key.size(), static_cast<std::uint16_t>(type));
    }

    qt_detail::handle<syssem_qt_key> handle_;
};

namespace qt_detail {

inline handle<syssem_qt_key> key_handle(const QNativeIpcKey &key)
{
    return own(syssem_qt_key_clone(key.handle_.get()));
}

inline QNativeIpcKey key_of(syssem_qt_key *given) { return QNativeIpcKey(given); }

} // namespace qt_detail

#endif // SYSTEM_SEMAPHORE_QT_KEYS

/// A counting semaphore shared by processes. What acquire() takes is the process's until it releases it, or ends.
class QSystemSemaphore {
public:
    enum AccessMode { Open, Create };

    enum SystemSemaphoreError {
        NoError,
        PermissionDenied,
        KeyError,
        AlreadyExists,
        NotFound,
        OutOfResources,
        UnknownError,
    };

    QSystemSemaphore(const QNativeIpcKey &key, int initialValue = 0, AccessMode mode = Open)
        : handle_(qt_detail::own(syssem_qt_new_native(qt_detail::key_handle(key).get(), initialValue, mode)))
    {
    }

    template <typename Text, std::enable_if_t<qt_detail::is_text<Text>, int> = 0>
    QSystemSemaphore(const Text &key, int initialValue = 0, AccessMode mode = Open)
        : handle_(made(qt_detail::utf8(key), initialValue, mode))
    {
    }

    QSystemSemaphore(const QSystemSemaphore &) = delete;
    QSystemSemaphore &operator=(const QSystemSemaphore &) = delete;

    void setNativeKey(const QNativeIpcKey &key, int initialValue = 0, AccessMode mode = Open)
    {
        syssem_qt_set_native_key(handle_.get(), qt_detail::key_handle(key).get(), initialValue, mode);
    }

    template <typename Text, std::enable_if_t<qt_detail::is_text<Text>, int> = 0>
    void setNativeKey(
        const Text &key, int initialValue = 0, AccessMode mode = Open,
        QNativeIpcKey::Type type = QNativeIpcKey::legacyDefaultTypeForOs())
    {
        const std::string native = qt_detail::utf8(key);
        const auto handle = qt_detail::own(
            syssem_qt_key_new(native.data(), native.size(), static_cast<std::uint16_t>(type)));
        syssem_qt_set_native_key(handle_.get(), handle.get(), initialValue, mode);
    }

    QNativeIpcKey nativeIpcKey() const { return qt_detail::key_of(syssem_qt_native_key(handle_.get())); }

    template <typename Text> void setKey(const Text &key, int initialValue = 0, AccessMode mode = Open)
    {
        const std::string name = qt_detail::utf8(key);
        syssem_qt_set_key(handle_.get(), name.data(), name.size(), initialValue, mode);
    }

    qt_detail::string key() const { return qt_detail::take(syssem_qt_key_name(handle_.get())); }

    bool acquire() { return acquire(1); }

    /// Takes `n` at once, all or none. (Qt's takes one.)
    bool acquire(int n) { return syssem_qt_acquire(handle_.get(), n); }

    /// As QSemaphore's: waits at most so many milliseconds; without an end if that is negative.
    bool tryAcquire(int n = 1, int timeout = 0) { return syssem_qt_try_acquire(handle_.get(), n, timeout); }

    bool release(int n = 1) { return syssem_qt_release(handle_.get(), n); }

    /// Gives up ownership of `n` that this process holds: they stay taken, also when it ends, until somebody releases as
    /// many. That is how a consumer takes an item for good. False if it held fewer, which are forgotten.
    bool forget(int n = 1) { return syssem_qt_forget(handle_.get(), n); }

    /// How many are free; -1 after an error, which is set.
    int available() { return static_cast<int>(syssem_qt_available(handle_.get())); }

    SystemSemaphoreError error() const { return static_cast<SystemSemaphoreError>(syssem_qt_error(handle_.get())); }

    qt_detail::string errorString() const { return qt_detail::take(syssem_qt_error_string(handle_.get())); }

    static bool isKeyTypeSupported(QNativeIpcKey::Type type)
    {
        return syssem_qt_is_key_type_supported(static_cast<std::uint16_t>(type));
    }

    template <typename Text>
    static QNativeIpcKey platformSafeKey(
        const Text &key, QNativeIpcKey::Type type = QNativeIpcKey::DefaultTypeForOs)
    {
        const std::string name = qt_detail::utf8(key);
        return qt_detail::key_of(
            syssem_qt_key_platform_safe(name.data(), name.size(), static_cast<std::uint16_t>(type)));
    }

    template <typename Text>
    static QNativeIpcKey legacyNativeKey(
        const Text &key, QNativeIpcKey::Type type = QNativeIpcKey::legacyDefaultTypeForOs())
    {
        const std::string name = qt_detail::utf8(key);
        return qt_detail::key_of(
            syssem_qt_key_legacy(name.data(), name.size(), static_cast<std::uint16_t>(type)));
    }

private:
    static qt_detail::handle<syssem_qt_semaphore> made(const std::string &key, int initialValue, AccessMode mode)
    {
        return qt_detail::own(syssem_qt_new(key.data(), key.size(), initialValue, mode));
    }

    qt_detail::handle<syssem_qt_semaphore> handle_;
};

} // inline namespace
} // namespace system_semaphore

// The global names. A using-directive and not declarations, so that Qt's own classes can be declared after this.
namespace system_semaphore_global_names {
#ifndef QSYSTEMSEMAPHORE_H
using system_semaphore::QSystemSemaphore;
#endif
#ifndef SYSTEM_SEMAPHORE_QT_KEYS
using system_semaphore::QNativeIpcKey;
#endif
} // namespace system_semaphore_global_names

using namespace system_semaphore_global_names;

#undef SYSTEM_SEMAPHORE_TEXTS
#undef SYSTEM_SEMAPHORE_QT_KEYS

#endif // SYSTEM_SEMAPHORE_QSYSTEMSEMAPHORE_HPP
