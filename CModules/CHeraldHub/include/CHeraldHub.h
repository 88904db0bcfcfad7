/* CHeraldHub: sessions. An HTTP request becomes an answer, or a reader of the log. */
#ifndef CHERALDHUB_H
#define CHERALDHUB_H

#include "hr_hub.h"
#include "hr_lease.h"
#include "hr_request.h"
#include "hr_stats.h"

#endif
