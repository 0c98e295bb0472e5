// A producer process and a consumer process share a small buffer, by the class that Qt has. Two semaphores count its free
// and its used places; what one side acquires it forgets, and the other side creates anew: so nothing comes back when
// either ends.

#include <iostream>
#include <qsystemsemaphore.hpp>
#include <string>
#include <sys/mman.h>
#include <sys/wait.h>
#include <unistd.h>

constexpr int places = 4, items = 1000;

static void must(bool done, const QSystemSemaphore &sem)
{
    if (!done) {
        std::cerr << sem.errorString() << '\n';
        std::_Exit(1);
    }
}

// Takes one for good.
static void take(QSystemSemaphore &sem)
{
    must(sem.acquire() && sem.forget(), sem);
}

static void produce(int *buffer, const std::string &name)
{
    QSystemSemaphore unused(name + "-unused"), used(name + "-used");
    for (int item = 0; item < items; ++item) {
        take(unused);
        buffer[item % places] = item;
        must(used.release(), used);
    }
}

int main(int argc, char **argv)
{
    const std::string name = argc > 1 ? argv[1] : "buffer";
    void *memory = mmap(nullptr, places * sizeof(int), PROT_READ | PROT_WRITE, MAP_SHARED | MAP_ANONYMOUS, -1, 0);
    if (memory == MAP_FAILED)
        return 1;
    int *buffer = static_cast<int *>(memory);
    QSystemSemaphore unused(name + "-unused", places, QSystemSemaphore::Create);
    QSystemSemaphore used(name + "-used", 0, QSystemSemaphore::Create);
    const pid_t producer = fork();
    if (producer == 0) {
        produce(buffer, name);
        std::_Exit(0); // its copies of its parent's objects are not its own to destroy
    }
    long sum = 0;
    for (int item = 0; item < items; ++item) {
        take(used);
        sum += buffer[item % places];
        must(unused.release(), unused);
    }
    waitpid(producer, nullptr, 0);
    munmap(memory, places * sizeof(int));
    std::cout << items << " items, sum " << sum << '\n';
}
