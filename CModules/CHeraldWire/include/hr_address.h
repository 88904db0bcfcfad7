/* hr_address: IP addresses and ranges of them, as text and as what is counted.
 *
 * Thread: ANY. No memory is allocated.
 * Invariant: an IPv4 address has one form: one that comes mapped into IPv6 (RFC 4291 §2.5.5.2) is
 *   the IPv4 address. So equal addresses have equal bytes.
 * Not here: names, sockets, zones (fe80::1%eth0). */
#ifndef HR_ADDRESS_H
#define HR_ADDRESS_H

#include "CHeraldBase.h"

#define HR_ADDRESS_TEXT_MAX 39u /* of hr_address_format, without a NUL */

/* IPv4 is kept mapped into IPv6. Zeroed memory is ::, which no peer has. */
typedef struct hr_address {
    uint8_t bytes[16];
} hr_address;

/* The addresses whose first bits are those of base; all other bits of base are 0. */
typedef struct hr_address_range {
    hr_address base;
    uint8_t bits; /* 0 to 128; of an IPv4 range 96 to 128 */
} hr_address_range;

hr_address hr_address_from_v4(const uint8_t bytes[4]);
hr_address hr_address_from_v6(const uint8_t bytes[16]);
bool hr_address_is_v4(const hr_address *address);
/* Whether it is ::, which stands for no address. */
bool hr_address_is_none(const hr_address *address);
static inline bool hr_address_equal(const hr_address *a, const hr_address *b) {
    return memcmp(a->bytes, b->bytes, sizeof a->bytes) == 0;
}

/* Reads all of text: 192.0.2.1 without leading zeros, or an IPv6 address as RFC 4291 §2.2 writes
 * it, without brackets. HR_EINVAL; *out is untouched then. */
HR_MUST_CHECK hr_status hr_address_parse(hr_slice text, hr_address *out);
/* The same as proxies write it: also [2001:db8::1], 192.0.2.1:80, [2001:db8::1]:80 and ports of
 * RFC 7239 §6.3 that are hidden (:_port). */
HR_MUST_CHECK hr_status hr_address_parse_node(hr_slice text, hr_address *out);
/* Writes it as RFC 5952 §4 wants it; returns the length. */
size_t hr_address_format(const hr_address *address, char out[HR_ADDRESS_TEXT_MAX]);
/* What stands for the address where clients are counted: an IPv4 address itself, of IPv6 its /64,
 * which one subscriber has at least (RFC 6177 §2). */
hr_address hr_address_counted(const hr_address *address);

/* Reads ADDRESS/BITS, or an address alone, which is a range of one. HR_EINVAL, also when the address
 * has bits behind its first BITS: whoever wrote that meant another range. */
HR_MUST_CHECK hr_status hr_address_range_parse(hr_slice text, hr_address_range *out);
/* An IPv4 address is in no range of IPv6, not even in ::/0. */
bool hr_address_range_has(const hr_address_range *range, const hr_address *address);
/* Whether one of count ranges has address. */
bool hr_address_ranges_have(const hr_address_range *ranges, size_t count,
                            const hr_address *address);

#endif
