// Counting semaphores shared by processes: the C++ face of system-semaphore (C++17, header only, over libsystem_semaphore).
//
//     system_semaphore::semaphore market("market", 3);
//     auto permit = market.acquire();                                   // given back by its destructor
//     if (auto two = market.try_acquire_for(std::chrono::seconds(1), 2)) // both or none
//         ...
//
// Each function that can fail throws `error`, or, if an `error &` is given as last argument, writes it there (and what it
// held before is lost). What the words mean is told in the documentation of the Rust crate; the functions of the C header
// beside this file tell their errors.
//
// A `semaphore` may be used by all threads at once, a `permit` object by one at a time.

#ifndef SYSTEM_SEMAPHORE_HPP
#define SYSTEM_SEMAPHORE_HPP

#if __cplusplus < 201703L && !defined(_MSVC_LANG)
#  error "system_semaphore.hpp needs C++17"
#endif

#include <chrono>
#include <cstddef>
#include <cstdint>
#include <memory>
#include <optional>
#include <stdexcept>
#include <string>
#include <string_view>
#include <utility>
#include <vector>

#include "system_semaphore.h"

namespace system_semaphore {

/// What went wrong. There may be more in later versions.
enum class error_kind {
    none = SYSSEM_OK,
    permission_denied = SYSSEM_PERMISSION_DENIED,
    key_error = SYSSEM_KEY_ERROR,
    already_exists = SYSSEM_ALREADY_EXISTS,
    not_found = SYSSEM_NOT_FOUND,
    out_of_resources = SYSSEM_OUT_OF_RESOURCES,
    unknown = SYSSEM_UNKNOWN,
    timed_out = SYSSEM_TIMED_OUT,
    no_permits = SYSSEM_NO_PERMITS,
    unsupported = SYSSEM_UNSUPPORTED,
    corrupt = SYSSEM_CORRUPT,
    interrupted = SYSSEM_INTERRUPTED,
    invalid_argument = SYSSEM_INVALID_ARGUMENT,
    defect = SYSSEM_DEFECT,
};

/// An error, or none: what was tried, on which key, why it failed and what to do.
class error : public std::runtime_error {
public:
    error() : std::runtime_error("no error") {}

    error(error_kind kind, const std::string &message, int os_error = 0)
        : std::runtime_error(message), kind_(kind), os_error_(os_error)
    {
    }

    error_kind kind() const noexcept { return kind_; }

    /// The operating system's number (errno), where it gave one; else 0.
    int os_error() const noexcept { return os_error_; }

    /// Whether it is one.
    explicit operator bool() const noexcept { return kind_ != error_kind::none; }

private:
    error_kind kind_ = error_kind::none;
    int os_error_ = 0;
};

namespace detail {

/// Turns what a function of C answered into an error, which is thrown if there is no place for it. True if there is none.
inline bool done(syssem_status status, error *failure = nullptr)
{
    if (status == SYSSEM_OK) {
        if (failure && *failure)
            *failure = error();
        return true;
    }
    error reason(static_cast<error_kind>(status), syssem_last_error_message(), syssem_last_error_number());
    if (!failure)
        throw reason;
    *failure = std::move(reason);
    return false;
}

struct deleter {
    void operator()(syssem_semaphore *semaphore) const noexcept { syssem_close(semaphore); }
    void operator()(syssem_permit *permit) const noexcept { (void)syssem_permit_release(permit); }
    void operator()(syssem_holders *holders) const noexcept { syssem_holders_free(holders); }
    void operator()(syssem_text *text) const noexcept { syssem_text_free(text); }
};

template <typename T> using handle = std::unique_ptr<T, deleter>;

/// Frees a text and keeps what it says.
inline std::string take(syssem_text *text)
{
    const handle<syssem_text> owner(text);
    return text ? std::string(syssem_text_data(text), syssem_text_length(text)) : std::string();
}

/// A text for C. One that C would cut off is an error.
inline bool is_whole(std::string_view text, error *failure = nullptr)
{
    if (text.find('\0') == std::string_view::npos)
        return true;
    error reason(error_kind::key_error, "a NUL cannot be in the name of a semaphore");
    if (!failure)
        throw reason;
    *failure = std::move(reason);
    return false;
}

/// As nanoseconds, rounded up, within what there is.
template <typename Rep, typename Period>
std::uint64_t nanoseconds(const std::chrono::duration<Rep, Period> &duration)
{
    using std::chrono::nanoseconds;
    constexpr std::chrono::duration<double> longest = std::chrono::hours(24 * 365 * 100);
    if (!(duration > duration.zero()))
        return 0;
    if (std::chrono::duration<double>(duration) >= longest)
        return SYSSEM_FOREVER;
    return static_cast<std::uint64_t>(std::chrono::ceil<nanoseconds>(duration).count());
}

} // namespace detail

/// The type of a key, by its number: `robust`, `system_v`, `posix`, `windows`; 1 to 255 are System V with other project ids.
enum class key_type : std::uint16_t {
    robust = SYSSEM_ROBUST,
    system_v = SYSSEM_SYSTEM_V,
    posix = SYSSEM_POSIX,
    windows = SYSSEM_WINDOWS,
};

/// The exact name of a semaphore in the operating system, kept in its text form: "robust:market", "posix:/market".
class native_key {
public:
    explicit native_key(std::string text) : text_(std::move(text)) {}

