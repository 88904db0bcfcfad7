/* hr_encode: an event as the bytes that readers receive.
 *
 * The JSON object is the same in every encoding but the raw ones; its members and
 * their order are those of docs/protocol.md. */
#ifndef HR_ENCODE_H
#define HR_ENCODE_H

#include "CHeraldBase.h"

typedef enum HR_CLOSED_ENUM hr_encoding {
    HR_ENCODING_JSON,    /* the object alone: polls */
    HR_ENCODING_SSE,     /* id:, event:, data: {json}, blank line */
    HR_ENCODING_SSE_RAW, /* the same with the data, a data: line per line; binary as base64 */
    HR_ENCODING_NDJSON,  /* the object and a line feed */
    HR_ENCODING_WS,      /* one unmasked text frame around the object */
    HR_ENCODING_WS_RAW,  /* one unmasked frame around the data: binary if that is its form */
    /* The same compressed by itself, where that makes it shorter: as a message of permessage-deflate
     * (RFC 7692), else as it was; or as blocks that go into a gzip stream, else as stored ones. */
    HR_ENCODING_WS_DEFLATE,
    HR_ENCODING_WS_RAW_DEFLATE,
    HR_ENCODING_SSE_GZIP,
    HR_ENCODING_SSE_RAW_GZIP,
    HR_ENCODING_NDJSON_GZIP,
} hr_encoding;
#define HR_ENCODING_COUNT 11

static inline bool hr_encoding_is_compressed(hr_encoding encoding) {
    return encoding >= HR_ENCODING_WS_DEFLATE;
}
static inline bool hr_encoding_is_gzip(hr_encoding encoding) {
    return encoding >= HR_ENCODING_SSE_GZIP;
}
/* A WebSocket's data alone. */
static inline bool hr_encoding_is_raw_ws(hr_encoding encoding) {
    return encoding == HR_ENCODING_WS_RAW || encoding == HR_ENCODING_WS_RAW_DEFLATE;
}
/* encoding, compressed. Precondition: it is not JSON, nor compressed yet. */
hr_encoding hr_encoding_compressed(hr_encoding encoding);

#define HR_TYPE_LEN_MAX 128
/* Whether type is 1 to HR_TYPE_LEN_MAX bytes of printable ASCII without spaces. ANY thread. */
bool hr_type_valid(hr_slice type);

/* An event as the encoder sees it; all borrowed. type is empty or valid, topic is UTF-8: both
 * are asserted. A content_type that is not UTF-8 encodes as application/octet-stream. */
typedef struct hr_event_view {
    uint32_t epoch;
    uint64_t sequence;
    int64_t time_ms;
    hr_slice topic;
    hr_slice type;
    hr_slice content_type;
    hr_slice data;
    size_t compressed_len_min; /* shorter texts stay as they are in encodings that compress */
} hr_event_view;

#define HR_ID_TEXT_MAX 29 /* 8 hex digits, a dash, 20 decimal digits */

/* Writes the event id <epoch>-<sequence> to out (HR_ID_TEXT_MAX bytes, no NUL); returns its
 * length. */
size_t hr_id_format(uint32_t epoch, uint64_t sequence, char *out);
/* Reads exactly an event id: 8 lower-case hex digits, a dash, decimal without leading zeros. */
HR_MUST_CHECK hr_status hr_id_parse(hr_slice text, uint32_t *epoch, uint64_t *sequence);

/* How data is embedded, from its content type and bytes. */
typedef enum HR_CLOSED_ENUM hr_data_form {
    HR_DATA_JSON,
    HR_DATA_TEXT,
    HR_DATA_BINARY
} hr_data_form;
/* JSON: application/json or +json and valid. Text: text types, form-urlencoded and XML, when valid
 * UTF-8. Else binary, broken JSON too. Parameters after ';' and letter case do not matter. */
hr_data_form hr_data_form_of(hr_slice content_type, hr_slice data);

/* Appends event in encoding to out, of which it asks no more room than it fills, or than the event
 * takes twice where it is compressed. Line breaks between JSON tokens become spaces, so that the
 * object is one line. *plain_len: how long it would be uncompressed. On HR_ENOMEM out is as long as
 * before. ANY thread. */
HR_MUST_CHECK hr_status hr_event_encode(const hr_event_view *event, hr_encoding encoding,
                                        hr_buf *out, size_t *plain_len);

#endif
