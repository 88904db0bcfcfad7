/* CHeraldNet: loop threads, timers, listeners and connections. Knows no topics and no HTTP. */
#ifndef CHERALDNET_H
#define CHERALDNET_H

#include "hr_loop.h"
#include "hr_timer.h"
#include "hr_listener.h"
#include "hr_tls.h"
#include "hr_conn.h"

#endif
