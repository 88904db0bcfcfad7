/* A client's TLS 1.3 for many connections: one context for all, no certificate is verified, no
 * session is resumed, and a connection between two records holds no buffer.
 *
 * The caller reads the socket and has the bytes decrypted. So one read takes in many records, and
 * none is made that finds nothing: a connection costs the generator what a plain one does, and the
 * cipher. */
#ifndef TLS_H
#define TLS_H

#include <stdbool.h>
#include <stddef.h>

typedef struct ssl_st tls;

/* Of a record that has come in part, at most so much text is held back. */
#define TLS_HELD_MAX (16u << 10)

/* Shakes hands over a socket that blocks. Gives a connection; whatever goes wrong ends the
 * program. */
tls *tls_open(int fd);

typedef enum tls_state { TLS_WAITING, TLS_READY, TLS_BROKEN } tls_state;

/* Gives a connection over a socket that does not block, before anything is sent on it. */
tls *tls_begin(int fd);

/* Goes on with the handshake as far as the socket goes. Broken: it has ended, or is no TLS. */
tls_state tls_advance(tls *tls);

/* Decrypts all that the bytes have whole, together with those of before. Returns the text's length,
 * at most len + TLS_HELD_MAX, for which out has room. */
size_t tls_decrypt(tls *tls, const char *bytes, size_t len, char *out);

/* The same, for those who may be ended: false if TLS has ended or is broken, and nothing came before. */
bool tls_try_decrypt(tls *tls, const char *bytes, size_t len, char *out, size_t *out_len);

/* Sends all. The socket takes it: what is sent is short. */
void tls_send(tls *tls, const char *bytes, size_t len);

/* The same; false if the connection has ended. */
bool tls_try_send(tls *tls, const char *bytes, size_t len);

/* Ends *tls without telling the server; the socket is the caller's to close. */
void tls_close(tls **tls);

/* What was agreed on, as `TLSv1.3 TLS_AES_128_GCM_SHA256`. */
const char *tls_agreed(const tls *tls);

#endif
