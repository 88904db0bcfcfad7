/* What the files of this module know of a loop. */
#ifndef HR_LOOP_PRIVATE_H
#define HR_LOOP_PRIVATE_H

#include "CHeraldNet.h"
#include "ring.h"
#include "tls.h"

#include <pthread.h>
#include <stdatomic.h>
#include <uv.h>

#define HR_LOOP_MAGIC 0x10091001u
#define HR_LISTENER_MAGIC 0x10091002u
#define HR_CONN_MAGIC 0x10091003u

typedef struct hr__letter {
    struct hr__letter *next;
    hr_loop_fn *fn;
    void *context;
} hr__letter;

/* Output in loop->cork that is to be sent with that of other connections. */
typedef struct hr__gathered {
    hr_conn *conn;
    size_t at;
    size_t len;
} hr__gathered;

#define HR_GATHER_LEN_MAX (256u << 10)
/* Events of input that go before a turn hook that is due. */
#define HR_EVENT_COUNT_MAX 128u

struct hr_loop {
    HR_MAGIC_FIELD;
    unsigned index;
    uv_loop_t uv;
    uv_async_t async;
    uv_timer_t ticker;
    uv_prepare_t prepare;
    uv_check_t check;
    pthread_t thread;
    bool started;
    bool stopping;
    hr_loop_fn *turn;
    void *turn_context;
    hr_loop_fn *tick;
    void *tick_context;
    hr_wheel wheel;
    uint64_t tick_due_ns;
    uint64_t tick_lag_ns;
    hr_loop_time time; /* while is_time_known */
    bool is_time_known;
    unsigned event_count; /* of input since the turn hook was looked at */
    /* The connection whose input is being handled: its output is gathered in cork and
     * written once at the end, however many pipelined requests it answers. */
    struct hr_conn *corked;
    hr_buf cork;
    size_t cork_from; /* where in cork its output begins; before it is that of gathered */
    hr__gathered gathered[HR_SEND_COUNT_MAX];
    unsigned gathered_count;
    bool uses_ring;
    _Atomic bool has_ring; /* read by any thread */
    hr__ring *ring;        /* of the thread; NULL: none */
    char *read_buffer;
    hr__wire wire;         /* of TLS; made with the first such connection */
    unsigned shaken_count; /* handshakes that were gone on with in this turn */
    unsigned shaken_count_max;
    hr_link line; /* handshakes that wait for a turn, by hr__tls.line; first who came first */
    hr_link gone; /* streams that have ended */
    /* Written by other threads; on a line of their own, away from what each turn uses. */
    _Alignas(64) _Atomic(hr__letter *) mailbox;
    _Atomic bool wake_pending;
    _Atomic bool stop_pending;
};

/* Before an event of a socket is handled: after many of them the turn hook has its turn, in which any
 * connection may close. */
void hr__loop_note_event(hr_loop *loop);
/* Sends what is gathered. */
void hr__conn_flush(hr_loop *loop);
/* Goes on with handshakes that wait, as many as this turn may still have. */
void hr__conn_shake_next(hr_loop *loop);
/* Frees the streams that have ended. */
void hr__conn_free_gone(hr_loop *loop);
/* For good. On the loop's thread. */
void hr__loop_close_ring(hr_loop *loop);

/* libuv's negative codes as statuses. */
hr_status hr__status_from_uv(int code);
/* errno values as statuses. */
hr_status hr__status_from_errno(int code);

#endif
