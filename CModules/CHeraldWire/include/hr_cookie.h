/* hr_cookie: one value out of a Cookie header (RFC 6265 §4.2, §5.4).
 *
 * Thread: ANY. No memory is allocated; the time taken grows with the header alone. */
#ifndef HR_COOKIE_H
#define HR_COOKIE_H

#include "CHeraldBase.h"

/* The value of the first cookie of that name (letters as they are) in one header's value, without
 * the quotes around it; borrowed from header. False: there is none. A pair without = or name is
 * passed over. */
bool hr_cookie_find(hr_slice header, hr_slice name, hr_slice *value);

#endif
