/* The parser is a loop over two states: gathering a frame's head, and taking its payload. A payload
 * that lies whole in the input is unmasked where it stands; any other is copied as it arrives, so
 * that the memory held is what the peer has really sent. */
#include "CHeraldWire.h"

#include <stdlib.h>
#include <string.h>

#define CONTROL_LEN_MAX 125 /* RFC 6455 §5.5 */

enum {
    FLAG_IN_FRAME = 1,    /* the head is complete, the payload is not */
    FLAG_FINAL = 2,       /* FIN of the current frame */
    FLAG_MESSAGE_OUT = 4, /* message was handed out; the next call frees it */
    FLAG_CONTROL_OUT = 8, /* the same of control */
    FLAG_FAILED = 16,
    FLAG_COMPRESSED = 32, /* the unfinished message is */
};

_Static_assert(sizeof(hr_ws_parser) <= 64, "one stands in every WebSocket session");

/* XORs bytes with the mask from its place at on (RFC 6455 §5.3), eight at a time. */
static void unmask(char *bytes, size_t len, const uint8_t mask[4], uint8_t at) {
    uint8_t pattern[8];
    for (unsigned i = 0; i < 8; i++) {
        pattern[i] = mask[(at + i) & 3];
    }
    uint64_t pattern_word;
    memcpy(&pattern_word, pattern, sizeof pattern_word);
    size_t i = 0;
    for (; i + 8 <= len; i += 8) {
        uint64_t word;
        memcpy(&word, bytes + i, sizeof word);
        word ^= pattern_word;
        memcpy(bytes + i, &word, sizeof word);
    }
    for (; i < len; i++) {
        bytes[i] = (char)((uint8_t)bytes[i] ^ pattern[i & 7]);
    }
}

static void free_message(hr_ws_parser *parser) {
    if (parser->message != NULL) {
        hr_buf_fini(parser->message);
        free(parser->message);
        parser->message = NULL;
    }
}

static void free_control(hr_ws_parser *parser) {
    free(parser->control);
    parser->control = NULL;
}

static hr_ws_result fail(hr_ws_parser *parser, hr_ws_item *out, uint16_t code, const char *what) {
    free_message(parser);
    free_control(parser);
    parser->flags = FLAG_FAILED;
    *out = (hr_ws_item){.opcode = HR_WS_CLOSE, .code = code, .what = what};
    return HR_WS_FAIL;
}

/* Lets go of what the last call handed out. */
static void release_items(hr_ws_parser *parser) {
    if ((parser->flags & FLAG_MESSAGE_OUT) != 0) {
        free_message(parser);
    }
    if ((parser->flags & FLAG_CONTROL_OUT) != 0) {
        free_control(parser);
    }
    parser->flags &= FLAG_IN_FRAME | FLAG_FINAL | FLAG_COMPRESSED;
}

static bool is_control(uint8_t opcode) { return (opcode & 8) != 0; }

/* What is wrong with a head's first two bytes, or NULL (RFC 6455 §5.2, §5.4, §5.5). */
static const char *head_begin_error(const hr_ws_parser *parser) {
    uint8_t opcode = parser->head[0] & 0x0F;
    bool final = (parser->head[0] & 0x80) != 0;
    bool begins_message = opcode == HR_WS_TEXT || opcode == HR_WS_BINARY;
    /* RFC 7692 §6.1: of a message only the first frame says that it is compressed. */
    uint8_t reserved = parser->deflates && begins_message ? 0x70 & ~HR_WS_COMPRESSED : 0x70;
    if ((parser->head[0] & reserved) != 0) {
        return "reserved bits are set";
    }
    if ((opcode > HR_WS_BINARY && opcode < HR_WS_CLOSE) || opcode > HR_WS_PONG) {
        return "reserved opcode";
    }
    if ((parser->head[1] & 0x80) == 0) {
        return "frame is not masked";
    }
    if (is_control(opcode)) {
        if (!final) {
            return "control frame is fragmented";
        }
        if ((parser->head[1] & 0x7F) > CONTROL_LEN_MAX) {
            return "control frame is too long";
        }
        if (opcode == HR_WS_CLOSE && (parser->head[1] & 0x7F) == 1) {
            return "close frame holds half a code";
        }
    } else if (opcode == HR_WS_CONTINUATION && parser->message_opcode == 0) {
        return "continuation of no message";
    } else if (opcode != HR_WS_CONTINUATION && parser->message_opcode != 0) {
        return "message begins inside another";
    }
    return NULL;
}

/* Length of the whole head, known from its second byte. */
static uint8_t head_len_of(const hr_ws_parser *parser) {
    switch (parser->head[1] & 0x7F) {
    case 126: return 2 + 2 + 4;
    case 127: return 2 + 8 + 4;
    default: return 2 + 4;
    }
}

