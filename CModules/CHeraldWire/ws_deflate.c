/* permessage-deflate (RFC 7692), the server's side: what is agreed on, and messages as it has them. */
#include "CHeraldWire.h"

#include <string.h>

/* The rest of a header that is read. */
typedef struct cursor {
    const char *at;
    const char *end;
} cursor;

static bool is_space(char c) { return c == ' ' || c == '\t'; }

static void skip_space(cursor *from) {
    while (from->at < from->end && is_space(*from->at)) {
        from->at++;
    }
}

/* Whether c comes next, white space aside; takes it. */
static bool take(cursor *from, char c) {
    skip_space(from);
    if (from->at == from->end || *from->at != c) {
        return false;
    }
    from->at++;
    return true;
}

static bool is_token_char(char c) {
    return (c >= '0' && c <= '9') || (c >= 'A' && c <= 'Z') || (c >= 'a' && c <= 'z') ||
           (c != '\0' && strchr("!#$%&'*+-.^_`|~", c) != NULL);
}

/* An empty slice: none is there. */
static hr_slice take_token(cursor *from) {
    skip_space(from);
    const char *begin = from->at;
    while (from->at < from->end && is_token_char(*from->at)) {
        from->at++;
    }
    return (hr_slice){begin, (size_t)(from->at - begin)};
}

/* The longest value that any parameter has: two digits. A longer one is read to its end all the
 * same, and is none of ours. */
#define VALUE_LEN_MAX 2

typedef struct value {
    bool given;
    char text[VALUE_LEN_MAX];
    size_t len; /* of all of it */
} value;

static void add_char(value *to, char c) {
    if (to->len < VALUE_LEN_MAX) {
        to->text[to->len] = c;
    }
    to->len++;
}

/* A token, or a token in quotes, in which a backslash quotes one more (RFC 6455 §9.1). */
static bool take_value(cursor *from, value *out) {
    out->given = true;
    if (!take(from, '"')) {
        hr_slice token = take_token(from);
        for (size_t i = 0; i < token.len; i++) {
            add_char(out, token.data[i]);
        }
        return token.len > 0;
    }
    while (from->at < from->end && *from->at != '"') {
        if (*from->at == '\\' && ++from->at == from->end) {
            return false;
        }
        if (!is_token_char(*from->at)) {
            return false;
        }
        add_char(out, *from->at++);
    }
    return take(from, '"') && out->len > 0;
}

/* 8 to 15, without a leading zero; 0: it is none of these. */
static unsigned window_bits_of(const value *given) {
    if (given->len == 1 && (given->text[0] == '8' || given->text[0] == '9')) {
        return (unsigned)(given->text[0] - '0');
    }
    if (given->len == 2 && given->text[0] == '1' && given->text[1] >= '0' &&
        given->text[1] <= '5') {
        return 10u + (unsigned)(given->text[1] - '0');
    }
    return 0;
}

/* One extension of the list, as far as it has been read. */
typedef struct offer {
    bool is_ours;
    bool is_bad; /* RFC 7692 §7: parameters unknown, repeated, or with a value they cannot have */
    bool has_server_no_takeover;
    bool has_client_no_takeover;
    bool has_client_window;
    unsigned server_window_bits; /* 0: not given */
} offer;

static void mark(offer *to, bool *seen, bool is_valid) {
    to->is_bad = to->is_bad || *seen || !is_valid;
    *seen = true;
}

static void add_parameter(offer *to, hr_slice name, const value *given) {
    unsigned bits = window_bits_of(given);
    if (hr_slice_equal(name, HR_LIT("server_no_context_takeover"))) {
        mark(to, &to->has_server_no_takeover, !given->given);
    } else if (hr_slice_equal(name, HR_LIT("client_no_context_takeover"))) {
        mark(to, &to->has_client_no_takeover, !given->given);
    } else if (hr_slice_equal(name, HR_LIT("client_max_window_bits"))) {
        mark(to, &to->has_client_window, !given->given || bits != 0);
    } else if (hr_slice_equal(name, HR_LIT("server_max_window_bits"))) {
        bool seen = to->server_window_bits != 0;
        mark(to, &seen, bits != 0);
        to->server_window_bits = bits;
    } else {
        to->is_bad = true;
    }
}

/* extension = token *( ";" token [ "=" value ] ) */
static bool take_offer(cursor *from, offer *out) {
    hr_slice name = take_token(from);
    out->is_ours = hr_slice_equal(name, HR_LIT("permessage-deflate"));
    if (name.len == 0) {
        return false;
    }
    while (take(from, ';')) {
        value given = {0};
        hr_slice parameter = take_token(from);
        if (parameter.len == 0 || (take(from, '=') && !take_value(from, &given))) {
            return false;
        }
        add_parameter(out, parameter, &given);
    }
    return true;
}

