#include "base.h"

#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>

void die(const char *format, ...) {
    va_list arguments;
    va_start(arguments, format);
    fputs("load: ", stderr);
    vfprintf(stderr, format, arguments);
    fputc('\n', stderr);
    va_end(arguments);
    exit(1);
}

void *must_alloc(void *old, size_t len) {
    void *memory = realloc(old, len);
    if (memory == NULL) {
        die("out of memory");
    }
    return memory;
}

void *must_alloc_zeroed(size_t count, size_t len) {
    void *memory = calloc(count, len);
    if (memory == NULL) {
        die("out of memory");
    }
    return memory;
}

uint64_t now_ns(void) {
    struct timespec now;
    clock_gettime(CLOCK_MONOTONIC, &now);
    return (uint64_t)now.tv_sec * NS_PER_S + (uint64_t)now.tv_nsec;
}

double per(double amount, double of) { return of > 0 ? amount / of : 0; }

size_t format_number(char *out, uint64_t value) {
    char digits[20];
    size_t len = 0;
    do {
        digits[sizeof digits - ++len] = (char)('0' + value % 10);
        value /= 10;
    } while (value > 0);
    memcpy(out, digits + sizeof digits - len, len);
    return len;
}
