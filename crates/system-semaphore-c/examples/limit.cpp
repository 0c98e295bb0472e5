// At most three of these at once on this machine: run it several times. However one ends, its place is free again.

#include <iostream>
#include <system_semaphore.hpp>

int main(int argc, char **argv)
try {
    using namespace std::chrono_literals;
    system_semaphore::semaphore printers(argc > 1 ? argv[1] : "printers", 3);
    if (auto permit = printers.try_acquire_for(5s))
        std::cout << "printing; " << printers.available_permits() << " printers are left\n";
    else
        std::cerr << "all printers are busy\n";
} catch (const system_semaphore::error &error) {
    std::cerr << error.what() << '\n';
    return 1;
}
