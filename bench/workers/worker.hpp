// A process that is measured: what bench/src/worker/mod.rs is in Rust, for a semaphore used from C++.
#pragma once

#include <chrono>
#include <cstdint>
#include <cstdlib>
#include <ctime>
#include <iostream>
#include <memory>
#include <sstream>
#include <string>
#include <thread>
#include <vector>

inline std::int64_t nanoseconds(clockid_t clock)
{
    timespec time;
    clock_gettime(clock, &time);
    return time.tv_sec * INT64_C(1'000'000'000) + time.tv_nsec;
}

inline std::int64_t now() { return nanoseconds(CLOCK_MONOTONIC); }
inline std::int64_t cpu_time() { return nanoseconds(CLOCK_PROCESS_CPUTIME_ID); }

inline void sleep_until(std::int64_t time)
{
    // this clock is CLOCK_MONOTONIC
    std::this_thread::sleep_until(std::chrono::steady_clock::time_point(std::chrono::nanoseconds(time)));
}

// Nanoseconds of CPU time an operation: as many as take about the time asked for, after some to warm up.
template <typename Operation>
std::string measure(std::int64_t milliseconds, Operation operation)
{
    for (std::int64_t times = 16;; times *= 2) {
        const auto begin = cpu_time();
        for (std::int64_t i = 0; i < times; ++i)
            operation();
        const auto taken = cpu_time() - begin;
        if (taken >= milliseconds * 500'000)
            return std::to_string(double(taken) / double(times));
    }
}

inline void must(bool worked, const char *what)
{
    if (!worked) {
        std::cerr << what << " failed\n";
        std::exit(1);
    }
}

// The key of one of many semaphores; that of the first is as given.
inline std::string one_of(const std::string &key, std::int64_t number)
{
    return number == 0 ? key : key + "-" + std::to_string(number);
}

// `Semaphore` has a constructor from key, value, and whether to make it; static remove(key); pair(), hold(), unhold().
template <typename Semaphore>
class Worker
{
public:
    int serve()
    {
        for (std::string line; std::getline(std::cin, line);) {
            std::istringstream words(line);
            std::string command;
            words >> command;
            const auto answer = obey(command, words);
            std::cout << "ok " << answer << std::endl;
        }
        semaphores.clear();
        for (const auto &key : made)
            Semaphore::remove(key);
        return 0;
    }

private:
    std::vector<std::unique_ptr<Semaphore>> semaphores;
    // The keys of those that are removed at the end.
    std::vector<std::string> made;

    std::string obey(const std::string &command, std::istringstream &words)
    {
        const auto key = [&] { std::string key; words >> key; return key; };
        const auto number = [&] { std::int64_t number; must(bool(words >> number), "to read a number"); return number; };
        if (command == "make") {
            const auto name = key();
            const auto count = number(), value = number();
            for (std::int64_t i = 0; i < count; ++i) {
                semaphores.push_back(std::make_unique<Semaphore>(one_of(name, i), value, true));
                made.push_back(one_of(name, i));
            }
        } else if (command == "open") {
            semaphores.push_back(std::make_unique<Semaphore>(key(), 0, false));
        } else if (command == "open-many") {
            const auto name = key();
            const auto count = number();
            for (std::int64_t i = 0; i < count; ++i)
                semaphores.push_back(std::make_unique<Semaphore>(one_of(name, i), 0, false));
        } else if (command == "pairs") {
            return pairs(number());
        } else if (command == "open-close") {
            const auto name = key();
            return measure(number(), [&] { Semaphore semaphore(name, 0, false); });
        } else if (command == "create-remove") {
            const auto name = key();
            return measure(number(), [&] {
                { Semaphore semaphore(name, 1, true); }
                Semaphore::remove(name);
            });
        } else if (command == "ping") {
            return ping(number());
        } else if (command == "pong") {
            pass(*semaphores[1], *semaphores[0], number());
        } else if (command == "contend") {
            const auto start = number();
            return contend(start, number());
        } else if (command == "produce" || command == "consume") {
            const std::size_t source = command == "consume";
            sleep_until(number());
            pass(*semaphores[source], *semaphores[1 - source], number());
            return std::to_string(now());
        } else if (command == "hold") {
            semaphores[0]->hold();
        } else if (command == "unhold") {
            semaphores[0]->unhold();
        } else if (command == "wait") {
            return wait();
        } else {
            must(false, command.c_str());
        }
        return "";
    }

    std::string pairs(std::int64_t milliseconds)
    {
        if (semaphores.size() == 1) {
            auto &semaphore = *semaphores[0];
            return measure(milliseconds, [&] { semaphore.pair(); });
        }
        // what is touched for the first time costs more
        for (auto &semaphore : semaphores)
            semaphore->pair();
        std::size_t next = 0;
        return measure(milliseconds, [&] {
            semaphores[next]->pair();
            next = next + 1 == semaphores.size() ? 0 : next + 1;
        });
    }

    std::string ping(std::int64_t times)
    {
        const auto begin = now();
        for (std::int64_t i = 0; i < times; ++i) {
            semaphores[1]->unhold();
            semaphores[0]->hold();
        }
        return std::to_string(double(now() - begin) / double(times));
    }

    static void pass(Semaphore &source, Semaphore &target, std::int64_t items)
    {
        for (std::int64_t i = 0; i < items; ++i) {
            source.hold();
            target.unhold();
        }
    }

    std::string contend(std::int64_t start, std::int64_t duration)
    {
        auto &semaphore = *semaphores[0];
        sleep_until(start);
        std::int64_t pairs = 0;
        for (; now() < start + duration; pairs += 64)
            for (int i = 0; i < 64; ++i)
                semaphore.pair();
        return std::to_string(pairs);
    }

    // When it had a permit, and the CPU time that it took to wait.
    std::string wait()
    {
        std::cout << "began" << std::endl;
        const auto begin = cpu_time();
        semaphores[0]->hold();
        const auto end = now();
        return std::to_string(end) + " " + std::to_string(cpu_time() - begin);
    }
};
