/* hr_status: the one result type of the C core.
 *
 * Codes of libuv, llhttp and the kernel are translated where they are received
 * and go no higher. Partial input and would-block are results, not errors. */
#ifndef HR_STATUS_H
#define HR_STATUS_H

#if defined(__clang__)
#define HR_CLOSED_ENUM __attribute__((enum_extensibility(closed)))
#define HR_SWIFT(name) __attribute__((swift_name(name)))
#else
#define HR_CLOSED_ENUM
#define HR_SWIFT(name)
#endif
#define HR_MUST_CHECK __attribute__((warn_unused_result))

typedef enum HR_CLOSED_ENUM hr_status {
    HR_OK HR_SWIFT("ok") = 0,
    HR_ENOMEM HR_SWIFT("outOfMemory"),
    HR_EINVAL HR_SWIFT("invalid"),      /* malformed input */
    HR_ETOOBIG HR_SWIFT("tooBig"),      /* one item exceeds its size limit */
    HR_ELIMIT HR_SWIFT("limitReached"), /* a bound on a number of things is reached */
    HR_ENOTFOUND HR_SWIFT("notFound"),
    HR_EFUTURE HR_SWIFT("beyondHead"),  /* a cursor lies after the newest event */
    HR_ECLOSED HR_SWIFT("closed"),      /* the other end, or the server, has gone */
    HR_EADDRESS HR_SWIFT("badAddress"), /* cannot be parsed or is not this host's */
    HR_EINUSE HR_SWIFT("addressInUse"),
    HR_EACCESS HR_SWIFT("accessDenied"),
    HR_EFILES HR_SWIFT("outOfDescriptors"),
    HR_EPEERS HR_SWIFT("tooManyOfAddress"), /* a bound on what one address may have is reached */
    HR_EBUSY HR_SWIFT("busy"),              /* too many at once; later there is room */
    HR_EPROTO HR_SWIFT("protocolError"),
    HR_EIO HR_SWIFT("ioError"),
} hr_status;

/* A short English phrase for status; static. ANY thread. */
const char *hr_status_text(hr_status status);

#endif
