#define _GNU_SOURCE
#include "http.h"

#include "base.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

bool path_is_numbered(const char *path) { return strstr(path, "%u") != NULL; }

void path_write(char *out, size_t cap, const char *path, uint32_t number) {
    const char *mark = strstr(path, "%u");
    int len = mark == NULL
                  ? snprintf(out, cap, "%s", path)
                  : snprintf(out, cap, "%.*s%u%s", (int)(mark - path), path, number, mark + 2);
    if (len < 0 || (size_t)len >= cap) {
        die("a path that is too long: %s", path);
    }
}

static void init(request *request, const char *method, const char *path, const char *fields) {
    const char *mark = strstr(path, "%u");
    int before_len = 0;
    request->is_numbered = mark != NULL;
    if (mark != NULL) {
        before_len = asprintf(&request->before, "%s %.*s", method, (int)(mark - path), path);
    } else {
        before_len = asprintf(&request->before, "%s %s", method, path);
    }
    int behind_len =
        asprintf(&request->behind, "%s HTTP/1.1\r\n%s\r\n", mark != NULL ? mark + 2 : "", fields);
    if (before_len < 0 || behind_len < 0) {
        die("out of memory");
    }
    request->before_len = (size_t)before_len;
    request->behind_len = (size_t)behind_len;
    request->payloads = NULL;
}

void request_init_get(request *request, uint32_t port, const char *path) {
    char fields[64];
    snprintf(fields, sizeof fields, "Host: 127.0.0.1:%u\r\n", port);
    init(request, "GET", path, fields);
}

void request_init_publish(request *request, uint32_t port, const char *path,
                          const payloads *payloads) {
    char fields[160];
    snprintf(fields, sizeof fields,
             "Host: 127.0.0.1:%u\r\nContent-Type: %s\r\nContent-Length: %u\r\n", port,
             payloads->type, payloads->len);
    init(request, "POST", path, fields);
    request->payloads = payloads;
}

void request_free(request *request) {
    free(request->before);
    free(request->behind);
}

size_t request_len_max(const request *request) {
    size_t body_len = request->payloads != NULL ? request->payloads->len : 0;
    return request->before_len + 20 + request->behind_len + body_len;
}

size_t request_write(const request *request, char *out, uint32_t number, uint64_t counter) {
    size_t len = request->before_len;
    memcpy(out, request->before, len);
    if (request->is_numbered) {
        len += format_number(out + len, number);
    }
    memcpy(out + len, request->behind, request->behind_len);
    len += request->behind_len;
    if (request->payloads != NULL) {
        payload_write(request->payloads, out + len, counter);
        len += request->payloads->len;
    }
    return len;
}

const char *answer_field(const answer_head *head, const char *name) {
    char line[64];
    snprintf(line, sizeof line, "\r\n%s:", name);
    const char *at = strcasestr(head->text, line);
    if (at == NULL) {
        return NULL;
    }
    at += strlen(line);
    return at + strspn(at, " ");
}

static void parse(answer_head *head) {
    unsigned status = 0;
    if (sscanf(head->text, "HTTP/1.1 %3u", &status) != 1) {
        die("an answer that is not HTTP/1.1: %.*s", (int)strcspn(head->text, "\r"), head->text);
    }
    head->status = status;
    head->body_len = 0;
    if (status < 200 || status == 204 || status == 304) {
        return;
    }
    const char *length = answer_field(head, "Content-Length");
    head->body_len = length != NULL ? strtoul(length, NULL, 10) : BODY_UNBOUNDED;
}

taken answer_head_take(answer_head *head, const char *bytes, size_t len) {
    if (head->len > 0 && len >= head->len && memcmp(bytes, head->text, head->len) == 0) {
        return TAKEN_SAME;
    }
    const char *end = memmem(bytes, len, "\r\n\r\n", 4);
    size_t head_len = end != NULL ? (size_t)(end - bytes) + 4 : len;
    if (head_len > HEAD_MAX) {
        die("an answer's head of more than %u bytes", HEAD_MAX);
    }
    if (end == NULL) {
        return TAKEN_NOTHING;
    }
    memcpy(head->text, bytes, head_len);
    head->text[head_len] = '\0';
    head->len = head_len;
    parse(head);
    return TAKEN_OTHER;
}
