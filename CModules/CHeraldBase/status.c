#include "CHeraldBase.h"

#include <stdio.h>
#include <stdlib.h>

const char *hr_status_text(hr_status status) {
    switch (status) {
    case HR_OK: return "ok";
    case HR_ENOMEM: return "out of memory";
    case HR_EINVAL: return "malformed input";
    case HR_ETOOBIG: return "too big";
    case HR_ELIMIT: return "limit reached";
    case HR_ENOTFOUND: return "not found";
    case HR_EFUTURE: return "cursor lies after the newest event";
    case HR_ECLOSED: return "closed";
    case HR_EADDRESS: return "not an address of this host";
    case HR_EINUSE: return "address already in use";
    case HR_EACCESS: return "permission denied";
    case HR_EFILES: return "out of file descriptors";
    case HR_EPEERS: return "too many of one address";
    case HR_EBUSY: return "too many at once";
    case HR_EPROTO: return "protocol error";
    case HR_EIO: return "input/output error";
    }
    return "unknown status";
}

_Noreturn void hr_panic(const char *file, int line, const char *what) {
    fprintf(stderr, "herald: invariant broken at %s:%d: %s\n", file, line, what);
    fflush(stderr);
    abort();
}
