/* What a reader lost, got twice or got late, known from the numbers of the events alone. */
#ifndef TALLY_H
#define TALLY_H

#include <stdbool.h>
#include <stdint.h>

typedef struct tally {
    uint64_t deliveries;
    uint64_t lost;
    uint64_t repeated;
    uint64_t disordered;
    uint64_t stalls; /* how often nothing moved for STALL_NS while events were outstanding */
} tally;

/* One reader's. Zeroed memory is that of one who expects event 0. */
typedef struct history {
    uint64_t next;    /* one above the greatest number that came */
    uint64_t missing; /* bit i: number next - 1 - i has not come */
} history;

/* Numbers that are passed over count as lost until they come, and then as disordered. False if the
 * reader had this event before. */
bool history_accept(history *history, uint64_t number, tally *tally);

/* Prints the JSON members lost, repeated, disordered and stalls, with commas between. */
void tally_print_faults(const tally *tally);

#endif
