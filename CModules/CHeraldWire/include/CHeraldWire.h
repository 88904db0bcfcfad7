/* CHeraldWire: codecs without I/O. Bytes in, values out, and back. */
#ifndef CHERALDWIRE_H
#define CHERALDWIRE_H

#include "hr_utf8.h"
#include "hr_deflate.h"
#include "hr_json.h"
#include "hr_encode.h"
#include "hr_publication.h"
#include "hr_command.h"
#include "hr_http1.h"
#include "hr_target.h"
#include "hr_ws.h"
#include "hr_address.h"
#include "hr_forwarded.h"
#include "hr_cookie.h"

#endif
