// What the tests in C and C++ share: a check that tells where it failed, names of this process's own.

#ifndef CHECKS_H
#define CHECKS_H

#include <stdio.h>
#include <stdlib.h>
#include <unistd.h>

#define CHECK(condition) \
    ((condition) ? (void)0 : (fprintf(stderr, "%s:%d: %s\n", __FILE__, __LINE__, #condition), exit(1)))

// A name that no other run has.
#define NAME(text) name_of(text)

static inline const char *name_of(const char *text)
{
    static char names[16][64];
    static unsigned next;
    char *name = names[next++ % 16];
    snprintf(name, sizeof names[0], "syssem-c-%d-%s", (int)getpid(), text);
    return name;
}

#endif
