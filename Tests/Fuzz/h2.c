/* Frames of HTTP/2 behind a good preface: the joint between nghttp2 and the sessions. */
#include "joint.h"

int LLVMFuzzerTestOneInput(const char *bytes, size_t len) {
    static const char preface[] = "PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n\0\0\0\4\0\0\0\0";
    joint_send(preface, sizeof preface, bytes, len);
    return 0;
}
