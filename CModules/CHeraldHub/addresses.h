/* addresses: how many connections, or readers, each address has, over all loops.
 *
 * Thread: ANY; shards with a lock each. It is written when a connection or a reader begins and when
 * it ends, never for a delivery.
 * Invariant: an address stands in it while its count is above 0, so that it is as large as what it
 * counts, and whoever holds a ticket finds the address by it. */
#ifndef HR_ADDRESSES_H
#define HR_ADDRESSES_H

#include "hub_private.h"

/* Gives *out. */
HR_MUST_CHECK hr_status hr__addresses_new(hr__addresses **out);
/* Precondition: every ticket has been given back. */
void hr__addresses_free(hr__addresses **addresses);
/* Counts one more of address and gives *ticket (never 0) for it. HR_EPEERS: it has most already (0:
 * no bound). HR_ENOMEM. */
HR_MUST_CHECK hr_status hr__addresses_enter(hr__addresses *addresses, const hr_address *address,
                                            uint32_t most, uint32_t *ticket);
void hr__addresses_leave(hr__addresses *addresses, uint32_t ticket);
/* Whose ticket it is. */
hr_address hr__addresses_of(hr__addresses *addresses, uint32_t ticket);

#endif
