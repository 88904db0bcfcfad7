#include "floor.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

void die(const char *what) {
    fprintf(stderr, "floor: %s\n", what);
    exit(1);
}

char *buffer_room(buffer *buffer, size_t len) {
    if (buffer->len + len > buffer->cap) {
        buffer->cap = (buffer->len + len) * 2;
        buffer->bytes = realloc(buffer->bytes, buffer->cap);
        if (buffer->bytes == NULL) {
            die("out of memory");
        }
    }
    return buffer->bytes + buffer->len;
}

void buffer_add(buffer *buffer, const void *bytes, size_t len) {
    memcpy(buffer_room(buffer, len), bytes, len);
    buffer->len += len;
}

void buffer_add_number(buffer *buffer, uint64_t number) {
    char digits[20];
    size_t len = 0;
    do {
        digits[sizeof digits - ++len] = (char)('0' + number % 10);
        number /= 10;
    } while (number > 0);
    buffer_add(buffer, digits + sizeof digits - len, len);
}