static bool accepts(const offer *asked, unsigned window_bits_min, hr_ws_deflate_terms *out) {
    unsigned bits = asked->server_window_bits;
    if (!asked->is_ours || asked->is_bad || (bits != 0 && bits < window_bits_min)) {
        return false;
    }
    *out = (hr_ws_deflate_terms){.window_bits = (uint8_t)(bits == 0 ? HR_WINDOW_BITS_MAX : bits),
                                 .names_window = bits != 0};
    return true;
}

hr_status hr_ws_deflate_choose(hr_slice offers, unsigned window_bits_min,
                               hr_ws_deflate_terms *out) {
    HR_ASSERT(window_bits_min >= HR_WINDOW_BITS_MIN && window_bits_min <= HR_WINDOW_BITS_MAX);
    cursor from = {offers.data, offers.data + offers.len};
    hr_ws_deflate_terms chosen = {0};
    bool more = true;
    while (more) {
        /* Empty elements are allowed (RFC 9110 §5.6.1.2). */
        skip_space(&from);
        if (from.at < from.end && *from.at != ',') {
            offer asked = {0};
            if (!take_offer(&from, &asked)) {
                return HR_EINVAL;
            }
            /* The first that can be had: they come in the client's order of preference (§5). */
            if (chosen.window_bits == 0) {
                (void)accepts(&asked, window_bits_min, &chosen);
            }
        }
        more = take(&from, ',');
    }
    if (from.at != from.end) {
        return HR_EINVAL;
    }
    *out = chosen;
    return HR_OK;
}

hr_status hr_ws_deflate_answer(hr_buf *out, const hr_ws_deflate_terms *terms) {
    HR_ASSERT(terms->window_bits != 0);
    /* The client may be bound unasked (§7.1.1.2): it too is to compress each message by itself. */
    hr_status status = hr_buf_append_slice(
        out, HR_LIT("permessage-deflate; server_no_context_takeover; client_no_context_takeover"));
    return status == HR_OK && terms->names_window
               ? hr_buf_appendf(out, "; server_max_window_bits=%u", terms->window_bits)
               : status;
}

/* Messages. ------------------------------------------------------------------------------------ */

size_t hr_ws_deflate(hr_slice payload, unsigned window_bits, char *out) {
    /* It must be shorter than payload once its tail is cut off (§7.2.1). The room is what payload
     * takes and the tail; hr_deflate leaves one byte of it over. */
    size_t len = hr_deflate(payload, window_bits, out, payload.len + HR_DEFLATE_TAIL_LEN);
    return len <= HR_DEFLATE_TAIL_LEN ? 0 : len - HR_DEFLATE_TAIL_LEN;
}

/* Puts the head before len bytes of compressed payload, which stand where the longest head would
 * end. */
static void finish_frame(hr_buf *out, hr_ws_opcode opcode, size_t len) {
    char *begin = out->data + out->len;
    size_t head_len = hr_ws_head(opcode, len, begin);
    begin[0] = (char)(begin[0] | HR_WS_COMPRESSED);
    memmove(begin + head_len, begin + HR_WS_HEAD_MAX, len);
    out->len += head_len + len;
}

hr_status hr_ws_message_append(hr_buf *out, hr_ws_opcode opcode, hr_slice payload,
                               unsigned window_bits, size_t len_min) {
    if (window_bits == 0 || payload.len < len_min || payload.len > UINT32_MAX) {
        return hr_ws_frame_append(out, opcode, payload);
    }
    hr_status status = hr_buf_reserve(out, HR_WS_HEAD_MAX + payload.len + HR_DEFLATE_TAIL_LEN);
    if (status != HR_OK) {
        return status;
    }
    size_t len = hr_ws_deflate(payload, window_bits, out->data + out->len + HR_WS_HEAD_MAX);
    if (len == 0) {
        return hr_ws_frame_append(out, opcode, payload);
    }
    finish_frame(out, opcode, len);
    return HR_OK;
}

hr_status hr_ws_compressed_append(hr_buf *out, hr_ws_opcode opcode, hr_slice payload,
                                  unsigned window_bits) {
    size_t stored_len = hr_deflate_stored_len(payload.len);
    hr_status status = hr_buf_reserve(out, HR_WS_HEAD_MAX + stored_len + 1 + HR_DEFLATE_TAIL_LEN);
    if (status != HR_OK) {
        return status;
    }
    char *body = out->data + out->len + HR_WS_HEAD_MAX;
    size_t len = hr_deflate(payload, window_bits, body, stored_len + HR_DEFLATE_TAIL_LEN);
    if (len > HR_DEFLATE_TAIL_LEN) {
        len -= HR_DEFLATE_TAIL_LEN;
    } else {
        len = hr_deflate_store(payload, body);
        body[len++] = 0; /* the head of the empty block whose tail is cut off */
    }
    finish_frame(out, opcode, len);
    return HR_OK;
}
