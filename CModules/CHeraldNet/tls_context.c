/* What TLS connections share: contexts by certificate, ticket keys, verification of clients. */
#include "tls.h"

#include <pthread.h>
#include <stdatomic.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include <openssl/err.h>
#include <openssl/core_names.h>
#include <openssl/x509v3.h>

#define HR_TLS_MAGIC 0x715C0001u

/* Mozilla's "intermediate" 5.7 for TLS 1.2, without DHE; those of 1.3 are OpenSSL's own three. */
static const char ciphers[] = "ECDHE-ECDSA-AES128-GCM-SHA256:ECDHE-RSA-AES128-GCM-SHA256:"
                              "ECDHE-ECDSA-AES256-GCM-SHA384:ECDHE-RSA-AES256-GCM-SHA384:"
                              "ECDHE-ECDSA-CHACHA20-POLY1305:ECDHE-RSA-CHACHA20-POLY1305";
static const char groups[] = "X25519:P-256:P-384";
static const unsigned char protocols[] = "\x02h2\x08http/1.1"; /* as ALPN has them, ours first */

/* A key makes tickets for half their life and opens them for all of it: what is recorded today can
 * be opened with a key taken tomorrow, not with one taken the day after. */
#define TICKET_LIFE_S 43200
#define TICKET_KEY_COUNT 3

typedef struct ticket_key {
    unsigned char name[16];
    unsigned char cipher[32];
    unsigned char mac[32];
    int64_t made_s; /* 0: none */
} ticket_key;

struct hr_tls {
    HR_MAGIC_FIELD;
    _Atomic uint32_t refs;
    SSL_CTX **contexts; /* one a certificate */
    size_t count;
    int64_t expires_s;
    pthread_mutex_t lock;
    ticket_key keys[TICKET_KEY_COUNT]; /* newest first; under lock */
};

static void wipe_keys(ticket_key *keys) { OPENSSL_cleanse(keys, TICKET_KEY_COUNT * sizeof *keys); }

/* Tickets. ------------------------------------------------------------------------------------- */

/* The key to make a ticket with, made anew when it is due. */
static ticket_key current_key(hr_tls *tls) {
    int64_t now_s = hr_time_wall_ms() / 1000;
    pthread_mutex_lock(&tls->lock);
    if (tls->keys[0].made_s == 0 || now_s - tls->keys[0].made_s >= TICKET_LIFE_S / 2) {
        memmove(&tls->keys[1], &tls->keys[0], (TICKET_KEY_COUNT - 1) * sizeof tls->keys[0]);
        hr_random_bytes(&tls->keys[0], sizeof tls->keys[0]);
        tls->keys[0].made_s = now_s;
    }
    ticket_key key = tls->keys[0];
    pthread_mutex_unlock(&tls->lock);
    return key;
}

static bool named_key(hr_tls *tls, const unsigned char name[16], ticket_key *out) {
    int64_t now_s = hr_time_wall_ms() / 1000;
    bool is_found = false;
    pthread_mutex_lock(&tls->lock);
    for (size_t i = 0; i < TICKET_KEY_COUNT && !is_found; i++) {
        const ticket_key *key = &tls->keys[i];
        is_found = key->made_s != 0 && now_s - key->made_s < TICKET_LIFE_S &&
                   memcmp(key->name, name, sizeof key->name) == 0;
        if (is_found) {
            *out = *key;
        }
    }
    pthread_mutex_unlock(&tls->lock);
    return is_found;
}

/* SSL_CTX_set_tlsext_ticket_key_evp_cb(3): 1 go on, 0 no such key, <0 failure. */
static int on_ticket(SSL *ssl, unsigned char *name, unsigned char *iv, EVP_CIPHER_CTX *cipher,
                     EVP_MAC_CTX *mac, int making) {
    hr_tls *tls;
    HR_CAST(hr_tls, tls, SSL_get_app_data(ssl), HR_TLS_MAGIC);
    ticket_key key;
    if (making != 0) {
        key = current_key(tls);
        hr_random_bytes(iv, (size_t)EVP_CIPHER_get_iv_length(EVP_aes_256_cbc()));
        memcpy(name, key.name, sizeof key.name);
    } else if (!named_key(tls, name, &key)) {
        return 0;
    }
    char digest[] = "SHA256";
    OSSL_PARAM params[] = {
        OSSL_PARAM_construct_octet_string(OSSL_MAC_PARAM_KEY, key.mac, sizeof key.mac),
        OSSL_PARAM_construct_utf8_string(OSSL_MAC_PARAM_DIGEST, digest, 0),
        OSSL_PARAM_construct_end(),
    };
    bool is_set = EVP_MAC_CTX_set_params(mac, params) == 1 &&
                  EVP_CipherInit_ex(cipher, EVP_aes_256_cbc(), NULL, key.cipher, iv, making) == 1;
    OPENSSL_cleanse(&key, sizeof key);
    return is_set ? 1 : -1;
}

