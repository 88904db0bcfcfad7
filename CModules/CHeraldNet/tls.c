/* OpenSSL between two buffers. ERR_clear_error goes before every call, because SSL_get_error looks
 * at the thread's error queue. */
#include "tls.h"

#include <pthread.h>
#include <stdlib.h>
#include <string.h>

#include <openssl/err.h>

/* The wire. ------------------------------------------------------------------------------------ */

static int wire_write(BIO *bio, const char *bytes, size_t len, size_t *written) {
    hr__wire *wire = BIO_get_data(bio);
    if (hr_buf_append(&wire->out, bytes, len) != HR_OK) {
        wire->is_failed = true;
        return 0;
    }
    *written = len;
    return 1;
}

static int wire_read(BIO *bio, char *bytes, size_t len, size_t *got) {
    hr__wire *wire = BIO_get_data(bio);
    BIO_clear_retry_flags(bio);
    if (wire->in.len == 0) {
        BIO_set_retry_read(bio);
        return 0;
    }
    size_t count = len < wire->in.len ? len : wire->in.len;
    memcpy(bytes, wire->in.data, count);
    wire->in = (hr_slice){wire->in.data + count, wire->in.len - count};
    *got = count;
    return 1;
}

static long wire_control(BIO *bio, int command, long number, void *pointer) {
    (void)bio;
    (void)number;
    (void)pointer;
    return command == BIO_CTRL_FLUSH ? 1 : 0;
}

static BIO_METHOD *wire_method;

static void make_method(void) {
    BIO_METHOD *method = BIO_meth_new(BIO_get_new_index() | BIO_TYPE_SOURCE_SINK, "herald wire");
    if (method != NULL && BIO_meth_set_write_ex(method, wire_write) == 1 &&
        BIO_meth_set_read_ex(method, wire_read) == 1 &&
        BIO_meth_set_ctrl(method, wire_control) == 1) {
        wire_method = method; /* for as long as the process */
    }
}

hr_status hr__wire_init(hr__wire *wire) {
    static pthread_once_t once = PTHREAD_ONCE_INIT;
    pthread_once(&once, make_method);
    *wire = (hr__wire){0};
    wire->plain = malloc(HR_TLS_RECORD_LEN);
    wire->bio = wire_method == NULL ? NULL : BIO_new(wire_method);
    if (wire->plain == NULL || wire->bio == NULL) {
        hr__wire_fini(wire);
        return HR_ENOMEM;
    }
    BIO_set_data(wire->bio, wire);
    BIO_set_init(wire->bio, 1);
    return HR_OK;
}

void hr__wire_fini(hr__wire *wire) {
    BIO_free(wire->bio);
    hr_buf_fini(&wire->out);
    free(wire->plain);
    *wire = (hr__wire){0};
}

/* The connection. ------------------------------------------------------------------------------ */

hr_status hr__tls_new(hr__wire *wire, hr_tls *context, hr__tls **out) {
    hr__tls *tls = calloc(1, sizeof *tls);
    if (tls == NULL) {
        return HR_ENOMEM;
    }
    ERR_clear_error();
    tls->ssl = hr__tls_session(context);
    if (tls->ssl == NULL) {
        free(tls);
        return HR_ENOMEM;
    }
    /* A reference for reading and one for writing. */
    HR_ASSERT(BIO_up_ref(wire->bio) == 1 && BIO_up_ref(wire->bio) == 1);
    SSL_set0_rbio(tls->ssl, wire->bio);
    SSL_set0_wbio(tls->ssl, wire->bio);
    tls->is_shaking = true;
    hr_link_init(&tls->line);
    *out = tls;
    return HR_OK;
}

void hr__tls_free(hr__tls **handle) {
    hr__tls *tls = *handle;
    *handle = NULL;
    ERR_clear_error();
    hr__tls_session_free(tls->ssl);
    free(tls);
}

bool hr__tls_is_hello(const char *bytes, size_t len) {
    /* RFC 8446 §5.1: content type handshake, then a version whose first byte is 3. */
    return bytes[0] == 0x16 && (len < 2 || bytes[1] == 0x03);
}

