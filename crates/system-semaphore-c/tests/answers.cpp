// Does with QSystemSemaphore what lines on standard input say, and answers each with a line: for the table that compares
// Qt's class with this one and with Python's.
//
// Fields are separated by tabs, and percent-encoded. An answer is the result, error() as a number, and errorString().

#include "qsystemsemaphore.hpp"

#include <cctype>
#include <cstdio>
#include <cstdlib>
#include <functional>
#include <iostream>
#include <map>
#include <memory>
#include <set>
#include <string>
#include <vector>

namespace {

using Fields = std::vector<std::string>;
using Mode = QSystemSemaphore::AccessMode;
using Type = QNativeIpcKey::Type;

std::string encoded(const std::string &text)
{
    std::string result;
    for (const unsigned char byte : text) {
        char code[4];
        std::snprintf(code, sizeof code, "%%%02X", byte);
        result += std::isalnum(byte) ? std::string(1, static_cast<char>(byte)) : std::string(code);
    }
    return result;
}

std::string decoded(const std::string &text)
{
    std::string result;
    for (std::size_t at = 0; at < text.size(); ++at) {
        const bool is_code = text[at] == '%' && at + 2 < text.size();
        result += is_code ? static_cast<char>(std::stoi(text.substr(at + 1, 2), nullptr, 16)) : text[at];
        at += is_code ? 2 : 0;
    }
    return result;
}

Fields fields(const std::string &line)
{
    Fields result(1);
    for (const char character : line) {
        if (character == '\t')
            result.emplace_back();
        else
            result.back() += character;
    }
    for (auto &field : result)
        field = decoded(field);
    return result;
}

std::map<std::string, std::unique_ptr<QSystemSemaphore>> objects;

QSystemSemaphore &object(const Fields &line) { return *objects.at(line.at(1)); }
int number(const Fields &line, std::size_t at) { return std::stoi(line.at(at)); }
Mode mode(const Fields &line, std::size_t at) { return static_cast<Mode>(number(line, at)); }
Type type(const Fields &line, std::size_t at) { return static_cast<Type>(number(line, at)); }
std::string truth(bool value) { return value ? "true" : "false"; }

const std::string nothing = "-";
const std::set<std::string> of_no_object = {"supported", "platform-safe", "legacy", "key-valid"};

const std::map<std::string, std::function<std::string(const Fields &)>> commands = {
    {"new",
     [](const Fields &line) {
         objects[line.at(1)] =
             std::make_unique<QSystemSemaphore>(line.at(2), number(line, 3), mode(line, 4));
         return nothing;
     }},
    {"new-native",
     [](const Fields &line) {
         objects[line.at(1)] = std::make_unique<QSystemSemaphore>(
             QNativeIpcKey::fromString(line.at(2)), number(line, 3), mode(line, 4));
         return nothing;
     }},
    {"delete",
     [](const Fields &line) {
         objects.erase(line.at(1));
         return nothing;
     }},
    {"acquire",
     [](const Fields &line) {
         return truth(line.size() > 2 ? object(line).acquire(number(line, 2)) : object(line).acquire());
     }},
    {"release",
     [](const Fields &line) {
         return truth(line.size() > 2 ? object(line).release(number(line, 2)) : object(line).release());
     }},
    {"try-acquire",
     [](const Fields &line) { return truth(object(line).tryAcquire(number(line, 2), number(line, 3))); }},
    {"forget", [](const Fields &line) { return truth(object(line).forget(number(line, 2))); }},
    {"available", [](const Fields &line) { return std::to_string(object(line).available()); }},
    {"set-key",
     [](const Fields &line) {
         object(line).setKey(line.at(2), number(line, 3), mode(line, 4));
         return nothing;
     }},
    {"set-native-key",
     [](const Fields &line) {
         object(line).setNativeKey(QNativeIpcKey::fromString(line.at(2)), number(line, 3), mode(line, 4));
         return nothing;
     }},
    {"set-native-key-text",
     [](const Fields &line) {
         object(line).setNativeKey(line.at(2), number(line, 3), mode(line, 4), type(line, 5));
         return nothing;
     }},
    {"key", [](const Fields &line) { return encoded(object(line).key()); }},
    {"native-key", [](const Fields &line) { return encoded(object(line).nativeIpcKey().toString()); }},
    {"supported", [](const Fields &line) { return truth(QSystemSemaphore::isKeyTypeSupported(type(line, 1))); }},
    {"platform-safe",
     [](const Fields &line) {
         return encoded(QSystemSemaphore::platformSafeKey(line.at(1), type(line, 2)).toString());
     }},
    {"legacy",
     [](const Fields &line) {
         return encoded(QSystemSemaphore::legacyNativeKey(line.at(1), type(line, 2)).toString());
     }},
    {"key-valid", [](const Fields &line) { return truth(QNativeIpcKey::fromString(line.at(1)).isValid()); }},
    {"exit", [](const Fields &) -> std::string { std::_Exit(0); }},
};

} // namespace

int main()
{
    for (std::string text; std::getline(std::cin, text);) {
        const Fields line = fields(text);
        std::cout << commands.at(line[0])(line);
        const auto found = of_no_object.count(line[0]) == 0 ? objects.find(line.at(1)) : objects.end();
        if (found == objects.end())
            std::cout << "\t0\t\n";
        else
            std::cout << '\t' << found->second->error() << '\t' << encoded(found->second->errorString()) << '\n';
        std::cout.flush();
    }
}
