// Boost's named_semaphore.
#include "worker.hpp"

#include <boost/interprocess/sync/named_semaphore.hpp>

namespace ipc = boost::interprocess;

class Boost
{
    ipc::named_semaphore semaphore;

public:
    Boost(const std::string &key, std::int64_t value, bool make)
        : semaphore(make ? ipc::named_semaphore(ipc::create_only, key.c_str(), unsigned(value))
                         : ipc::named_semaphore(ipc::open_only, key.c_str()))
    {
    }

    static void remove(const std::string &key) { must(ipc::named_semaphore::remove(key.c_str()), "remove"); }

    void hold() { semaphore.wait(); }
    void unhold() { semaphore.post(); }
    void pair() { hold(), unhold(); }
};

int main() { return Worker<Boost>().serve(); }
