/* Which content coding an answer is given. */
#include "CHeraldWire.h"

#include <string.h>

#define WEIGHT_MAX 1000 /* weights are counted in thousandths */
#define UNNAMED (-1)

/* Takes what stands before the next separator, or all. */
static hr_slice take_part(hr_slice *from, char separator) {
    const char *end = from->len == 0 ? NULL : memchr(from->data, separator, from->len);
    size_t len = end == NULL ? from->len : (size_t)(end - from->data);
    hr_slice part = {from->data, len};
    size_t skip = end == NULL ? len : len + 1;
    *from = (hr_slice){from->data + skip, from->len - skip};
    return hr_slice_trim(part);
}

/* q=0 to q=1 with at most three decimals (RFC 9110 §12.4.2); UNNAMED: it is not that. */
static int weight_of(hr_slice parameter) {
    if (parameter.len < 3 || parameter.len > 7 || (parameter.data[0] | 0x20) != 'q' ||
        parameter.data[1] != '=' || (parameter.data[2] != '0' && parameter.data[2] != '1')) {
        return UNNAMED;
    }
    int weight = (parameter.data[2] - '0') * WEIGHT_MAX;
    int digit = WEIGHT_MAX / 10;
    if (parameter.len > 3 && parameter.data[3] != '.') {
        return UNNAMED;
    }
    for (size_t i = 4; i < parameter.len; i++, digit /= 10) {
        if (parameter.data[i] < '0' || parameter.data[i] > '9') {
            return UNNAMED;
        }
        weight += (parameter.data[i] - '0') * digit;
    }
    return weight <= WEIGHT_MAX ? weight : UNNAMED;
}

/* The weights that a header gives; UNNAMED where it does not name the coding. */
typedef struct weights {
    int gzip;
    int identity;
    int any;
} weights;

static void add_element(weights *to, hr_slice element) {
    hr_slice name = take_part(&element, ';');
    int weight = WEIGHT_MAX;
    if (element.len > 0) {
        weight = weight_of(take_part(&element, ';'));
    }
    /* What cannot be read is passed over: nobody is sent what he may not have asked for. */
    if (weight == UNNAMED || element.len > 0) {
        return;
    }
    if (hr_slice_equal_nocase(name, HR_LIT("gzip")) ||
        hr_slice_equal_nocase(name, HR_LIT("x-gzip"))) {
        to->gzip = weight;
    } else if (hr_slice_equal_nocase(name, HR_LIT("identity"))) {
        to->identity = weight;
    } else if (hr_slice_equal(name, HR_LIT("*"))) {
        to->any = weight;
    }
}

hr_coding hr_coding_choose(hr_slice accept_encoding) {
    weights found = {UNNAMED, UNNAMED, UNNAMED};
    while (accept_encoding.len > 0) {
        add_element(&found, take_part(&accept_encoding, ','));
    }
    int gzip = found.gzip != UNNAMED ? found.gzip : found.any;
    /* Identity may always be sent unless it is refused, by its name or with all that have none. */
    int identity = found.identity != UNNAMED ? found.identity : found.any == 0 ? 0 : UNNAMED;
    if (gzip <= 0 || gzip < identity) {
        return HR_CODING_IDENTITY;
    }
    return identity == 0 ? HR_CODING_GZIP_ONLY : HR_CODING_GZIP;
}
