/* Debian's wine 8.0 has no bcryptprimitives.dll, of which Rust's std takes random numbers. This one has what std needs. */
#include <windows.h>

/* RtlGenRandom, by the name that advapi32 exports it under */
BOOLEAN NTAPI SystemFunction036(PVOID, ULONG);

__declspec(dllexport) BOOL WINAPI ProcessPrng(PBYTE data, SIZE_T size)
{
    while (size > 0) {
        ULONG part = size > 0x10000 ? 0x10000 : (ULONG)size;
        if (!SystemFunction036(data, part))
            return FALSE;
        data += part;
        size -= part;
    }
    return TRUE;
}
