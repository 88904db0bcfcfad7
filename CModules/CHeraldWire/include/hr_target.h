/* hr_target: the path and query of a request target (RFC 3986 §2.1, §3.3, §3.4). */
#ifndef HR_TARGET_H
#define HR_TARGET_H

#include "CHeraldBase.h"

/* Splits target at the first '?'; an absolute form loses its scheme and authority. A fragment is
 * HR_EINVAL. */
HR_MUST_CHECK hr_status hr_target_split(hr_slice target, hr_slice *path, hr_slice *query);
/* Appends text with its %XX escapes undone to out; plus_is_space for query values. HR_EINVAL: a
 * malformed escape or a NUL byte. */
HR_MUST_CHECK hr_status hr_percent_decode(hr_slice text, bool plus_is_space, hr_buf *out);
/* Walks name=value pairs, still escaped; empty pairs are passed over. *place begins at 0; false at
 * the end. */
bool hr_query_next(hr_slice query, size_t *place, hr_slice *name, hr_slice *value);

#endif