/* The payload length of a complete head, or what is wrong with it: it must be the shortest form,
 * and the top bit of the longest must be 0 (RFC 6455 §5.2). */
static const char *payload_len_of(const hr_ws_parser *parser, uint64_t *out) {
    uint8_t short_len = parser->head[1] & 0x7F;
    if (short_len < 126) {
        *out = short_len;
        return NULL;
    }
    unsigned count = short_len == 126 ? 2 : 8;
    uint64_t len = 0;
    for (unsigned i = 0; i < count; i++) {
        len = len << 8 | parser->head[2 + i];
    }
    if (len >> 63 != 0) {
        return "payload length has its top bit set";
    }
    if (len < (count == 2 ? 126u : 65536u)) {
        return "payload length is not in its shortest form";
    }
    *out = len;
    return NULL;
}

static size_t message_len(const hr_ws_parser *parser) {
    return parser->message == NULL ? 0 : parser->message->len;
}

static size_t gather_head(hr_ws_parser *parser, const char *bytes, size_t len, uint8_t goal) {
    size_t missing = parser->head_len < goal ? (size_t)(goal - parser->head_len) : 0;
    size_t taken = len < missing ? len : missing;
    memcpy(parser->head + parser->head_len, bytes, taken);
    parser->head_len = (uint8_t)(parser->head_len + taken);
    return taken;
}

/* Sets what the head of a message's first frame says of it. */
static void begin_message(hr_ws_parser *parser) {
    parser->message_opcode = parser->opcode;
    parser->utf8 = (hr_utf8){0};
    parser->flags &= (uint8_t)~FLAG_COMPRESSED;
    if ((parser->head[0] & HR_WS_COMPRESSED) != 0) {
        parser->flags |= FLAG_COMPRESSED;
    }
}

/* Whether a frame of payload_len would make the message too big. */
static bool is_too_big(const hr_ws_parser *parser, uint64_t message_len_max, uint64_t payload_len) {
    size_t gathered = message_len(parser);
    bool compressed = (parser->flags & FLAG_COMPRESSED) != 0;
    uint64_t len_max = compressed ? hr_deflate_len_max(message_len_max) : message_len_max;
    return gathered > len_max || payload_len > len_max - gathered;
}

/* Takes what the head still lacks. HR_WS_MESSAGE here means that it is complete and good. */
static hr_ws_result read_head(hr_ws_parser *parser, uint64_t message_len_max, const char *bytes,
                              size_t len, size_t *at, hr_ws_item *out) {
    if (*at == len) {
        return HR_WS_MORE;
    }
    *at += gather_head(parser, bytes + *at, len - *at, 2);
    if (parser->head_len < 2) {
        return HR_WS_MORE;
    }
    const char *error = head_begin_error(parser);
    if (error != NULL) {
        return fail(parser, out, 1002, error);
    }
    uint8_t head_len = head_len_of(parser);
    *at += gather_head(parser, bytes + *at, len - *at, head_len);
    if (parser->head_len < head_len) {
        return HR_WS_MORE;
    }
    uint64_t payload_len = 0;
    error = payload_len_of(parser, &payload_len);
    if (error != NULL) {
        return fail(parser, out, 1002, error);
    }
    parser->opcode = parser->head[0] & 0x0F;
    if (parser->opcode == HR_WS_TEXT || parser->opcode == HR_WS_BINARY) {
        begin_message(parser);
    }
    if (!is_control(parser->opcode) && is_too_big(parser, message_len_max, payload_len)) {
        return fail(parser, out, 1009, "message is too big");
    }
    memcpy(parser->mask, parser->head + head_len - 4, 4);
    parser->mask_at = 0;
    parser->head_len = 0;
    parser->control_len = 0;
    parser->frame_left = payload_len;
    parser->flags &= (uint8_t)~FLAG_FINAL;
    parser->flags |= (uint8_t)(FLAG_IN_FRAME | ((parser->head[0] & 0x80) != 0 ? FLAG_FINAL : 0));
    return HR_WS_MESSAGE;
}

/* Codes that may stand in a close frame: RFC 6455 §7.4 and those registered with IANA since. */
static bool close_code_valid(unsigned code) {
    return (code >= 1000 && code <= 1003) || (code >= 1007 && code <= 1014) ||
           (code >= 3000 && code <= 4999);
}

