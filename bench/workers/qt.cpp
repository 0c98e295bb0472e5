// Qt's QSystemSemaphore.
#include "worker.hpp"

#include <QSystemSemaphore>

class QtSemaphore
{
    QSystemSemaphore semaphore;

public:
    QtSemaphore(const std::string &key, std::int64_t value, bool make)
        : semaphore(QString::fromStdString(key), int(value), make ? QSystemSemaphore::Create : QSystemSemaphore::Open)
    {
        must(semaphore.error() == QSystemSemaphore::NoError, "open");
    }

    // What was made is gone with its maker's object.
    static void remove(const std::string &) {}

    void hold() { must(semaphore.acquire(), "acquire"); }
    void unhold() { must(semaphore.release(), "release"); }
    void pair() { hold(), unhold(); }
};

int main() { return Worker<QtSemaphore>().serve(); }
