/* SHA-1 (FIPS 180-4) and Base64, for the one answer that needs them. */
#include "floor.h"

#include <string.h>

#define BLOCK_LEN 64u
#define DIGEST_LEN 20u
#define KEY_MAX 64u

static uint32_t rotated(uint32_t word, unsigned bits) { return word << bits | word >> (32 - bits); }

static void add_block(uint32_t state[5], const unsigned char *block) {
    static const uint32_t constants[4] = {0x5a827999, 0x6ed9eba1, 0x8f1bbcdc, 0xca62c1d6};
    uint32_t words[80];
    uint32_t a = state[0], b = state[1], c = state[2], d = state[3], e = state[4];
    for (unsigned i = 0; i < 16; i++) {
        words[i] = (uint32_t)block[4 * i] << 24 | (uint32_t)block[4 * i + 1] << 16 |
                   (uint32_t)block[4 * i + 2] << 8 | block[4 * i + 3];
    }
    for (unsigned i = 16; i < 80; i++) {
        words[i] = rotated(words[i - 3] ^ words[i - 8] ^ words[i - 14] ^ words[i - 16], 1);
    }
    for (unsigned i = 0; i < 80; i++) {
        uint32_t mixed = i < 20   ? (b & c) | (~b & d)
                         : i < 40 ? b ^ c ^ d
                         : i < 60 ? (b & c) | (b & d) | (c & d)
                                  : b ^ c ^ d;
        uint32_t next = rotated(a, 5) + mixed + e + constants[i / 20] + words[i];
        e = d;
        d = c;
        c = rotated(b, 30);
        b = a;
        a = next;
    }
    state[0] += a;
    state[1] += b;
    state[2] += c;
    state[3] += d;
    state[4] += e;
}

/* Of a text that fits, with its padding, into two blocks. */
static void digest_of(const char *text, size_t len, unsigned char out[DIGEST_LEN]) {
    uint32_t state[5] = {0x67452301, 0xefcdab89, 0x98badcfe, 0x10325476, 0xc3d2e1f0};
    unsigned char blocks[2 * BLOCK_LEN] = {0};
    size_t padded_len = len + 9 > BLOCK_LEN ? 2 * BLOCK_LEN : BLOCK_LEN;
    memcpy(blocks, text, len);
    blocks[len] = 0x80;
    blocks[padded_len - 2] = (unsigned char)(len * 8 >> 8);
    blocks[padded_len - 1] = (unsigned char)(len * 8);
    for (size_t at = 0; at < padded_len; at += BLOCK_LEN) {
        add_block(state, blocks + at);
    }
    for (unsigned i = 0; i < DIGEST_LEN; i++) {
        out[i] = (unsigned char)(state[i / 4] >> (24 - 8 * (i % 4)));
    }
}

void accept_of(const char *key, size_t key_len, char out[ACCEPT_LEN]) {
    static const char guid[] = "258EAFA5-E914-47DA-95CA-C5AB0DC85B11";
    static const char letters[] =
        "ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789+/";
    char text[KEY_MAX + sizeof guid];
    unsigned char digest[DIGEST_LEN + 1] = {0};
    if (key_len > KEY_MAX) {
        die("a Sec-WebSocket-Key that is too long");
    }
    memcpy(text, key, key_len);
    memcpy(text + key_len, guid, sizeof guid - 1);
    digest_of(text, key_len + sizeof guid - 1, digest);
    for (unsigned i = 0; i < (DIGEST_LEN + 1) / 3; i++) {
        const unsigned char *in = digest + 3 * i;
        uint32_t bits = (uint32_t)in[0] << 16 | (uint32_t)in[1] << 8 | in[2];
        for (unsigned j = 0; j < 4; j++) {
            out[4 * i + j] = letters[bits >> (18 - 6 * j) & 63];
        }
    }
    out[ACCEPT_LEN - 1] = '=';
}
