// At most three of these at once on this machine: run it several times. However one ends, its place is free again.

#include <stdio.h>
#include <system_semaphore.h>

int main(int argc, char **argv)
{
    syssem_semaphore *printers = NULL;
    if (syssem_open(argc > 1 ? argv[1] : "printers", 3, &printers) != SYSSEM_OK) {
        fprintf(stderr, "%s\n", syssem_last_error_message());
        return 1;
    }
    syssem_permit *permit = NULL;
    if (syssem_acquire_timeout(printers, 1, UINT64_C(5000000000), &permit) == SYSSEM_OK) {
        uint32_t left = 0;
        syssem_available_permits(printers, &left);
        printf("printing; %u printers are left\n", (unsigned)left);
        syssem_permit_release(permit);
    } else {
        fprintf(stderr, "%s\n", syssem_last_error_message());
    }
    syssem_close(printers);
    return 0;
}
