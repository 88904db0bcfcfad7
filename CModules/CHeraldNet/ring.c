#include "ring.h"

#include <errno.h>
#include <liburing.h>
#include <stdlib.h>

#define RING_MAGIC 0x10091004u
/* How often in a row the kernel may say that it cannot now, before it is taken at its word. */
#define RETRY_COUNT_MAX 8u

struct hr__ring {
    HR_MAGIC_FIELD;
    struct io_uring uring;
};

hr__ring *hr__ring_new(void) {
    hr__ring *ring = calloc(1, sizeof *ring);
    if (ring == NULL) {
        return NULL;
    }
    /* One thread submits, and completions are made when it asks for them: no interrupt, no lock. */
    struct io_uring_params params = {.flags =
                                         IORING_SETUP_SINGLE_ISSUER | IORING_SETUP_DEFER_TASKRUN};
    if (io_uring_queue_init_params(HR_SEND_COUNT_MAX, &ring->uring, &params) != 0) {
        free(ring);
        return NULL;
    }
    HR_MAGIC_SET(ring, RING_MAGIC);
    return ring;
}

void hr__ring_free(hr__ring **handle) {
    hr__ring *ring = *handle;
    *handle = NULL;
    if (ring != NULL) {
        HR_CHECK(ring, RING_MAGIC);
        io_uring_queue_exit(&ring->uring);
        HR_MAGIC_CLEAR(ring);
        free(ring);
    }
}

/* MSG_DONTWAIT makes a full socket an error, as with send; without it the ring would wait for room
 * and send later, out of order with what we send ourselves. */
static void prepare(hr__ring *ring, const hr__ring_send *send, unsigned place) {
    const int flags = MSG_NOSIGNAL | MSG_DONTWAIT;
    struct io_uring_sqe *sqe = io_uring_get_sqe(&ring->uring);
    HR_ASSERT(sqe != NULL);
    if (send->message == NULL) {
        io_uring_prep_send(sqe, send->fd, send->bytes, send->len, flags);
    } else {
        io_uring_prep_sendmsg(sqe, send->fd, send->message, (unsigned)flags);
    }
    io_uring_sqe_set_data64(sqe, place);
}

/* Takes the completions that are there; returns how many. */
static unsigned reap(hr__ring *ring, hr__ring_send *sends, unsigned count) {
    struct io_uring_cqe *cqe;
    unsigned head;
    unsigned seen = 0;
    io_uring_for_each_cqe(&ring->uring, head, cqe) {
        uint64_t place = io_uring_cqe_get_data64(cqe);
        HR_ASSERT(place < count);
        sends[place].result = cqe->res;
        seen++;
    }
    io_uring_cq_advance(&ring->uring, seen);
    return seen;
}

/* Submissions are taken in order, so that after a failure those that were not are at the end. */
unsigned hr__ring_send_all(hr__ring *ring, hr__ring_send *sends, unsigned count) {
    HR_CHECK(ring, RING_MAGIC);
    HR_ASSERT(count <= HR_SEND_COUNT_MAX);
    for (unsigned i = 0; i < count; i++) {
        prepare(ring, &sends[i], i);
    }
    unsigned submitted = 0;
    unsigned done = 0;
    unsigned retries = 0;
    while (done < count) {
        int taken = io_uring_submit_and_wait(&ring->uring, count - done);
        if (taken > 0) {
            submitted += (unsigned)taken;
        }
        unsigned seen = reap(ring, sends, count);
        done += seen;
        retries = seen > 0 || taken > 0 ? 0 : retries + 1;
        bool is_passing = taken >= 0 || taken == -EINTR || taken == -EAGAIN || taken == -EBUSY;
        if (!is_passing || retries > RETRY_COUNT_MAX) {
            break;
        }
    }
    HR_ASSERT(done == submitted);
    return done;
}
