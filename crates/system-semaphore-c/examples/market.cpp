// The examples of Qt's class documentation, with one line changed: what is included. They tell the counts as they go.

#include <qsystemsemaphore.hpp> // was: <QSystemSemaphore>

#include <iostream>

static void tell(QSystemSemaphore &sem)
{
    if (sem.error() != QSystemSemaphore::NoError)
        std::cerr << sem.errorString() << '\n';
    std::cout << "available: " << sem.available() << '\n';
}

int main(int argc, char **argv)
{
    const char *market = argc > 1 ? argv[1] : "market";
    {
        QSystemSemaphore sem(market, 3, QSystemSemaphore::Create);
        tell(sem); // resources available = 3
        sem.acquire();
        tell(sem); // resources available = 2
        sem.acquire();
        tell(sem); // resources available = 1
        sem.acquire();
        tell(sem); // resources available = 0
        sem.release();
        tell(sem); // resources available = 1
        sem.release(2);
        tell(sem); // resources available = 3
    }
    QSystemSemaphore sem(market, 5, QSystemSemaphore::Create);
    for (int i = 0; i < 5; ++i) // acquire all 5 resources
        sem.acquire();
    tell(sem);
    sem.release(5); // release the 5 resources
    tell(sem);
    sem.release(10); // "create" 10 new resources
    tell(sem);
}
