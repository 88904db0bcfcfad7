#define _GNU_SOURCE
#include "tls.h"

#include "base.h"

#include <errno.h>
#include <limits.h>
#include <openssl/bio.h>
#include <openssl/err.h>
#include <openssl/ssl.h>
#include <stdint.h>
#include <stdio.h>
#include <string.h>
#include <sys/socket.h>

/* What every implementation has (RFC 8446 section 9.1): servers that are compared shall not differ
 * by their cipher. */
#define CIPHER "TLS_AES_128_GCM_SHA256"

/* What is being decrypted, of the connection whose turn it is. Without it OpenSSL reads the socket
 * by itself, and no more than it needs: nothing is then left in between. */
static struct {
    const char *at;
    size_t len;
    bool is_given;
} input;

/* --- Between OpenSSL and the socket --- */

static int fd_of(BIO *bio) { return (int)(intptr_t)BIO_get_data(bio); }

static int on_read(BIO *bio, char *out, size_t cap, size_t *done) {
    BIO_clear_retry_flags(bio);
    if (!input.is_given) {
        ssize_t got = recv(fd_of(bio), out, cap, 0);
        *done = got > 0 ? (size_t)got : 0;
        if (got < 0 && errno == EAGAIN) {
            BIO_set_retry_read(bio);
        }
        return got > 0;
    }
    *done = cap < input.len ? cap : input.len;
    if (*done == 0) {
        BIO_set_retry_read(bio);
        return 0;
    }
    memcpy(out, input.at, *done);
    input.at += *done;
    input.len -= *done;
    return 1;
}

static int on_write(BIO *bio, const char *bytes, size_t len, size_t *done) {
    ssize_t sent = send(fd_of(bio), bytes, len, MSG_NOSIGNAL);
    *done = sent > 0 ? (size_t)sent : 0;
    return sent > 0;
}

static long on_control(BIO *bio, int command, long number, void *pointer) {
    (void)bio;
    (void)number;
    (void)pointer;
    return command == BIO_CTRL_FLUSH;
}

static BIO_METHOD *method(void) {
    static BIO_METHOD *made;
    if (made == NULL) {
        made = BIO_meth_new(BIO_TYPE_SOURCE_SINK, "load");
        if (made == NULL || BIO_meth_set_read_ex(made, on_read) != 1 ||
            BIO_meth_set_write_ex(made, on_write) != 1 ||
            BIO_meth_set_ctrl(made, on_control) != 1) {
            die("out of memory");
        }
    }
    return made;
}

/* --- Connections --- */

__attribute__((noreturn)) static void fail(const char *doing) {
    char text[256];
    unsigned long code = ERR_get_error();
    ERR_error_string_n(code, text, sizeof text);
    const char *why = errno != 0 ? strerror(errno) : "the server closed the connection";
    die("%s: %s", doing, code != 0 ? text : why);
}

static SSL_CTX *context(void) {
    static const unsigned char protocols[] = "\x08http/1.1";
    static SSL_CTX *made;
    if (made != NULL) {
        return made;
    }
    made = SSL_CTX_new(TLS_client_method());
    if (made == NULL || SSL_CTX_set_min_proto_version(made, TLS1_3_VERSION) != 1 ||
        SSL_CTX_set_ciphersuites(made, CIPHER) != 1 ||
        SSL_CTX_set_alpn_protos(made, protocols, sizeof protocols - 1) != 0) {
        fail("preparing TLS");
    }
    SSL_CTX_set_verify(made, SSL_VERIFY_NONE, NULL);
    SSL_CTX_set_session_cache_mode(made, SSL_SESS_CACHE_OFF);
    SSL_CTX_set_mode(made, SSL_MODE_RELEASE_BUFFERS);
    SSL_CTX_set_quiet_shutdown(made, 1);
    return made;
}

tls *tls_begin(int fd) {
    SSL *tls = SSL_new(context());
    BIO *bio = BIO_new(method());
    if (tls == NULL || bio == NULL) {
        die("out of memory");
    }
    BIO_set_data(bio, (void *)(intptr_t)fd);
    BIO_set_init(bio, 1);
    SSL_set_bio(tls, bio, bio);
    return tls;
}

static void check_protocol(const tls *tls) {
    const unsigned char *protocol = NULL;
    unsigned protocol_len = 0;
    SSL_get0_alpn_selected(tls, &protocol, &protocol_len);
    if (protocol_len > 0 && (protocol_len != 8 || memcmp(protocol, "http/1.1", 8) != 0)) {
        die("the server chose another protocol: %.*s", (int)protocol_len, (const char *)protocol);
    }
}

static int shake(tls *tls) {
    input.is_given = false;
    ERR_clear_error();
    errno = 0;
    return SSL_connect(tls);
}

tls *tls_open(int fd) {
    tls *tls = tls_begin(fd);
    if (shake(tls) != 1) {
        fail("shaking hands");
    }
    check_protocol(tls);
    return tls;
}

tls_state tls_advance(tls *tls) {
    int result = shake(tls);
    if (result == 1) {
        check_protocol(tls);
        return TLS_READY;
    }
    return SSL_get_error(tls, result) == SSL_ERROR_WANT_READ ? TLS_WAITING : TLS_BROKEN;
}

/* Decrypts what is whole into out; gives its length, and why no more came. */
static int decrypt(tls *tls, const char *bytes, size_t len, char *out, size_t *out_len) {
    size_t cap = len + TLS_HELD_MAX;
    size_t done = 0;
    size_t got = 0;
    input.at = bytes;
    input.len = len;
    input.is_given = true;
    ERR_clear_error();
    while (SSL_read_ex(tls, out + done, cap - done, &got) == 1) {
        done += got;
    }
    *out_len = done;
    return SSL_get_error(tls, 0);
}

size_t tls_decrypt(tls *tls, const char *bytes, size_t len, char *out) {
    size_t done = 0;
    int why = decrypt(tls, bytes, len, out, &done);
    if (why == SSL_ERROR_ZERO_RETURN) {
        die("the server ended TLS");
    }
    if (why != SSL_ERROR_WANT_READ || input.len > 0) {
        fail("decrypting");
    }
    return done;
}

bool tls_try_decrypt(tls *tls, const char *bytes, size_t len, char *out, size_t *out_len) {
    int why = decrypt(tls, bytes, len, out, out_len);
    return why == SSL_ERROR_WANT_READ || *out_len > 0;
}

bool tls_try_send(tls *tls, const char *bytes, size_t len) {
    size_t sent = 0;
    ERR_clear_error();
    errno = 0;
    return SSL_write_ex(tls, bytes, len, &sent) == 1 && sent == len;
}

void tls_send(tls *tls, const char *bytes, size_t len) {
    if (!tls_try_send(tls, bytes, len)) {
        fail("sending over TLS");
    }
}

void tls_close(tls **tls) {
    SSL_free(*tls);
    *tls = NULL;
}

const char *tls_agreed(const tls *tls) {
    static char text[80];
    snprintf(text, sizeof text, "%s %s", SSL_get_version(tls), SSL_get_cipher_name(tls));
    return text;
}
