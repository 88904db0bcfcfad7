/* hr_tls: what the TLS connections of a server share: certificates, the clients' authority, ticket
 * keys. TLS 1.2 and 1.3 by OpenSSL, as Mozilla's "intermediate" (guideline 5.7) without DHE.
 *
 * Thread: ANY. Immutable once made but for its references and the ticket keys, which have a lock:
 * they are asked for once a handshake. A new one takes the place of another without a connection's
 * notice: each keeps the one it began with. */
#ifndef HR_TLS_H
#define HR_TLS_H

#include "CHeraldBase.h"

typedef struct hr_tls hr_tls;

/* A certificate with its chain, and its key; PEM files. */
typedef struct hr_tls_pair {
    const char *certificate_file;
    const char *key_file;
} hr_tls_pair;

typedef struct hr_tls_config {
    const hr_tls_pair *pairs; /* the first serves who asks for no name, or none that is here */
    size_t pair_count;        /* at least 1 */
    const char
        *client_ca_file; /* PEM; clients must show a certificate of it; NULL: none is asked for */
    bool tls13_only;
} hr_tls_config;

#define HR_TLS_WHY_LEN 256

/* Reads the files. before: whose ticket keys are taken over, so that its clients can resume, unless
 * clients must show certificates; may be NULL. Gives *out with one reference. HR_EINVAL: why names
 * the file and what is wrong with it. */
HR_MUST_CHECK hr_status hr_tls_new(const hr_tls_config *config, const hr_tls *before, hr_tls **out,
                                   char why[HR_TLS_WHY_LEN]);
hr_tls *hr_tls_ref(hr_tls *tls);
/* Gives a reference up and clears *tls. */
void hr_tls_unref(hr_tls **tls);
/* The end of validity of the certificate that ends first, seconds since 1970. */
int64_t hr_tls_expires_s(const hr_tls *tls);

/* What became of a handshake. */
typedef enum HR_CLOSED_ENUM hr_tls_outcome {
    HR_TLS_COMPLETED,
    HR_TLS_PLAIN_TEXT,  /* not TLS at all: HTTP on the wrong port, or noise */
    HR_TLS_VERSION,     /* no version in common */
    HR_TLS_CIPHER,      /* no cipher, group or signature in common */
    HR_TLS_PROTOCOL,    /* no application protocol in common (ALPN) */
    HR_TLS_CERTIFICATE, /* the client's is missing or not good */
    HR_TLS_REFUSED,     /* the client does not take ours */
    HR_TLS_LEFT,        /* the client went away in the middle */
    HR_TLS_TIMEOUT,
    HR_TLS_OTHER,
} hr_tls_outcome;
#define HR_TLS_OUTCOME_COUNT 10

typedef enum HR_CLOSED_ENUM hr_tls_version {
    HR_TLS_NO_VERSION, /* none was agreed on */
    HR_TLS_1_2,
    HR_TLS_1_3,
} hr_tls_version;
#define HR_TLS_VERSION_COUNT 3

#endif