/* Choices of a handshake. ---------------------------------------------------------------------- */

/* Names that no certificate has are served with the first (RFC 6066 §3 leaves it open): a client
 * that minds finds out by the certificate, and one that asks by address has no name at all. */
static int on_name(SSL *ssl, int *alert, void *context) {
    (void)alert;
    (void)context;
    const hr_tls *tls;
    HR_CAST(const hr_tls, tls, SSL_get_app_data(ssl), HR_TLS_MAGIC);
    const char *name = SSL_get_servername(ssl, TLSEXT_NAMETYPE_host_name);
    for (size_t i = 0; name != NULL && i < tls->count; i++) {
        X509 *certificate = SSL_CTX_get0_certificate(tls->contexts[i]);
        if (X509_check_host(certificate, name, 0, X509_CHECK_FLAG_NEVER_CHECK_SUBJECT, NULL) == 1) {
            SSL_set_SSL_CTX(ssl, tls->contexts[i]);
            break;
        }
    }
    return SSL_TLSEXT_ERR_OK;
}

/* Ours in our order. A client that offers only others is refused (RFC 7301 §3.2). */
static int on_protocols(SSL *ssl, const unsigned char **out, unsigned char *out_len,
                        const unsigned char *offered, unsigned offered_len, void *context) {
    (void)ssl;
    (void)context;
    unsigned char *chosen = NULL;
    if (SSL_select_next_proto(&chosen, out_len, protocols, sizeof protocols - 1, offered,
                              offered_len) != OPENSSL_NPN_NEGOTIATED) {
        return SSL_TLSEXT_ERR_ALERT_FATAL;
    }
    *out = chosen;
    return SSL_TLSEXT_ERR_OK;
}

/* Making. -------------------------------------------------------------------------------------- */

/* OpenSSL would ask at the terminal. */
static int no_passphrase(char *out, int cap, int writing, void *context) {
    (void)out;
    (void)cap;
    (void)writing;
    (void)context;
    return 0;
}

static hr_status refuse(char *why, const char *file, const char *what) {
    const char *reason = ERR_reason_error_string(ERR_peek_last_error());
    snprintf(why, HR_TLS_WHY_LEN, "%s: %s%s%s", file, what, reason != NULL ? ": " : "",
             reason != NULL ? reason : "");
    ERR_clear_error();
    return HR_EINVAL;
}

static hr_status load_pair(SSL_CTX *context, const hr_tls_pair *pair, char *why) {
    ERR_clear_error();
    if (SSL_CTX_use_certificate_chain_file(context, pair->certificate_file) != 1) {
        return refuse(why, pair->certificate_file, "cannot be used as a certificate");
    }
    if (SSL_CTX_use_PrivateKey_file(context, pair->key_file, SSL_FILETYPE_PEM) != 1) {
        return refuse(why, pair->key_file, "cannot be used as the key of the certificate");
    }
    return HR_OK;
}

static hr_status load_client_ca(SSL_CTX *context, const char *file, char *why) {
    ERR_clear_error();
    STACK_OF(X509_NAME) *names = SSL_load_client_CA_file(file);
    if (names == NULL || SSL_CTX_load_verify_file(context, file) != 1) {
        sk_X509_NAME_pop_free(names, X509_NAME_free);
        return refuse(why, file, "cannot be used as an authority of clients");
    }
    SSL_CTX_set_client_CA_list(context, names); /* takes them */
    SSL_CTX_set_verify(context, SSL_VERIFY_PEER | SSL_VERIFY_FAIL_IF_NO_PEER_CERT, NULL);
    return HR_OK;
}

static bool set_policy(SSL_CTX *context, bool tls13_only) {
    static const unsigned char session_context[] = "herald";
    SSL_CTX_set_options(context, SSL_OP_NO_COMPRESSION | SSL_OP_NO_RENEGOTIATION |
                                     SSL_OP_CIPHER_SERVER_PREFERENCE | SSL_OP_PRIORITIZE_CHACHA);
    SSL_CTX_set_mode(context, SSL_MODE_RELEASE_BUFFERS | SSL_MODE_AUTO_RETRY);
    SSL_CTX_set_session_cache_mode(context, SSL_SESS_CACHE_OFF); /* tickets hold the state */
    SSL_CTX_set_timeout(context, TICKET_LIFE_S);
    SSL_CTX_set_default_passwd_cb(context, no_passphrase);
    SSL_CTX_set_tlsext_servername_callback(context, on_name);
    SSL_CTX_set_alpn_select_cb(context, on_protocols, NULL);
    return SSL_CTX_set_min_proto_version(context, tls13_only ? TLS1_3_VERSION : TLS1_2_VERSION) ==
               1 &&
           SSL_CTX_set_cipher_list(context, ciphers) == 1 &&
           SSL_CTX_set1_groups_list(context, groups) == 1 &&
           SSL_CTX_set_num_tickets(context, 1) == 1 &&
           SSL_CTX_set_session_id_context(context, session_context, sizeof session_context - 1) ==
               1 &&
           SSL_CTX_set_tlsext_ticket_key_evp_cb(context, on_ticket) == 1;
}

