/* hr_publication: what publishers send, out of each of the body formats.
 *
 * JSON arrays and NDJSON of {topic,type?,data|data_base64,datacontenttype?}, and
 * CloudEvents 1.0 in structured and batch mode (JSON event format §3, §4). Topic
 * grammar, limits and permissions are not decided here. */
#ifndef HR_PUBLICATION_H
#define HR_PUBLICATION_H

#include "hr_json.h"

/* One event to publish; slices point into the parsed body or into the batch's own memory. */
typedef struct hr_publication {
    hr_slice topic; /* empty when the body names none */
    hr_slice type;
    hr_slice content_type;
    hr_slice data;
} hr_publication;

typedef enum HR_CLOSED_ENUM hr_batch_format {
    HR_BATCH_NDJSON,
    HR_BATCH_JSON_ARRAY,
    HR_BATCH_CLOUDEVENT,  /* one structured CloudEvent: topic from "subject" */
    HR_BATCH_CLOUDEVENTS, /* application/cloudevents-batch+json */
} hr_batch_format;

/* All text in it is printable ASCII. */
typedef struct hr_batch_error {
    bool is_syntax;  /* not JSON at all; else a JSON value that is no event */
    char what[160];  /* names the member and what was expected; holds at most 40 bytes of input */
    uint32_t line;   /* of the body, from 1; for an array's item, where it begins */
    uint32_t column; /* from 1; 0 when is_syntax is false */
    uint32_t index;  /* which item, from 0 */
} hr_batch_error;

typedef struct hr_batch hr_batch;

/* Parses all of body, which must outlive the batch, into at most count_max items. Gives *out.
 * HR_EINVAL: error is filled, *out untouched. HR_ELIMIT: more than count_max items (error->index ==
 * count_max). An empty batch is HR_EINVAL. Unknown members are refused by name in the two own
 * formats and ignored in CloudEvents (extensions); a known one given twice is refused. What no
 * event says is filled in: text/plain for a string, application/json for other JSON,
 * application/octet-stream for data_base64 and for a CloudEvent without data. */
HR_MUST_CHECK hr_status hr_batch_parse(hr_slice body, hr_batch_format format, size_t count_max,
                                       hr_batch **out, hr_batch_error *error);
size_t hr_batch_count(const hr_batch *batch);
/* Borrowed until hr_batch_free; item 0 begins an array of all. Precondition: index < count. */
const hr_publication *hr_batch_item(const hr_batch *batch, size_t index);
/* The line that item index stood on, for errors found later: from 1 in NDJSON, else 0. */
uint32_t hr_batch_line(const hr_batch *batch, size_t index);
void hr_batch_free(hr_batch **batch);

/* Fills *out from one already validated object in the two own formats' shape (used by WebSocket
 * publish). Decoded text goes to scratch, which grows by at most the object's length and which the
 * slices may point into: reserve nothing from it until they are used up. Members named in ignored
 * (count of them) are passed over. */
HR_MUST_CHECK hr_status hr_publication_read(hr_json_value object, const hr_slice *ignored,
                                            size_t ignored_count, hr_buf *scratch,
                                            hr_publication *out, hr_batch_error *error);

#endif
