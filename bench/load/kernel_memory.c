#include "kernel_memory.h"

#include "base.h"

#include <stdio.h>
#include <unistd.h>

/* The number that the pattern finds in the first line that it fits. */
static int64_t find(const char *path, const char *pattern) {
    char line[256];
    long long value = -1;
    FILE *file = fopen(path, "re");
    while (file != NULL && value < 0 && fgets(line, sizeof line, file) != NULL) {
        (void)sscanf(line, pattern, &value);
    }
    if (file != NULL) {
        fclose(file);
    }
    if (value < 0) {
        die("%s does not tell the kernel's memory", path);
    }
    return value;
}

kernel_memory kernel_memory_take(void) {
    int64_t pages =
        find("/proc/net/sockstat", "TCP: inuse %*d orphan %*d tw %*d alloc %*d mem %lld");
    return (kernel_memory){.tcp_bytes = pages * sysconf(_SC_PAGESIZE),
                           .slab_bytes = find("/proc/meminfo", "Slab: %lld kB") * 1024};
}
