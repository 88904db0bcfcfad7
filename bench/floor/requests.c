/* Most heads are the same to the byte as the one before. Then they are known without a search. */
#define _GNU_SOURCE
#include "floor.h"

#include <stdlib.h>
#include <string.h>

#define HEAD_MAX 4096u

typedef struct known {
    char text[HEAD_MAX + 1];
    question question; /* points into text, but for the payload */
} known;

static const char *behind(const char *text, const char *mark) {
    const char *at = strcasestr(text, mark);
    return at != NULL ? at + strlen(mark) : NULL;
}

static void parse(known *known, size_t head_len) {
    const char *text = known->text;
    const char *topic = behind(text, "/v1/events/");
    const char *length = behind(text, "\r\nContent-Length: ");
    const char *key = behind(text, "\r\nSec-WebSocket-Key: ");
    const char *after = behind(text, "after=" EPOCH "-");
    question *question = &known->question;
    *question = (struct question){.head_len = head_len, .topic = topic != NULL ? topic : ""};
    question->topic_len = strcspn(question->topic, " ?");
    if (*text == 'P') {
        question->ask = ASK_PUBLISH;
        question->payload_len = length != NULL ? strtoul(length, NULL, 10) : 0;
    } else if (key != NULL) {
        question->ask = ASK_SOCKET;
        question->key = key;
        question->key_len = strcspn(key, "\r");
    } else if (strstr(text, "text/event-stream") != NULL) {
        question->ask = ASK_STREAM;
    } else if (strstr(text, "wait=") != NULL) {
        question->ask = ASK_WAIT;
        question->position = after != NULL ? strtoull(after, NULL, 10) : POSITION_LATEST;
    } else {
        question->ask = ASK_POLL;
    }
}

size_t question_take(const char *bytes, size_t len, question *question) {
    static known posts;
    static known gets;
    known *known = len > 0 && *bytes == 'P' ? &posts : &gets;
    size_t head_len = known->question.head_len;
    if (head_len == 0 || len < head_len || memcmp(bytes, known->text, head_len) != 0) {
        const char *end = memmem(bytes, len, "\r\n\r\n", 4);
        if (end == NULL) {
            return 0;
        }
        head_len = (size_t)(end - bytes) + 4;
        if (head_len > HEAD_MAX) {
            die("a head that is too long");
        }
        memcpy(known->text, bytes, head_len);
        known->text[head_len] = '\0';
        parse(known, head_len);
    }
    *question = known->question;
    question->payload = bytes + head_len;
    return len < head_len + question->payload_len ? 0 : head_len + question->payload_len;
}
