/* What has come over a socket. All sockets are read into one buffer; a socket has memory of its
 * own only for a message of which the end has not come. */
#ifndef INBOX_H
#define INBOX_H

#include "tls.h"

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

/* No frame, block or answer may be longer. */
#define MESSAGE_MAX (4u << 20)

/* Zeroed memory is an empty one, of a plain socket. */
typedef struct inbox {
    tls *tls; /* of an encrypted one; it is the inbox's to end. Else NULL */
    char *rest;
    size_t rest_len;
    size_t rest_cap;
    size_t got_len; /* of the last read, encrypted if it is */
    bool is_full;   /* it was */
} inbox;

/* Reads once and shows all that has not been taken, decrypted, until the next call for any inbox.
 * False if nothing came. At the end of the connection, or of it by a fault, the program ends and
 * says whose it was. A read that is not full has emptied the socket: no read that finds nothing is
 * needed. */
bool inbox_read(inbox *inbox, int fd, const char *whose, char **bytes, size_t *len);

typedef enum inbox_got { INBOX_NOTHING, INBOX_SOME, INBOX_ENDED } inbox_got;

/* The same for a connection that the server may end: its end, or a fault, is then a result. */
inbox_got inbox_try_read(inbox *inbox, int fd, char **bytes, size_t *len);

/* Whether a socket of which only the edges are watched has to be read again: after a full read, and
 * up to its end if the peer has closed it. */
bool inbox_has_more(const inbox *inbox, uint32_t events);

/* Keeps what was shown from bytes on. */
void inbox_keep(inbox *inbox, const char *bytes, size_t len);

void inbox_free(inbox *inbox);

#endif
