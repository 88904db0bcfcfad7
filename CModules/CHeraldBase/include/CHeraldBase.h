/* CHeraldBase: what every floor above stands on. No I/O, no threads. */
#ifndef CHERALDBASE_H
#define CHERALDBASE_H

#include "hr_status.h"
#include "hr_check.h"
#include "hr_bytes.h"
#include "hr_list.h"
#include "hr_map.h"
#include "hr_time.h"

#endif
