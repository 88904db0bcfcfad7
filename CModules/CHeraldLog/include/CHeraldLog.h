/* CHeraldLog: events, topics, filters, and reading from a cursor. No sockets, no
 * threads of its own. */
#ifndef CHERALDLOG_H
#define CHERALDLOG_H

#include "hr_names.h"
#include "hr_event.h"
#include "hr_log.h"
#include "hr_interest.h"
#include "hr_read.h"
#include "hr_state.h"

#endif
