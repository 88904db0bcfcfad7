/* hr_ws: WebSocket frames (RFC 6455) and permessage-deflate (RFC 7692), the server's side.
 *
 * The parser unmasks in place, hands out a message that lies whole in the input
 * without copying it, and holds memory only inside a message that does not: what has come of it, no
 * more than the bound. A compressed message is inflated when it is whole; no state of that is held. */
#ifndef HR_WS_H
#define HR_WS_H

#include "hr_deflate.h"
#include "hr_utf8.h"

typedef enum HR_CLOSED_ENUM hr_ws_opcode {
    HR_WS_CONTINUATION = 0,
    HR_WS_TEXT = 1,
    HR_WS_BINARY = 2,
    HR_WS_CLOSE = 8,
    HR_WS_PING = 9,
    HR_WS_PONG = 10,
} hr_ws_opcode;

typedef enum HR_CLOSED_ENUM hr_ws_result {
    HR_WS_MORE,    /* all input used */
    HR_WS_MESSAGE, /* a whole text or binary message */
    HR_WS_CONTROL, /* a ping, pong or close frame */
    HR_WS_FAIL,    /* protocol error: close with code; nothing more may be parsed */
} hr_ws_result;

/* In place; zeroed memory is ready, for a connection without compression. Small: one stands in every WebSocket session. */
typedef struct hr_ws_parser {
    hr_buf *message;     /* what is gathered of an unfinished message; NULL when none */
    uint64_t frame_left; /* payload bytes of the current frame still due */
    uint8_t mask[4];
    uint8_t mask_at;
    uint8_t head[14]; /* an incomplete frame head */
    uint8_t head_len;
    uint8_t control_len;    /* bytes gathered of a control frame's payload */
    uint8_t opcode;         /* of the frame */
    uint8_t message_opcode; /* of the unfinished message; 0 when none */
    uint8_t flags;
    bool deflates; /* permessage-deflate was agreed on; set before the first byte */
    hr_utf8 utf8;
    char *control; /* payload of a control frame that came in pieces (125 bytes); NULL when none */
} hr_ws_parser;

typedef struct hr_ws_item {
    hr_ws_opcode opcode; /* text, binary, close, ping or pong */
    hr_slice payload;    /* borrowed, as bytes is, until the next call; of close: the reason */
    bool compressed;     /* text and binary: it was */
    uint16_t code;       /* close: the peer's, 1005 when none; HR_WS_FAIL: the one to close with */
    const char *what;    /* HR_WS_FAIL: static text for the log and the close reason */
} hr_ws_item;

/* Parses one item off bytes, which it may change; *used: how many it took. A message over message_len_max fails with 1009 at the
 * frame head that makes it so, a compressed one when so much of it has been inflated; text that is
 * not UTF-8 with 1007 at the first bad byte, before the frame is complete, in a compressed message
 * when it is whole, as is what cannot be inflated; want of memory with 1013. Precondition: it has not failed before. */
HR_MUST_CHECK hr_ws_result hr_ws_parse(hr_ws_parser *parser, uint64_t message_len_max, char *bytes,
                                       size_t len, size_t *used, hr_ws_item *out);
/* Lets go of the memory behind the last item. Whether it is then as new: between messages, with
 * nothing to keep. */
bool hr_ws_parser_rest(hr_ws_parser *parser);
/* Frees what an unfinished message holds and makes the parser as new. */
void hr_ws_parser_fini(hr_ws_parser *parser);
/* Bytes of memory held by an unfinished message, or by the last item until the next call. */
size_t hr_ws_parser_memory(const hr_ws_parser *parser);

#define HR_WS_HEAD_MAX 10
/* Writes the head of an unmasked, final frame; returns its length. */
size_t hr_ws_head(hr_ws_opcode opcode, uint64_t payload_len, char *out);
/* Appends a whole unmasked frame. */
HR_MUST_CHECK hr_status hr_ws_frame_append(hr_buf *out, hr_ws_opcode opcode, hr_slice payload);
/* Appends a close frame; reason is cut to 123 bytes at a character. code 0 or 1005: without code
 * and reason. Precondition: any other code is one that may be sent (RFC 6455 §7.4), as those that
 * hr_ws_parse gives are. */
HR_MUST_CHECK hr_status hr_ws_close_append(hr_buf *out, uint16_t code, hr_slice reason);

/* In a head's first byte: the message is compressed (RSV1). */
#define HR_WS_COMPRESSED 0x40
/* Compresses payload as a message's to out, which has room for payload.len + HR_DEFLATE_TAIL_LEN.
 * Returns the length; 0 when it would not be shorter, or there is no memory. */
size_t hr_ws_deflate(hr_slice payload, unsigned window_bits, char *out);
/* Appends a message in one frame, compressed with that window (0: never) if it has at least len_min
 * bytes and becomes shorter. */
HR_MUST_CHECK hr_status hr_ws_message_append(hr_buf *out, hr_ws_opcode opcode, hr_slice payload,
                                             unsigned window_bits, size_t len_min);

/* The same always compressed, even if that makes it longer. */
HR_MUST_CHECK hr_status hr_ws_compressed_append(hr_buf *out, hr_ws_opcode opcode, hr_slice payload,
                                                unsigned window_bits);

/* permessage-deflate as agreed on in a handshake. Neither side takes its context from one message
 * to the next: the server so that all readers can be sent the same bytes, the client because it is
 * told to (RFC 7692 §7.1.1). */
typedef struct hr_ws_deflate_terms {
    uint8_t window_bits; /* of what the server sends; 0: nothing was agreed on */
    bool names_window;   /* the client has asked for it */
} hr_ws_deflate_terms;
/* Takes the first offer in Sec-WebSocket-Extensions, its lines joined by commas, that can be kept
 * to; one that wants a smaller window than window_bits_min cannot. HR_EINVAL: it is no list of
 * extensions (RFC 6455 §9.1), and the handshake must fail. */
HR_MUST_CHECK hr_status hr_ws_deflate_choose(hr_slice offers, unsigned window_bits_min,
                                             hr_ws_deflate_terms *out);
/* Appends what answers the offer taken. */
HR_MUST_CHECK hr_status hr_ws_deflate_answer(hr_buf *out, const hr_ws_deflate_terms *terms);

#define HR_WS_ACCEPT_LEN 28
/* Sec-WebSocket-Accept for key (RFC 6455 §4.2.2). HR_EINVAL: key is not 16 bytes in base64.
 * On an error out is untouched. */
HR_MUST_CHECK hr_status hr_ws_accept(hr_slice key, char out[HR_WS_ACCEPT_LEN]);

#endif
