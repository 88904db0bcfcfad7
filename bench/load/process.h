/* The server's processes as the kernel accounts for them: one and all below it, so that a master
 * and its workers count as one server. */
#ifndef PROCESS_H
#define PROCESS_H

#include <stdint.h>
#include <sys/types.h>

/* What a process uses, or several together. */
typedef struct usage {
    double user_s;
    double system_s;
    uint64_t resident_bytes;
} usage;

/* Ends the program if process pid has gone. */
usage usage_of_tree(pid_t pid);

/* Of the generator itself; without resident_bytes. */
usage usage_of_self(void);

/* How long the generator was ready to run while others ran; 0 where the kernel does not tell. */
double waited_of_self_s(void);

#endif
