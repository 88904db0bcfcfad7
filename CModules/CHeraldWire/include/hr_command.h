/* hr_command: a client's JSON message on a WebSocket (docs/protocol.md). */
#ifndef HR_COMMAND_H
#define HR_COMMAND_H

#include "hr_publication.h"

typedef enum HR_CLOSED_ENUM hr_command_op {
    HR_COMMAND_SUBSCRIBE,
    HR_COMMAND_UNSUBSCRIBE,
    HR_COMMAND_PUBLISH,
    HR_COMMAND_PING,
    HR_COMMAND_RENEW, /* the token that the connection goes on with */
} hr_command_op;

#define HR_COMMAND_FILTERS_MAX 256 /* in one message */
#define HR_COMMAND_REF_MAX 64      /* bytes of a ref string, decoded */

typedef struct hr_command {
    hr_command_op op;
    hr_slice ref;      /* raw JSON (string or integer), ready to be echoed; empty when none */
    hr_slice *filters; /* owned by the command; slices into the message or its scratch */
    size_t filter_count;
    hr_slice after;             /* empty when none */
    hr_slice token;             /* op renew */
    hr_publication publication; /* op publish */
    hr_buf scratch;
} hr_command;

/* Parses message, which must outlive *out. On HR_EINVAL: error says what is wrong, and out->ref is
 * set if a ref could be read all the same, so that the error can be answered to it. In every case
 * the caller ends *out with hr_command_fini. */
HR_MUST_CHECK hr_status hr_command_parse(hr_slice message, hr_command *out, hr_batch_error *error);
void hr_command_fini(hr_command *command);

#endif