    /// The key of this type that suits the platform and keeps the name readable.
    static native_key platform_safe(const std::string &name, key_type type)
    {
        return derive(syssem_platform_safe_key, name, type);
    }

    /// The key of this type that Qt's programs have used for a plain name.
    static native_key legacy(const std::string &name, key_type type)
    {
        return derive(syssem_legacy_native_key, name, type);
    }

    const std::string &text() const noexcept { return text_; }

    key_type type() const
    {
        std::uint16_t number = 0;
        read(&number, nullptr);
        return static_cast<key_type>(number);
    }

    std::string native_name() const
    {
        syssem_text *name = nullptr;
        read(nullptr, &name);
        return detail::take(name);
    }

    friend bool operator==(const native_key &a, const native_key &b) noexcept { return a.text_ == b.text_; }
    friend bool operator!=(const native_key &a, const native_key &b) noexcept { return !(a == b); }

private:
    using derivation = syssem_status (*)(const char *, std::uint16_t, syssem_text **);

    static native_key derive(derivation function, const std::string &name, key_type type)
    {
        syssem_text *text = nullptr;
        detail::is_whole(name);
        detail::done(function(name.c_str(), static_cast<std::uint16_t>(type), &text));
        return native_key(detail::take(text));
    }

    void read(std::uint16_t *type, syssem_text **name) const
    {
        detail::is_whole(text_);
        detail::done(syssem_read_key_text(text_.c_str(), type, name));
    }

    std::string text_;
};

inline bool is_key_type_supported(key_type type) noexcept
{
    return syssem_is_key_type_supported(static_cast<std::uint16_t>(type));
}

/// Permits taken from a semaphore, or none. Its destructor gives them back, and so does the end of the process, however
/// that comes (where the type of semaphore can do that).
class permit {
public:
    permit() noexcept = default;

    /// How many permits these are: 0 in a forked child, where they are its parent's still.
    std::uint32_t count() const noexcept { return syssem_permit_count(handle_.get()); }

    /// Whether it is one: false where nothing was acquired, and after release(), forget() and detach().
    explicit operator bool() const noexcept { return handle_ != nullptr; }

    /// Gives the permits back now.
    void release() { detail::done(syssem_permit_release(handle_.release())); }
    void release(error &failure) { detail::done(syssem_permit_release(handle_.release()), &failure); }

    /// Leaves the permits taken and owed by nobody: that is producer/consumer and hand-over.
    void forget() { detail::done(syssem_permit_forget(handle_.release())); }
    void forget(error &failure) { detail::done(syssem_permit_forget(handle_.release()), &failure); }

    /// Detaches the permits from this guard: the process holds them until semaphore::release(), or until it ends.
    void detach() { detail::done(syssem_permit_detach(handle_.release())); }
    void detach(error &failure) { detail::done(syssem_permit_detach(handle_.release()), &failure); }

    /// Splits `count` permits off.
    permit split(std::uint32_t count) { return split_off(count, nullptr); }
    permit split(std::uint32_t count, error &failure) { return split_off(count, &failure); }

