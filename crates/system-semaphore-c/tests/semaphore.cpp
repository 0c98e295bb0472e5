// The C++ face. Compiled as C++17 and run by `check`.

#include "system_semaphore.hpp"

#include "checks.h"

#include <cmath>
#include <csignal>
#include <sys/wait.h>
#include <thread>
#include <type_traits>

using namespace std::chrono_literals;
using namespace system_semaphore;

static_assert(!std::is_copy_constructible_v<permit> && std::is_nothrow_move_constructible_v<permit>);
static_assert(std::is_copy_constructible_v<semaphore> && std::is_nothrow_move_assignable_v<semaphore>);
static_assert(!std::is_convertible_v<std::string, native_key> && !std::is_convertible_v<std::string, semaphore>);

namespace {

template <typename Function> error thrown(Function function)
{
    try {
        function();
    } catch (const error &failure) {
        return failure;
    }
    return error();
}

void counts()
{
    semaphore market(NAME("counts"), 3, access_mode::create);
    {
        auto permit = market.acquire();
        auto two = market.acquire(2);
        CHECK(permit && two.count() == 2 && market.available_permits() == 0);
        CHECK(!market.try_acquire());
        permit.release();
        CHECK(!permit && market.available_permits() == 1);
        permit.release(); // nothing
    }
    CHECK(market.available_permits() == 3);
    market.release(10);
    market.add_permits(2);
    CHECK(market.available_permits() == 15 && market.initial_value() == 3 && !market.is_persistent());

    const semaphore copy = market;
    semaphore moved = std::move(market);
    market = moved;
    CHECK(copy.available_permits() == 15 && market.available_permits() == 15);
    CHECK(thrown([&] {
              semaphore empty = std::move(moved);
              moved.acquire();
          }).kind() == error_kind::invalid_argument);
}

void permits()
{
    semaphore market(NAME("permits"), 10), other(NAME("others"), 10);
    permit all = market.acquire(6), part = all.split(2);
    CHECK(all.count() == 4 && part.count() == 2);
    CHECK(thrown([&] { (void)all.split(5); }).kind() == error_kind::invalid_argument);
    CHECK(thrown([&] { (void)permit().split(0); }).kind() == error_kind::invalid_argument);
    all.merge(std::move(part));
    CHECK(all.count() == 6 && !part);
    permit foreign = other.acquire();
    error failure;
    all.merge(std::move(foreign), failure);
    CHECK(failure.kind() == error_kind::invalid_argument && foreign.count() == 1);
    all.merge(std::move(all), failure);
    CHECK(failure.kind() == error_kind::invalid_argument && all.count() == 6);
    permit held = all.split(2), forgotten = all.split(1);
    held.detach();
    forgotten.forget();
    CHECK(market.detached_permits() == 2 && market.forget_detached(1) == 1);
    market.release(2);
    CHECK(market.available_permits() == 4 + 1 + 1 && all.count() == 3);
    all = permit();
    CHECK(market.available_permits() == 9);
    // a guard keeps the semaphore
    auto last = std::make_unique<semaphore>(NAME("kept"), 1);
    permit kept = last->acquire();
    last.reset();
    CHECK(kept.count() == 1);
}

void waits()
{
    semaphore empty(NAME("waits"), 0);
    const auto before = std::chrono::steady_clock::now();
    CHECK(!empty.try_acquire_for(20ms) && std::chrono::steady_clock::now() - before >= 20ms);
    CHECK(!empty.try_acquire_for(-1h) && !empty.try_acquire_for(0s) && !empty.try_acquire_for(1ns));
    CHECK(!empty.try_acquire_for(std::chrono::duration<double>(std::nan(""))));
    CHECK(!empty.try_acquire_until(before) && !empty.try_acquire_until(std::chrono::steady_clock::now() + 20ms));
    CHECK(!empty.try_acquire_until(std::chrono::system_clock::now() + 20ms));
    CHECK(!empty.try_acquire_until(std::chrono::steady_clock::time_point::min()));
    error failure;
    CHECK(!empty.try_acquire(1, failure) && failure.kind() == error_kind::no_permits);
    CHECK(!empty.try_acquire_for(1ms, 1, failure) && failure.kind() == error_kind::timed_out);
    CHECK(std::string(failure.what()).find("cannot acquire a permit") == 0);

    std::thread waiter([&] { CHECK(empty.try_acquire_for(std::chrono::hours::max(), 2).count() == 2); });
    while (empty.waiting() != 1)
        std::this_thread::yield();
    empty.add_permits(2);
    waiter.join();
    CHECK(empty.try_acquire_until(std::chrono::steady_clock::time_point::max(), 2));
    CHECK(empty.acquire(2, failure) && !failure);
    CHECK(thrown([&] { empty.try_acquire(4000000000); }).kind() == error_kind::out_of_resources);
    CHECK(thrown([&] { empty.try_acquire_for(1ms, 4000000000); }).kind() == error_kind::out_of_resources);
    const auto soon = std::chrono::steady_clock::now() + 60s;
    CHECK(thrown([&] { empty.try_acquire_until(soon, 4000000000); }).kind() == error_kind::out_of_resources);
    CHECK(!empty.try_acquire_until(soon, 4000000000, failure) && failure.kind() == error_kind::out_of_resources);
}

void errors()
{
    const auto failure = thrown([] { semaphore(""); });
    CHECK(failure.kind() == error_kind::key_error && failure);
    CHECK(std::string(failure.what()).find("the key is empty") != std::string::npos);
    CHECK(thrown([] { semaphore(std::string_view("a\0b", 3)); }).kind() == error_kind::key_error);
    CHECK(thrown([] { semaphore("\xff"); }).kind() == error_kind::invalid_argument);
    CHECK(thrown([] { semaphore(NAME("none"), 1, access_mode::open_existing); }).kind() == error_kind::not_found);
    CHECK(thrown([] { semaphore::remove(NAME("none")); }).kind() == error_kind::not_found);
    CHECK(thrown([] { (void)native_key("none").type(); }).kind() == error_kind::key_error);
    error code;
    CHECK(!code && code.kind() == error_kind::none);
    options options;
    options.mode = access_mode::open_existing;
    CHECK(!semaphore::open(NAME("none"), options, code) && code.kind() == error_kind::not_found);
    semaphore::remove(NAME("none"), code);
    CHECK(code.kind() == error_kind::not_found);
}

void options_and_keys()
{
    const std::string name = NAME("options");
    options options;
    options.mode = access_mode::create_new;
    options.initial_value = 2;
    options.max_permits = 3;
    options.persistent = true;
    {
        semaphore market(name, options);
        CHECK(market.is_persistent() && market.capabilities().max_permits == 3);
        CHECK(thrown([&] { market.release(2); }).kind() == error_kind::out_of_resources);
        error failure;
        market.release(1, failure);
        CHECK(!failure);
        CHECK(thrown([&] { semaphore again(name, options); }).kind() == error_kind::already_exists);
        CHECK(market.key().type() == key_type::robust && market.key().native_name() == name);
        semaphore same(market.key());
        CHECK(same.available_permits() == 3 && same.key() == native_key::legacy(name, key_type::robust));
    }
    semaphore::remove(native_key("robust:" + name));
    CHECK(native_key::platform_safe("printer", key_type::posix).text() == "posix:/printer");
    CHECK(is_key_type_supported(key_type::posix) && !is_key_type_supported(key_type::windows));

    struct options by_type;
    by_type.initial_value = 2;
    by_type.type = key_type::system_v;
    semaphore set(name, by_type);
    CHECK(set.acquire(2).count() == 2 && set.last_pid() == static_cast<std::uint32_t>(getpid()));
    CHECK(thrown([&] { set.holders(); }).kind() == error_kind::unsupported);
}

void a_killed_holder()
{
    const std::string name = NAME("killed");
    semaphore market(name, 5);
    int ready[2];
    CHECK(pipe(ready) == 0);
    const pid_t child = fork();
    CHECK(child >= 0);
    if (child == 0) {
        auto permit = semaphore(name).acquire(4);
        CHECK(write(ready[1], "x", 1) == 1);
        for (;;)
            pause();
    }
    close(ready[1]);
    char byte;
    CHECK(read(ready[0], &byte, 1) == 1);
    close(ready[0]);
    const auto holders = market.holders();
    CHECK(holders.size() == 1 && holders[0].pid == static_cast<std::uint32_t>(child) && holders[0].permits == 4);
    CHECK(holders[0].command && !holders[0].command->empty());
    CHECK(kill(child, SIGKILL) == 0);
    CHECK(market.try_acquire_for(60s, 5) && market.recoveries() == 1);
    CHECK(waitpid(child, nullptr, 0) == child);
}

} // namespace

int main()
{
    counts();
    permits();
    waits();
    errors();
    options_and_keys();
    a_killed_holder();
    std::puts("ok");
}
