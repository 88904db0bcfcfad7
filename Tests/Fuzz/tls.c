/* Records of TLS from a client's first byte on: the joint between OpenSSL and the connection. */
#include "joint.h"

#include <openssl/pem.h>
#include <openssl/x509v3.h>

static void make_files(const char *certificate_file, const char *key_file) {
    EVP_PKEY *key = EVP_EC_gen("P-256");
    X509 *certificate = X509_new();
    X509_gmtime_adj(X509_getm_notBefore(certificate), 0);
    X509_gmtime_adj(X509_getm_notAfter(certificate), 86400);
    HR_ASSERT(X509_set_pubkey(certificate, key) == 1);
    HR_ASSERT(X509_sign(certificate, key, EVP_sha256()) > 0);
    FILE *file = fopen(certificate_file, "w");
    HR_ASSERT(file != NULL && PEM_write_X509(file, certificate) == 1 && fclose(file) == 0);
    file = fopen(key_file, "w");
    HR_ASSERT(file != NULL && PEM_write_PrivateKey(file, key, NULL, NULL, 0, NULL, NULL) == 1);
    HR_ASSERT(fclose(file) == 0);
    X509_free(certificate);
    EVP_PKEY_free(key);
}

int LLVMFuzzerTestOneInput(const char *bytes, size_t len) {
    if (joint_tls == NULL) {
        char folder[] = "/tmp/herald-fuzz-XXXXXX", why[HR_TLS_WHY_LEN];
        char certificate[64], key[64];
        HR_ASSERT(mkdtemp(folder) != NULL);
        snprintf(certificate, sizeof certificate, "%s/certificate", folder);
        snprintf(key, sizeof key, "%s/key", folder);
        make_files(certificate, key);
        hr_tls_pair pair = {certificate, key};
        hr_tls_config config = {.pairs = &pair, .pair_count = 1};
        HR_ASSERT(hr_tls_new(&config, NULL, &joint_tls, why) == HR_OK);
        unlink(certificate);
        unlink(key);
        rmdir(folder);
    }
    joint_send("\x16", 1, bytes, len);
    return 0;
}