    /// Takes the permits of another guard over, which keeps them if that fails.
    void merge(permit &&other) { take_over(other, nullptr); }
    void merge(permit &&other, error &failure) { take_over(other, &failure); }

private:
    friend class semaphore;

    explicit permit(syssem_permit *handle) noexcept : handle_(handle) {}

    permit split_off(std::uint32_t count, error *failure)
    {
        syssem_permit *part = nullptr;
        detail::done(syssem_permit_split(handle_.get(), count, &part), failure);
        return permit(part);
    }

    void take_over(permit &other, error *failure)
    {
        if (detail::done(syssem_permit_merge(handle_.get(), other.handle_.get()), failure))
            other.handle_.reset();
    }

    detail::handle<syssem_permit> handle_;
};

enum class access_mode {
    /// Use it if it exists (the initial value is then ignored), else create it.
    open = SYSSEM_OPEN,
    /// Create it, or set the count of the one that is there.
    create = SYSSEM_CREATE,
    /// Create it; already_exists if it is there.
    create_new = SYSSEM_CREATE_NEW,
    /// Use it; not_found if it is not there.
    open_existing = SYSSEM_OPEN_EXISTING,
};

/// How a semaphore is opened. What is not said is as the library has it.
struct options {
    access_mode mode = access_mode::open;
    std::uint32_t initial_value = 0;
    /// The largest count it may have (robust ones).
    std::optional<std::uint32_t> max_permits;
    /// Who may use it, as Unix permission bits; the user alone if not said.
    std::optional<std::uint32_t> permissions;
    /// The type of semaphore that a plain name means.
    std::optional<key_type> type;
    /// It stays when its last user has gone, until it is removed.
    bool persistent = false;
};

/// Who holds permits.
struct holder {
    /// The process, unless it is one of another PID namespace.
    std::optional<std::uint32_t> pid;
    /// The name of its program, where that may be read.
    std::optional<std::string> command;
    std::uint32_t permits = 0;
    /// Since when, where that is known.
    std::optional<std::chrono::system_clock::time_point> since;
};

using capabilities = syssem_capabilities;

/// A counting semaphore shared by processes, named by a key. A handle: copies, and others that this process opens by the
/// same key, are the same semaphore.
class semaphore {
public:
    /// Opens or creates a semaphore by its plain name.
    explicit semaphore(std::string_view name, std::uint32_t initial_value = 0, access_mode mode = access_mode::open)
        : semaphore(name, with(initial_value, mode))
    {
    }

    semaphore(std::string_view name, const options &options) : semaphore(name, SYSSEM_NAME, options) {}

    /// Opens or creates the semaphore that has exactly this key.
    explicit semaphore(const native_key &key, std::uint32_t initial_value = 0, access_mode mode = access_mode::open)
        : semaphore(key, with(initial_value, mode))
    {
    }

    semaphore(const native_key &key, const options &options) : semaphore(key.text(), SYSSEM_KEY_TEXT, options) {}

    /// The same without exceptions: nothing, and the error, if it cannot be opened.
    static std::optional<semaphore> open(std::string_view name, const options &options, error &failure)
    {
        return opened(name, SYSSEM_NAME, options, failure);
    }

    static std::optional<semaphore> open(const native_key &key, const options &options, error &failure)
    {
        return opened(key.text(), SYSSEM_KEY_TEXT, options, failure);
    }

    semaphore(const semaphore &other) : handle_(other.cloned()) {}
    semaphore(semaphore &&) noexcept = default;
    semaphore &operator=(semaphore &&) noexcept = default;

    semaphore &operator=(const semaphore &other)
    {
        if (this != &other)
            handle_.reset(other.cloned());
        return *this;
    }

    /// Removes a semaphore from the system, whoever uses it.
    static void remove(std::string_view name) { removed(name, SYSSEM_NAME, nullptr); }
    static void remove(std::string_view name, error &failure) { removed(name, SYSSEM_NAME, &failure); }
    static void remove(const native_key &key) { removed(key.text(), SYSSEM_KEY_TEXT, nullptr); }
    static void remove(const native_key &key, error &failure) { removed(key.text(), SYSSEM_KEY_TEXT, &failure); }

    native_key key() const { return native_key(detail::take(asked<syssem_text *>(syssem_key_text))); }

