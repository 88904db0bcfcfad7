#include "client.h"

#include "base.h"

#include <errno.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>
#include <unistd.h>

/* Takes one answer off the front; returns its length, or 0 if it is not whole. */
static size_t take_answer(client *client, const char *bytes, size_t len) {
    client_kind *kind = client->kind;
    answer_head *head = &kind->head;
    if (answer_head_take(head, bytes, len) == TAKEN_NOTHING) {
        return 0;
    }
    bool is_good = head->status / 100 == 2 || (kind->may_be_unchanged && head->status == 304);
    if (!is_good || head->body_len > MESSAGE_MAX || client->answered == client->asked) {
        die("a request was answered: %.*s", (int)strcspn(head->text, "\r"), head->text);
    }
    return len < head->len + head->body_len ? 0 : head->len + head->body_len;
}

/* False if nothing came. */
static bool read_answers(client *client) {
    char *bytes = NULL;
    size_t len = 0;
    if (!inbox_read(&client->inbox, client->fd, "requester", &bytes, &len)) {
        return false;
    }
    size_t done = 0;
    size_t taken;
    uint32_t count = 0;
    while ((taken = take_answer(client, bytes + done, len - done)) > 0) {
        done += taken;
        client->answered++;
        count++;
    }
    client->kind->answer_bytes += done;
    inbox_keep(&client->inbox, bytes + done, len - done);
    if (count > 0 && client->kind->on_answers != NULL) {
        client->kind->on_answers(client, count);
    }
    return true;
}

static void on_ready(source *source, uint32_t events) {
    client *client = (struct client *)source;
    if ((events & EPOLLOUT) != 0) {
        client_flush(client);
    }
    if ((events & (uint32_t)~EPOLLOUT) != 0) {
        while (read_answers(client) && inbox_has_more(&client->inbox, events)) {
        }
    }
}

void client_open(client *client, client_kind *kind, size_t out_cap) {
    *client = (struct client){.source = {.on_ready = on_ready},
                              .fd = connect_to((uint16_t)kind->port, 0),
                              .kind = kind,
                              .out = must_alloc(NULL, out_cap),
                              .out_cap = out_cap};
    loop_watch(kind->loop, client->fd, EDGES, &client->source);
}

bool client_has_room(const client *client, size_t len) {
    return client->out_len + len <= client->out_cap;
}

void client_ask(client *client, const request *request, uint32_t number, uint64_t counter) {
    client->out_len += request_write(request, client->out + client->out_len, number, counter);
    client->asked++;
}

void client_flush(client *client) {
    bool was_blocked = client->is_blocked;
    client->is_blocked = false;
    while (client->out_done < client->out_len && !client->is_blocked) {
        ssize_t sent = send(client->fd, client->out + client->out_done,
                            client->out_len - client->out_done, MSG_NOSIGNAL);
        if (sent < 0 && errno != EAGAIN && errno != EINTR) {
            die("sending a request: %s", strerror(errno));
        }
        client->is_blocked = sent < 0 && errno == EAGAIN;
        client->out_done += sent > 0 ? (size_t)sent : 0;
    }
    if (client->is_blocked != was_blocked) {
        loop_change(client->kind->loop, client->fd, EDGES | (client->is_blocked ? EPOLLOUT : 0),
                    &client->source);
    }
    memmove(client->out, client->out + client->out_done, client->out_len - client->out_done);
    client->out_len -= client->out_done;
    client->out_done = 0;
}

void client_close(client *client) {
    close(client->fd);
    inbox_free(&client->inbox);
    free(client->out);
}
