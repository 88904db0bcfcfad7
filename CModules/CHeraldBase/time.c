#include "CHeraldBase.h"

#include <errno.h>
#include <sys/random.h>
#include <time.h>

int64_t hr_time_wall_ms(void) {
    struct timespec now;
    clock_gettime(CLOCK_REALTIME, &now);
    return (int64_t)now.tv_sec * 1000 + now.tv_nsec / 1000000;
}

uint64_t hr_time_mono_ns(void) {
    struct timespec now;
    clock_gettime(CLOCK_MONOTONIC, &now);
    return (uint64_t)now.tv_sec * 1000000000u + (uint64_t)now.tv_nsec;
}

static void put_digits(char *out, unsigned value, unsigned count) {
    while (count > 0) {
        out[--count] = (char)('0' + value % 10);
        value /= 10;
    }
}

/* The civil date of a day count since 1970-01-01 in the proleptic Gregorian
 * calendar, by 400-year eras that begin in March so that the leap day is last. */
void hr_time_format(int64_t wall_ms, char *out) {
    HR_ASSERT(wall_ms >= 0 && wall_ms < INT64_C(253402300800000));
    uint64_t ms = (uint64_t)wall_ms;
    uint64_t days = ms / 86400000u + 719468u; /* since 0000-03-01 */
    unsigned of_day = (unsigned)(ms % 86400000u);
    unsigned era = (unsigned)(days / 146097u);
    unsigned day_of_era = (unsigned)(days % 146097u);
    unsigned year_of_era =
        (day_of_era - day_of_era / 1460 + day_of_era / 36524 - day_of_era / 146096) / 365;
    unsigned day_of_year = day_of_era - (365 * year_of_era + year_of_era / 4 - year_of_era / 100);
    unsigned march_month = (5 * day_of_year + 2) / 153;
    unsigned day = day_of_year - (153 * march_month + 2) / 5 + 1;
    unsigned month = march_month < 10 ? march_month + 3 : march_month - 9;
    unsigned year = year_of_era + era * 400 + (month <= 2 ? 1u : 0u);
    put_digits(out, year, 4);
    out[4] = '-';
    put_digits(out + 5, month, 2);
    out[7] = '-';
    put_digits(out + 8, day, 2);
    out[10] = 'T';
    put_digits(out + 11, of_day / 3600000u, 2);
    out[13] = ':';
    put_digits(out + 14, of_day / 60000u % 60, 2);
    out[16] = ':';
    put_digits(out + 17, of_day / 1000u % 60, 2);
    out[19] = '.';
    put_digits(out + 20, of_day % 1000u, 3);
    out[23] = 'Z';
}

void hr_random_bytes(void *out, size_t len) {
    char *at = out;
    while (len > 0) {
        ssize_t got = getrandom(at, len, 0);
        if (got < 0) {
            HR_ASSERT(errno == EINTR);
            continue;
        }
        at += got;
        len -= (size_t)got;
    }
}