    /// What this type of semaphore can do.
    system_semaphore::capabilities capabilities() const { return asked<syssem_capabilities>(syssem_get_capabilities); }

    /// Takes `count` permits, all or none, waiting as long as it takes.
    permit acquire(std::uint32_t count = 1) const { return acquired(count, nullptr); }
    permit acquire(std::uint32_t count, error &failure) const { return acquired(count, &failure); }

    /// Takes `count` permits, all or none, if that needs no wait; else none, which is not thrown.
    permit try_acquire(std::uint32_t count = 1) const { return tried(count, nullptr); }
    permit try_acquire(std::uint32_t count, error &failure) const { return tried(count, &failure); }

    /// The same, waiting no longer than `timeout`.
    template <typename Rep, typename Period>
    permit try_acquire_for(const std::chrono::duration<Rep, Period> &timeout, std::uint32_t count = 1) const
    {
        return tried_for(detail::nanoseconds(timeout), count, nullptr);
    }

    template <typename Rep, typename Period>
    permit try_acquire_for(
        const std::chrono::duration<Rep, Period> &timeout, std::uint32_t count, error &failure) const
    {
        return tried_for(detail::nanoseconds(timeout), count, &failure);
    }

    /// The same, waiting no longer than until `deadline`, on whatever clock it is.
    template <typename Clock, typename Duration>
    permit try_acquire_until(
        const std::chrono::time_point<Clock, Duration> &deadline, std::uint32_t count = 1) const
    {
        return tried_until(deadline, count, nullptr);
    }

    template <typename Clock, typename Duration>
    permit try_acquire_until(
        const std::chrono::time_point<Clock, Duration> &deadline, std::uint32_t count, error &failure) const
    {
        return tried_until(deadline, count, &failure);
    }

    /// Releases up to `count` detached permits of this process, and adds the rest of `count`.
    void release(std::uint32_t count = 1) const { detail::done(syssem_release(handle_.get(), count)); }

    void release(std::uint32_t count, error &failure) const
    {
        detail::done(syssem_release(handle_.get(), count), &failure);
    }

    /// Creates permits.
    void add_permits(std::uint32_t count) const { detail::done(syssem_add_permits(handle_.get(), count)); }

    void add_permits(std::uint32_t count, error &failure) const
    {
        detail::done(syssem_add_permits(handle_.get(), count), &failure);
    }

    /// Forgets up to `count` detached permits of this process, and returns their number.
    std::uint32_t forget_detached(std::uint32_t count) const { return forgotten(count, nullptr); }
    std::uint32_t forget_detached(std::uint32_t count, error &failure) const { return forgotten(count, &failure); }

    /// Returns the number of detached permits of this process: permits that it holds without a guard.
    std::uint32_t detached_permits() const { return asked<std::uint32_t>(syssem_detached_permits); }

    /// How many permits are free at this moment.
    std::uint32_t available_permits() const { return asked<std::uint32_t>(syssem_available_permits); }

    /// How many threads, of all processes, wait at this moment.
    std::uint32_t waiting() const { return asked<std::uint32_t>(syssem_waiting); }

    /// The process that operated on it last.
    std::optional<std::uint32_t> last_pid() const
    {
        const auto pid = asked<std::uint32_t>(syssem_last_pid);
        return pid == 0 ? std::nullopt : std::make_optional(pid);
    }

    /// How many holders have died and had their permits given back so far.
    std::uint64_t recoveries() const { return asked<std::uint64_t>(syssem_recoveries); }

    /// How many permits it was made with, or reset to.
    std::uint32_t initial_value() const { return asked<std::uint32_t>(syssem_initial_value); }

    /// Whether it stays when its last user leaves.
    bool is_persistent() const { return asked<bool>(syssem_is_persistent); }

    /// Who holds how many permits.
    std::vector<holder> holders() const
    {
        const detail::handle<syssem_holders> list(asked<syssem_holders *>(syssem_get_holders));
        std::vector<holder> holders;
        for (std::size_t index = 0; const syssem_holder *each = syssem_holders_at(list.get(), index); ++index) {
            holder holder;
            if (each->pid != 0)
                holder.pid = each->pid;
            if (each->command)
                holder.command = each->command;
            holder.permits = each->permits;
            if (each->since != 0)
                holder.since = std::chrono::system_clock::time_point(
                    std::chrono::duration_cast<std::chrono::system_clock::duration>(
                        std::chrono::nanoseconds(each->since)));
            holders.push_back(std::move(holder));
        }
        return holders;
    }

private:
    explicit semaphore(syssem_semaphore *handle) noexcept : handle_(handle) {}