static hr_ws_result finish_control(hr_ws_parser *parser, hr_slice payload, hr_ws_item *out) {
    parser->flags &= (uint8_t)~FLAG_IN_FRAME;
    *out = (hr_ws_item){.opcode = (hr_ws_opcode)parser->opcode, .payload = payload};
    if (parser->opcode != HR_WS_CLOSE) {
        return HR_WS_CONTROL;
    }
    if (payload.len == 0) {
        out->code = 1005;
        return HR_WS_CONTROL;
    }
    HR_ASSERT(payload.len >= 2);
    unsigned code = (unsigned)(uint8_t)payload.data[0] << 8 | (uint8_t)payload.data[1];
    if (!close_code_valid(code)) {
        return fail(parser, out, 1002, "close code is not allowed");
    }
    hr_slice reason = {payload.data + 2, payload.len - 2};
    if (!hr_utf8_valid(reason)) {
        return fail(parser, out, 1007, "close reason is not UTF-8");
    }
    out->code = (uint16_t)code;
    out->payload = reason;
    return HR_WS_CONTROL;
}

/* Takes a control frame's payload from bytes, which hold len, already unmasked. */
static hr_ws_result take_control(hr_ws_parser *parser, char *bytes, size_t len, hr_ws_item *out) {
    if (parser->control_len == 0 && len == parser->frame_left) {
        parser->frame_left = 0;
        return finish_control(parser, (hr_slice){bytes, len}, out);
    }
    if (parser->control == NULL) {
        parser->control = malloc(CONTROL_LEN_MAX);
        if (parser->control == NULL) {
            return fail(parser, out, 1013, "out of memory");
        }
    }
    HR_ASSERT(parser->control_len + len <= CONTROL_LEN_MAX);
    memcpy(parser->control + parser->control_len, bytes, len);
    parser->control_len = (uint8_t)(parser->control_len + len);
    parser->frame_left -= len;
    if (parser->frame_left > 0) {
        return HR_WS_MORE;
    }
    parser->flags |= FLAG_CONTROL_OUT;
    return finish_control(parser, (hr_slice){parser->control, parser->control_len}, out);
}

static hr_status gather_message(hr_ws_parser *parser, const char *bytes, size_t len) {
    if (len == 0) {
        return HR_OK;
    }
    if (parser->message == NULL) {
        parser->message = calloc(1, sizeof *parser->message);
        if (parser->message == NULL) {
            return HR_ENOMEM;
        }
    }
    return hr_buf_append(parser->message, bytes, len);
}

static hr_ws_result hand_out(hr_ws_parser *parser, hr_slice payload, hr_ws_item *out) {
    *out = (hr_ws_item){.opcode = (hr_ws_opcode)parser->message_opcode, .payload = payload};
    parser->message_opcode = 0;
    parser->flags |= FLAG_MESSAGE_OUT;
    return HR_WS_MESSAGE;
}

/* Inflates a message whose payload is compressed, which may be what the parser has gathered, and
 * hands it out instead. */
static hr_ws_result finish_compressed(hr_ws_parser *parser, uint64_t message_len_max,
                                      hr_slice compressed, hr_ws_item *out) {
    hr_buf *message = calloc(1, sizeof *message);
    hr_status status =
        message == NULL ? HR_ENOMEM : hr_inflate_append(message, compressed, message_len_max);
    free_message(parser);
    parser->message = message;
    parser->flags &= (uint8_t)~FLAG_COMPRESSED;
    switch (status) {
    case HR_OK: break;
    case HR_ENOMEM: return fail(parser, out, 1013, "out of memory");
    case HR_ETOOBIG: return fail(parser, out, 1009, "message is too big");
    default: return fail(parser, out, 1007, "compressed message cannot be inflated");
    }
    if (parser->message_opcode == HR_WS_TEXT && !hr_utf8_valid(hr_buf_slice(message))) {
        return fail(parser, out, 1007, "text is not UTF-8");
    }
    hr_ws_result result = hand_out(parser, hr_buf_slice(message), out);
    out->compressed = true;
    return result;
}

/* Takes a data frame's payload from bytes, which hold len, already unmasked. HR_WS_MORE: no whole
 * message yet. */
static hr_ws_result take_data(hr_ws_parser *parser, uint64_t message_len_max, char *bytes,
                              size_t len, hr_ws_item *out) {
    bool compressed = (parser->flags & FLAG_COMPRESSED) != 0;
    bool text = parser->message_opcode == HR_WS_TEXT && !compressed;
    bool ends_frame = len == parser->frame_left;
    bool ends_message = ends_frame && (parser->flags & FLAG_FINAL) != 0;
    if (text && !hr_utf8_feed(&parser->utf8, bytes, len)) {
        return fail(parser, out, 1007, "text is not UTF-8");
    }
    if (text && ends_message && !hr_utf8_complete(&parser->utf8)) {
        return fail(parser, out, 1007, "text ends inside a character");
    }
    bool whole = ends_message && message_len(parser) == 0;
    if (!whole && gather_message(parser, bytes, len) != HR_OK) {
        return fail(parser, out, 1013, "out of memory");
    }
    parser->frame_left -= len;
    if (ends_frame) {
        parser->flags &= (uint8_t)~FLAG_IN_FRAME;
    }
    if (!ends_message) {
        return HR_WS_MORE;
    }
    hr_slice payload = whole ? (hr_slice){bytes, len} : hr_buf_slice(parser->message);
    return compressed ? finish_compressed(parser, message_len_max, payload, out)
                      : hand_out(parser, payload, out);
}

