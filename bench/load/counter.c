#include "counter.h"

#include "base.h"

#include <string.h>

void counter_write(char *out, uint64_t counter) {
    if (counter >= COUNTER_END) {
        die("the counter has no more digits");
    }
    out[0] = '#';
    out[COUNTER_LEN - 1] = '#';
    for (size_t i = COUNTER_DIGITS; i > 0; i--) {
        out[i] = (char)('0' + counter % 10);
        counter /= 10;
    }
}

const char *counter_find(const char *text, size_t len, uint64_t *counter) {
    const char *end = text + len;
    const char *at = text;
    while ((at = memchr(at, '#', (size_t)(end - at))) != NULL && end - at >= (int)COUNTER_LEN) {
        uint64_t value = 0;
        uint32_t i = 1;
        for (; i <= COUNTER_DIGITS && at[i] >= '0' && at[i] <= '9'; i++) {
            value = value * 10 + (uint64_t)(at[i] - '0');
        }
        if (i > COUNTER_DIGITS && at[i] == '#') {
            *counter = value;
            return at + COUNTER_LEN;
        }
        at++;
    }
    return NULL;
}