    semaphore(std::string_view key, syssem_key_form form, const options &options)
        : handle_(raw(key, form, options, nullptr))
    {
    }

    static options with(std::uint32_t initial_value, access_mode mode)
    {
        options options;
        options.initial_value = initial_value;
        options.mode = mode;
        return options;
    }

    static syssem_semaphore *raw(std::string_view key, syssem_key_form form, const options &options, error *failure)
    {
        if (!detail::is_whole(key, failure))
            return nullptr;
        syssem_options said = {};
        said.size = sizeof said;
        said.mode = static_cast<std::uint32_t>(options.mode);
        said.form = form;
        said.initial_value = options.initial_value;
        said.max_permits = options.max_permits.value_or(0);
        said.permissions = options.permissions.value_or(0);
        said.key_type = options.type ? static_cast<std::uint16_t>(*options.type) : std::uint16_t(0);
        said.persistent = options.persistent ? 1 : 0;
        syssem_semaphore *semaphore = nullptr;
        detail::done(syssem_open_with(std::string(key).c_str(), &said, &semaphore), failure);
        return semaphore;
    }

    static std::optional<semaphore> opened(
        std::string_view key, syssem_key_form form, const options &options, error &failure)
    {
        if (syssem_semaphore *handle = raw(key, form, options, &failure))
            return semaphore(handle);
        return std::nullopt;
    }

    static void removed(std::string_view key, syssem_key_form form, error *failure)
    {
        if (detail::is_whole(key, failure))
            detail::done(syssem_remove(std::string(key).c_str(), form), failure);
    }

    syssem_semaphore *cloned() const
    {
        syssem_semaphore *other = nullptr;
        // one that was moved from has none
        if (handle_)
            detail::done(syssem_clone(handle_.get(), &other));
        return other;
    }

    permit acquired(std::uint32_t count, error *failure) const
    {
        syssem_permit *handle = nullptr;
        detail::done(syssem_acquire(handle_.get(), count, &handle), failure);
        return permit(handle);
    }

    permit tried(std::uint32_t count, error *failure) const
    {
        syssem_permit *handle = nullptr;
        const syssem_status status = syssem_try_acquire(handle_.get(), count, &handle);
        if (failure || status != SYSSEM_NO_PERMITS)
            detail::done(status, failure);
        return permit(handle);
    }

    permit tried_for(std::uint64_t nanoseconds, std::uint32_t count, error *failure) const
    {
        syssem_permit *handle = nullptr;
        const syssem_status status = syssem_acquire_timeout(handle_.get(), count, nanoseconds, &handle);
        if (failure || status != SYSSEM_TIMED_OUT)
            detail::done(status, failure);
        return permit(handle);
    }

    template <typename Clock, typename Duration>
    permit tried_until(
        const std::chrono::time_point<Clock, Duration> &deadline, std::uint32_t count, error *failure) const
    {
        for (;;) {
            const auto now = Clock::now();
            permit permit = tried_for(deadline > now ? detail::nanoseconds(deadline - now) : 0, count, failure);
            const bool failed = failure && failure->kind() != error_kind::timed_out;
            // a clock that was set back meanwhile has not come so far yet
            if (permit || failed || Clock::now() >= deadline)
                return permit;
        }
    }

    std::uint32_t forgotten(std::uint32_t count, error *failure) const
    {
        std::uint32_t number = 0;
        detail::done(syssem_forget_detached(handle_.get(), count, &number), failure);
        return number;
    }

    template <typename T> T asked(syssem_status (*question)(const syssem_semaphore *, T *)) const
    {
        T answer{};
        detail::done(question(handle_.get(), &answer));
        return answer;
    }

    detail::handle<syssem_semaphore> handle_;
};

} // namespace system_semaphore

#endif // SYSTEM_SEMAPHORE_HPP
