/*
 * ProcessPrng for Wines that lack it: Rust's standard library gets its random numbers there, and no program starts
 * without it. SystemFunction036 is the documented RtlGenRandom.
 */
#include <windows.h>

BOOLEAN NTAPI SystemFunction036(PVOID data, ULONG len);

__declspec(dllexport) BOOL WINAPI ProcessPrng(PBYTE data, SIZE_T len)
{
    while (len > 0) {
        ULONG part = len > 0x10000000 ? 0x10000000 : (ULONG)len;
        if (!SystemFunction036(data, part))
            return FALSE;
        data += part;
        len -= part;
    }
    return TRUE;
}