static int64_t end_of(const SSL_CTX *context) {
    struct tm end;
    const X509 *certificate = SSL_CTX_get0_certificate(context);
    if (ASN1_TIME_to_tm(X509_get0_notAfter(certificate), &end) != 1) {
        return 0;
    }
    return (int64_t)timegm(&end);
}

static hr_status add_context(hr_tls *tls, const hr_tls_config *config, size_t index, char *why) {
    SSL_CTX *context = SSL_CTX_new(TLS_server_method());
    if (context == NULL) {
        return HR_ENOMEM;
    }
    tls->contexts[tls->count++] = context;
    if (!set_policy(context, config->tls13_only)) {
        return refuse(why, "OpenSSL", "does not take the settings");
    }
    hr_status status = load_pair(context, &config->pairs[index], why);
    if (status == HR_OK && config->client_ca_file != NULL) {
        status = load_client_ca(context, config->client_ca_file, why);
    }
    if (status == HR_OK) {
        int64_t end_s = end_of(context);
        tls->expires_s = index == 0 || end_s < tls->expires_s ? end_s : tls->expires_s;
    }
    return status;
}

static void take_keys(hr_tls *tls, const hr_tls *before) {
    hr_tls *old = (hr_tls *)(uintptr_t)before; /* its lock is not part of what it is */
    pthread_mutex_lock(&old->lock);
    memcpy(tls->keys, old->keys, sizeof tls->keys);
    pthread_mutex_unlock(&old->lock);
}

hr_status hr_tls_new(const hr_tls_config *config, const hr_tls *before, hr_tls **out,
                     char why[HR_TLS_WHY_LEN]) {
    HR_ASSERT(config->pair_count > 0);
    snprintf(why, HR_TLS_WHY_LEN, "there is no memory");
    hr_tls *tls = calloc(1, sizeof *tls);
    if (tls == NULL) {
        return HR_ENOMEM;
    }
    HR_MAGIC_SET(tls, HR_TLS_MAGIC);
    atomic_init(&tls->refs, 1);
    HR_ASSERT(pthread_mutex_init(&tls->lock, NULL) == 0);
    tls->contexts = calloc(config->pair_count, sizeof(SSL_CTX *));
    hr_status status = tls->contexts == NULL ? HR_ENOMEM : HR_OK;
    for (size_t i = 0; status == HR_OK && i < config->pair_count; i++) {
        status = add_context(tls, config, i, why);
    }
    if (status != HR_OK) {
        hr_tls_unref(&tls);
        return status;
    }
    /* A ticket stands for its client's certificate, which OpenSSL does not judge again: new
     * authorities must not inherit what others let in. */
    if (before != NULL && config->client_ca_file == NULL) {
        take_keys(tls, before);
    }
    *out = tls;
    return HR_OK;
}

hr_tls *hr_tls_ref(hr_tls *tls) {
    HR_CHECK(tls, HR_TLS_MAGIC);
    atomic_fetch_add_explicit(&tls->refs, 1, memory_order_relaxed);
    return tls;
}

void hr_tls_unref(hr_tls **handle) {
    hr_tls *tls = *handle;
    HR_CHECK(tls, HR_TLS_MAGIC);
    *handle = NULL;
    if (atomic_fetch_sub_explicit(&tls->refs, 1, memory_order_acq_rel) > 1) {
        return;
    }
    for (size_t i = 0; i < tls->count; i++) {
        SSL_CTX_free(tls->contexts[i]);
    }
    free(tls->contexts);
    wipe_keys(tls->keys);
    pthread_mutex_destroy(&tls->lock);
    HR_MAGIC_CLEAR(tls);
    free(tls);
}

int64_t hr_tls_expires_s(const hr_tls *tls) {
    HR_CHECK(tls, HR_TLS_MAGIC);
    return tls->expires_s;
}

SSL *hr__tls_session(hr_tls *tls) {
    HR_CHECK(tls, HR_TLS_MAGIC);
    SSL *ssl = SSL_new(tls->contexts[0]);
    if (ssl != NULL) {
        SSL_set_app_data(ssl, hr_tls_ref(tls));
        SSL_set_accept_state(ssl);
    }
    return ssl;
}

void hr__tls_session_free(SSL *ssl) {
    hr_tls *tls;
    HR_CAST(hr_tls, tls, SSL_get_app_data(ssl), HR_TLS_MAGIC);
    SSL_free(ssl);
    hr_tls_unref(&tls);
}
