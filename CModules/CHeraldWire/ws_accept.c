#include "CHeraldWire.h"

#include <CNIOSHA1.h>
#include <string.h>

#define KEY_BYTES_LEN 16

hr_status hr_ws_accept(hr_slice key, char out[HR_WS_ACCEPT_LEN]) {
    hr_buf text = {0};
    hr_status status = hr_base64_decode(key, &text);
    if (status == HR_OK && text.len != KEY_BYTES_LEN) {
        status = HR_EINVAL;
    }
    text.len = 0;
    if (status == HR_OK) {
        /* RFC 6455 §1.3: the key as it was sent, and this GUID, through SHA-1. */
        const hr_slice guid = HR_LIT("258EAFA5-E914-47DA-95CA-C5AB0DC85B11");
        struct sha1_ctxt sha1;
        char digest[SHA1_RESULTLEN];
        c_nio_sha1_init(&sha1);
        c_nio_sha1_loop(&sha1, (const uint8_t *)key.data, key.len);
        c_nio_sha1_loop(&sha1, (const uint8_t *)guid.data, guid.len);
        c_nio_sha1_result(&sha1, digest);
        status = hr_base64_append(&text, (hr_slice){digest, sizeof digest});
    }
    if (status == HR_OK) {
        HR_ASSERT(text.len == HR_WS_ACCEPT_LEN);
        memcpy(out, text.data, HR_WS_ACCEPT_LEN);
    }
    hr_buf_fini(&text);
    return status;
}
