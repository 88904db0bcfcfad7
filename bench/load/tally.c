#include "tally.h"

#include <inttypes.h>
#include <stdio.h>

/* Numbers below the newest for which it is known whether they came. */
#define HISTORY_COUNT 64u

static void pass_over(history *history, uint64_t number, tally *tally) {
    uint64_t skipped = number - history->next;
    tally->lost += skipped;
    if (skipped + 1 >= HISTORY_COUNT) {
        history->missing = ~UINT64_C(1);
    } else {
        history->missing =
            (history->missing << (skipped + 1)) | (((UINT64_C(1) << skipped) - 1) << 1);
    }
    history->next = number + 1;
}

bool history_accept(history *history, uint64_t number, tally *tally) {
    if (number >= history->next) {
        pass_over(history, number, tally);
        return true;
    }
    uint64_t back = history->next - 1 - number;
    if (back >= HISTORY_COUNT || ((history->missing >> back) & 1) == 0) {
        tally->repeated++;
        return false;
    }
    history->missing &= ~(UINT64_C(1) << back);
    tally->lost--;
    tally->disordered++;
    return true;
}

void tally_print_faults(const tally *tally) {
    printf("\"lost\":%" PRIu64 ",\"repeated\":%" PRIu64 ",\"disordered\":%" PRIu64
           ",\"stalls\":%" PRIu64,
           tally->lost, tally->repeated, tally->disordered, tally->stalls);
}
