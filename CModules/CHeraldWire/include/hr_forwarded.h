/* hr_forwarded: whose request it is that proxies have passed on.
 *
 * Each proxy appends to the right of what it was given, so that only what trusted proxies appended
 * can be believed; everything to the left of that a client may have made up. The list is walked from
 * the right, and nothing to the left of where the walk ends is looked at, nor can it change where
 * the elements to its right begin and end.
 * Thread: ANY. No memory is allocated. */
#ifndef HR_FORWARDED_H
#define HR_FORWARDED_H

#include "hr_address.h"

typedef enum HR_CLOSED_ENUM hr_forwarded_form {
    HR_FORWARDED_NONE,    /* no header is believed */
    HR_FORWARDED_RFC7239, /* Forwarded: for=192.0.2.43, for="[2001:db8::17]:4711";proto=https */
    HR_FORWARDED_X_FOR,   /* X-Forwarded-For: 192.0.2.43, 2001:db8::17 */
} hr_forwarded_form;

/* The client's address. peer: the connection's. list: the values of all lines of the header that
 * form names, joined by commas. ranges: of the trusted proxies.
 * It is the first address, from the right and peer the rightmost, that no range has. Where an
 * element is no address (malformed, "unknown", hidden as _name, without for=), or there is none,
 * the walk ends at the last one that was: nobody who can be trusted says more. */
hr_address hr_forwarded_client(hr_slice list, hr_forwarded_form form,
                               const hr_address_range *ranges, size_t range_count,
                               const hr_address *peer);

#endif
