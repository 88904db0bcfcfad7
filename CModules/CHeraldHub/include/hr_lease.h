/* hr_lease: the right by which a reader is there, as its giver holds it.
 *
 * The handler gives a lease to a reader that it makes (hr_subscription.lease), and can reach that
 * reader through it from any thread: to tell it something, to end it. When the reader has gone, for
 * whatever reason, the handler's on_leases_gone is told once, in the loop's own time.
 * Thread: ANY, unless marked LOOP; not once the hub has stopped.
 * Not here: what the right is, and when it ends. */
#ifndef HR_LEASE_H
#define HR_LEASE_H

#include "hr_request.h"

/* Makes a lease for whatever request becomes, without a context. Gives *out. LOOP */
HR_MUST_CHECK hr_status hr_lease_new(const hr_request *request, hr_lease **out);
hr_lease *hr_lease_ref(hr_lease *lease);
void hr_lease_unref(hr_lease **lease);
/* What on_leases_gone names the lease by. Borrowed until then, or, if no reader gets the lease, until
 * the last reference goes. Once, before a reader gets it. */
void hr_lease_set_context(hr_lease *lease, void *context);
void *hr_lease_context(const hr_lease *lease);

/* The lease of the reader that a command came from, borrowed; NULL when it has none, or has gone.
 * Precondition: HR_REQUEST_COMMAND. LOOP */
hr_lease *hr_request_lease(const hr_request *request);

/* Has the reader's client be told: {"control":NAME,MEMBERS}, by SSE an event herald.NAME with
 * {MEMBERS}. Not told to who can't be: a poll, a WebSocket with format=raw. members is JSON without
 * line breaks; both are copied. HR_ENOMEM: nothing will be told. */
HR_MUST_CHECK hr_status hr_lease_tell(hr_lease *lease, hr_slice name, hr_slice members);

/* What a reader's client gets to know of its end. */
typedef struct hr_lease_end {
    unsigned status;    /* of the answer to a held poll */
    hr_slice members;   /* of a problem (RFC 9457): JSON without line breaks and braces */
    hr_slice challenge; /* a held poll's WWW-Authenticate (RFC 9110 §11.6.1); may be empty */
    uint16_t code;      /* of a WebSocket's close frame */
    hr_slice text;      /* the same: its reason; cut to 123 bytes */
} hr_lease_end;

/* Ends the reader: a held poll is answered with the problem, a stream ends with event herald.end or
 * {"control":"end",…}, both with the cursor, a WebSocket then with a close frame. Copies *end.
 * HR_ENOMEM: nothing will be done. */
HR_MUST_CHECK hr_status hr_lease_end_reader(hr_lease *lease, const hr_lease_end *end);

#endif