hr_ws_result hr_ws_parse(hr_ws_parser *parser, uint64_t message_len_max, char *bytes, size_t len,
                         size_t *used, hr_ws_item *out) {
    HR_ASSERT(parser != NULL && (parser->flags & FLAG_FAILED) == 0);
    HR_ASSERT(bytes != NULL || len == 0);
    release_items(parser);
    *out = (hr_ws_item){0};
    *used = 0;
    if (len == 0) {
        return HR_WS_MORE;
    }
    size_t at = 0;
    hr_ws_result result = HR_WS_MORE;
    do {
        if ((parser->flags & FLAG_IN_FRAME) == 0) {
            result = read_head(parser, message_len_max, bytes, len, &at, out);
            if (result != HR_WS_MESSAGE) {
                break;
            }
        }
        size_t left = len - at;
        size_t taken = left < parser->frame_left ? left : (size_t)parser->frame_left;
        char *payload = bytes + at;
        unmask(payload, taken, parser->mask, parser->mask_at);
        parser->mask_at = (uint8_t)((parser->mask_at + taken) & 3);
        at += taken;
        result = is_control(parser->opcode)
                     ? take_control(parser, payload, taken, out)
                     : take_data(parser, message_len_max, payload, taken, out);
    } while (result == HR_WS_MORE && at < len);
    *used = at;
    return result;
}

bool hr_ws_parser_rest(hr_ws_parser *parser) {
    release_items(parser);
    return (parser->flags & FLAG_IN_FRAME) == 0 && parser->head_len == 0 &&
           parser->message_opcode == 0;
}

void hr_ws_parser_fini(hr_ws_parser *parser) {
    free_message(parser);
    free_control(parser);
    *parser = (hr_ws_parser){0};
}

size_t hr_ws_parser_memory(const hr_ws_parser *parser) {
    size_t memory = parser->control == NULL ? 0 : CONTROL_LEN_MAX;
    if (parser->message != NULL) {
        memory += sizeof *parser->message + parser->message->cap;
    }
    return memory;
}

size_t hr_ws_head(hr_ws_opcode opcode, uint64_t payload_len, char *out) {
    HR_ASSERT(payload_len >> 63 == 0);
    unsigned count = payload_len < 126 ? 0 : payload_len < 65536 ? 2 : 8;
    out[0] = (char)(0x80 | (unsigned)opcode);
    out[1] = (char)(count == 0 ? (unsigned)payload_len : count == 2 ? 126u : 127u);
    for (unsigned i = 0; i < count; i++) {
        out[2 + i] = (char)(uint8_t)(payload_len >> (8 * (count - 1 - i)));
    }
    return 2 + count;
}

hr_status hr_ws_frame_append(hr_buf *out, hr_ws_opcode opcode, hr_slice payload) {
    if (payload.len > SIZE_MAX / 2) {
        return HR_ENOMEM;
    }
    hr_status status = hr_buf_reserve(out, HR_WS_HEAD_MAX + payload.len);
    if (status != HR_OK) {
        return status;
    }
    out->len += hr_ws_head(opcode, payload.len, out->data + out->len);
    return hr_buf_append_slice(out, payload);
}

hr_status hr_ws_close_append(hr_buf *out, uint16_t code, hr_slice reason) {
    if (code == 0 || code == 1005) {
        return hr_ws_frame_append(out, HR_WS_CLOSE, (hr_slice){0});
    }
    HR_ASSERT(close_code_valid(code));
    char payload[CONTROL_LEN_MAX];
    payload[0] = (char)(code >> 8);
    payload[1] = (char)(code & 0xFF);
    size_t len = reason.len;
    if (len > sizeof payload - 2) {
        len = sizeof payload - 2;
        while (len > 0 && ((uint8_t)reason.data[len] & 0xC0) == 0x80) {
            len--;
        }
    }
    if (len > 0) {
        memcpy(payload + 2, reason.data, len);
    }
    return hr_ws_frame_append(out, HR_WS_CLOSE, (hr_slice){payload, len + 2});
}
