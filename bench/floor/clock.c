#include "floor.h"

#include <time.h>

char clock_date[DATE_LEN + 1];
char clock_stamp[STAMP_LEN + 1];

void clock_read(void) {
    static time_t second;
    struct timespec now;
    clock_gettime(CLOCK_REALTIME, &now);
    if (now.tv_sec != second) {
        struct tm parts;
        second = now.tv_sec;
        gmtime_r(&second, &parts);
        strftime(clock_date, sizeof clock_date, "%a, %d %b %Y %H:%M:%S GMT", &parts);
        strftime(clock_stamp, sizeof clock_stamp, "%Y-%m-%dT%H:%M:%S.000Z", &parts);
    }
    long milliseconds = now.tv_nsec / 1000000;
    clock_stamp[20] = (char)('0' + milliseconds / 100);
    clock_stamp[21] = (char)('0' + milliseconds / 10 % 10);
    clock_stamp[22] = (char)('0' + milliseconds % 10);
}
