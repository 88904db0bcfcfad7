#include "inbox.h"

#include "base.h"

#include <errno.h>
#include <stdlib.h>
#include <string.h>
#include <sys/epoll.h>
#include <sys/socket.h>

/* No more at once: what else is ready should not have to wait long. */
#define READ_LEN (64 << 10)

static char buffer[MESSAGE_MAX + READ_LEN + TLS_HELD_MAX];
static char encrypted[READ_LEN];

bool inbox_read(inbox *inbox, int fd, const char *whose, char **bytes, size_t *len) {
    if (inbox->rest_len > 0) {
        memcpy(buffer, inbox->rest, inbox->rest_len);
    }
    char *rest_end = buffer + inbox->rest_len;
    ssize_t got = recv(fd, inbox->tls != NULL ? encrypted : rest_end, READ_LEN, 0);
    if (got == 0) {
        die("the server closed the connection of a %s", whose);
    }
    if (got < 0 && errno != EAGAIN && errno != EINTR) {
        die("reading for a %s: %s", whose, strerror(errno));
    }
    inbox->got_len = got > 0 ? (size_t)got : 0;
    inbox->is_full = inbox->got_len == READ_LEN;
    size_t text_len = inbox->got_len;
    if (inbox->tls != NULL && got > 0) {
        text_len = tls_decrypt(inbox->tls, encrypted, inbox->got_len, rest_end);
    }
    *bytes = buffer;
    *len = inbox->rest_len + text_len;
    return got > 0;
}

inbox_got inbox_try_read(inbox *inbox, int fd, char **bytes, size_t *len) {
    bool is_plain = inbox->tls == NULL;
    if (inbox->rest_len > 0) {
        memcpy(buffer, inbox->rest, inbox->rest_len);
    }
    char *rest_end = buffer + inbox->rest_len;
    ssize_t got = recv(fd, is_plain ? rest_end : encrypted, READ_LEN, 0);
    if (got <= 0) {
        return got < 0 && (errno == EAGAIN || errno == EINTR) ? INBOX_NOTHING : INBOX_ENDED;
    }
    size_t text_len = (size_t)got;
    if (!is_plain && !tls_try_decrypt(inbox->tls, encrypted, (size_t)got, rest_end, &text_len)) {
        return INBOX_ENDED;
    }
    *bytes = buffer;
    *len = inbox->rest_len + text_len;
    return INBOX_SOME;
}

bool inbox_has_more(const inbox *inbox, uint32_t events) {
    return inbox->is_full || (events & EPOLLRDHUP) != 0;
}

void inbox_keep(inbox *inbox, const char *bytes, size_t len) {
    if (len > MESSAGE_MAX) {
        die("a message of more than %u bytes", MESSAGE_MAX);
    }
    if (len > inbox->rest_cap) {
        inbox->rest = must_alloc(inbox->rest, len);
        inbox->rest_cap = len;
    }
    if (len > 0) {
        memcpy(inbox->rest, bytes, len);
    }
    inbox->rest_len = len;
}

void inbox_free(inbox *inbox) {
    if (inbox->tls != NULL) {
        tls_close(&inbox->tls);
    }
    free(inbox->rest);
    *inbox = (struct inbox){0};
}
