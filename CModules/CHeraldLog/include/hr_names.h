/* hr_names: the grammar of topics and filters (docs/protocol.md). ANY thread. */
#ifndef HR_NAMES_H
#define HR_NAMES_H

#include "CHeraldBase.h"

#define HR_SEGMENT_COUNT_MAX 32
#define HR_SEGMENT_LEN_MAX 128
#define HR_TOPIC_LEN_MAX (HR_SEGMENT_COUNT_MAX * (HR_SEGMENT_LEN_MAX + 1) - 1)

/* What is wrong with a name, for the error's text. */
typedef struct hr_name_fault {
    const char *what; /* static, e.g. "is empty"; NULL when the name is good */
    unsigned segment; /* from 1; 0: the name as a whole */
    hr_slice text;    /* the segment */
} hr_name_fault;

/* Whether name is a topic: 1 to 32 segments of 1 to 128 bytes of A-Z a-z 0-9 - _ . ~ : @ */
bool hr_topic_check(hr_slice name, hr_name_fault *fault);
/* Whether name is a filter: a topic in which a segment may be * or the last may be **. */
bool hr_filter_check(hr_slice name, hr_name_fault *fault);
/* Whether topic's first segment begins with ~: the server's own. */
bool hr_topic_is_reserved(hr_slice topic);
bool hr_filter_is_exact(hr_slice filter);
/* Whether filter (good) matches topic (good). ** does not match a reserved topic, nor does
 * a first segment *. */
bool hr_filter_matches(hr_slice filter, hr_slice topic);
/* Whether every topic that inner matches is matched by outer. */
bool hr_filter_covers(hr_slice outer, hr_slice inner);

#endif
