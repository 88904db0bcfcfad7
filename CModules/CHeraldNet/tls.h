/* tls: one connection's TLS, without a socket: ciphertext in, plain text out, and the reverse.
 *
 * Thread: LOOP. OpenSSL reads and writes through its loop's wire, so that no connection has a
 * buffer of its own while it is idle, and what is sealed for many can be sent together. Whatever a
 * function writes stands behind what wire->out held before; the caller sends and removes it. */
#ifndef HR_TLS_PRIVATE_H
#define HR_TLS_PRIVATE_H

#include "CHeraldNet.h"

#include <openssl/ssl.h>

/* Of plain text; what a record holds at most (RFC 8446 §5.1). */
#define HR_TLS_RECORD_LEN 16384u

typedef struct hr__wire {
    hr_slice in; /* ciphertext that OpenSSL has not taken; borrowed */
    hr_buf out;
    bool is_failed; /* out could not grow */
    BIO *bio;       /* of all SSL objects of the loop */
    char *plain;    /* HR_TLS_RECORD_LEN bytes for what is opened */
} hr__wire;

typedef struct hr__tls {
    SSL *ssl;
    bool is_shaking; /* the handshake is not over, or not told of */
    bool is_begun;   /* a byte has come */
    bool is_failed;  /* nothing more can be sealed */
    bool bye_sent;
    uint8_t outcome; /* hr_tls_outcome, once the handshake is over */
    hr_conn *conn;   /* whose it is */
    hr_link line;    /* in the loop's line of handshakes, while it waits there */
} hr__tls;

HR_MUST_CHECK hr_status hr__wire_init(hr__wire *wire);
void hr__wire_fini(hr__wire *wire);

/* Gives *out, which waits for a client's hello. Keeps context. */
HR_MUST_CHECK hr_status hr__tls_new(hr__wire *wire, hr_tls *context, hr__tls **out);
void hr__tls_free(hr__tls **tls);

/* Goes on with the handshake by wire->in. True: it is over, and tls->outcome says how. */
bool hr__tls_shake(hr__tls *tls, hr__wire *wire);
/* Whether bytes, the connection's first, can begin a TLS record. */
bool hr__tls_is_hello(const char *bytes, size_t len);

typedef enum hr__tls_opened {
    HR__TLS_OPENED, /* *out is plain text, borrowed until the next call */
    HR__TLS_EMPTY,  /* wire->in has been used up */
    HR__TLS_END,    /* the peer's close_notify */
    HR__TLS_BROKEN,
} hr__tls_opened;
/* Opens the next record. */
hr__tls_opened hr__tls_open(hr__tls *tls, hr__wire *wire, hr_slice *out);
/* Seals bytes as one or more records. HR_EIO: the connection is of no more use. */
HR_MUST_CHECK hr_status hr__tls_seal(hr__tls *tls, hr__wire *wire, const char *bytes, size_t len);
/* Says goodbye (close_notify), once. */
void hr__tls_bye(hr__tls *tls);
hr_tls_version hr__tls_version(const hr__tls *tls);
bool hr__tls_is_resumed(const hr__tls *tls);
bool hr__tls_is_h2(const hr__tls *tls);

/* tls_context.c: a session of context for an accepted connection; NULL: out of memory. */
SSL *hr__tls_session(hr_tls *context);
void hr__tls_session_free(SSL *ssl);

#endif