/* A handshake's failure by what OpenSSL gives as its reason. */
static hr_tls_outcome outcome_of(unsigned long error) {
    switch (ERR_GET_REASON(error)) {
    case SSL_R_UNSUPPORTED_PROTOCOL:
    case SSL_R_WRONG_VERSION_NUMBER:
    case SSL_R_VERSION_TOO_LOW:
    case SSL_R_UNKNOWN_PROTOCOL:
    case SSL_R_INAPPROPRIATE_FALLBACK:
    case SSL_R_TLSV1_ALERT_PROTOCOL_VERSION: return HR_TLS_VERSION;
    case SSL_R_NO_SHARED_CIPHER:
    case SSL_R_NO_SHARED_GROUPS:
    case SSL_R_NO_SUITABLE_KEY_SHARE:
    case SSL_R_NO_SUITABLE_SIGNATURE_ALGORITHM:
    case SSL_R_NO_SHARED_SIGNATURE_ALGORITHMS:
    case SSL_R_SSLV3_ALERT_HANDSHAKE_FAILURE: return HR_TLS_CIPHER;
    case SSL_R_NO_APPLICATION_PROTOCOL: return HR_TLS_PROTOCOL;
    case SSL_R_PEER_DID_NOT_RETURN_A_CERTIFICATE:
    case SSL_R_CERTIFICATE_VERIFY_FAILED:
    case SSL_R_BAD_SIGNATURE: return HR_TLS_CERTIFICATE;
    case SSL_R_TLSV1_ALERT_UNKNOWN_CA:
    case SSL_R_SSLV3_ALERT_BAD_CERTIFICATE:
    case SSL_R_SSLV3_ALERT_CERTIFICATE_UNKNOWN:
    case SSL_R_SSLV3_ALERT_CERTIFICATE_EXPIRED:
    case SSL_R_SSLV3_ALERT_CERTIFICATE_REVOKED:
    case SSL_R_SSLV3_ALERT_UNSUPPORTED_CERTIFICATE: return HR_TLS_REFUSED;
    default: return HR_TLS_OTHER;
    }
}

bool hr__tls_shake(hr__tls *tls, hr__wire *wire) {
    HR_ASSERT(tls->is_shaking);
    ERR_clear_error();
    int result = SSL_do_handshake(tls->ssl);
    if (result == 1) {
        tls->outcome = HR_TLS_COMPLETED;
        return true;
    }
    if (!wire->is_failed && SSL_get_error(tls->ssl, result) == SSL_ERROR_WANT_READ) {
        return false;
    }
    wire->is_failed = false;
    tls->is_failed = true;
    tls->outcome = (uint8_t)outcome_of(ERR_peek_error());
    ERR_clear_error();
    return true;
}

hr__tls_opened hr__tls_open(hr__tls *tls, hr__wire *wire, hr_slice *out) {
    size_t got = 0;
    ERR_clear_error();
    int result = SSL_read_ex(tls->ssl, wire->plain, HR_TLS_RECORD_LEN, &got);
    if (result == 1) {
        *out = (hr_slice){wire->plain, got};
        return HR__TLS_OPENED;
    }
    int error = SSL_get_error(tls->ssl, result);
    if (error == SSL_ERROR_WANT_READ && !wire->is_failed) {
        return HR__TLS_EMPTY;
    }
    if (error == SSL_ERROR_ZERO_RETURN) {
        return HR__TLS_END;
    }
    tls->is_failed = true;
    ERR_clear_error();
    return HR__TLS_BROKEN;
}

hr_status hr__tls_seal(hr__tls *tls, hr__wire *wire, const char *bytes, size_t len) {
    size_t written = 0;
    if (tls->is_failed) {
        return HR_EIO;
    }
    ERR_clear_error();
    /* The wire takes all, so that there is no retry. */
    if (len > 0 && (SSL_write_ex(tls->ssl, bytes, len, &written) != 1 || wire->is_failed)) {
        wire->is_failed = false;
        tls->is_failed = true;
        ERR_clear_error();
        return HR_EIO;
    }
    HR_ASSERT(written == len);
    return HR_OK;
}

void hr__tls_bye(hr__tls *tls) {
    if (tls->bye_sent || tls->is_failed || tls->is_shaking) {
        return;
    }
    tls->bye_sent = true;
    ERR_clear_error();
    (void)SSL_shutdown(tls->ssl); /* the peer's is not waited for: its end of the socket tells */
    ERR_clear_error();
}

hr_tls_version hr__tls_version(const hr__tls *tls) {
    switch (SSL_version(tls->ssl)) {
    case TLS1_2_VERSION: return HR_TLS_1_2;
    case TLS1_3_VERSION: return HR_TLS_1_3;
    default: return HR_TLS_NO_VERSION;
    }
}

bool hr__tls_is_resumed(const hr__tls *tls) { return SSL_session_reused(tls->ssl) == 1; }

bool hr__tls_is_h2(const hr__tls *tls) {
    const unsigned char *name = NULL;
    unsigned len = 0;
    SSL_get0_alpn_selected(tls->ssl, &name, &len);
    return hr_slice_equal((hr_slice){(const char *)name, len}, HR_LIT("h2"));
}
