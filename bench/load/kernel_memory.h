/* What the kernel holds of memory, of all the machine: both ends of a connection over loopback. */
#ifndef KERNEL_MEMORY_H
#define KERNEL_MEMORY_H

#include <stdint.h>

typedef struct kernel_memory {
    int64_t tcp_bytes;  /* what waits in the sockets' queues */
    int64_t slab_bytes; /* the sockets and descriptors themselves, and all else of the kernel */
} kernel_memory;

kernel_memory kernel_memory_take(void);

#endif
