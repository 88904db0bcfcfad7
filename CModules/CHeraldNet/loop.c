#include "loop_private.h"

#include <errno.h>
#include <stdlib.h>

static _Thread_local hr_loop *current_loop;

hr_status hr__status_from_errno(int code) {
    switch (code) {
    case 0: return HR_OK;
    case ENOMEM:
    case ENOBUFS: return HR_ENOMEM;
    case EMFILE:
    case ENFILE: return HR_EFILES;
    case EADDRINUSE: return HR_EINUSE;
    case EACCES:
    case EPERM: return HR_EACCESS;
    case EADDRNOTAVAIL:
    case EAFNOSUPPORT: return HR_EADDRESS;
    case EPIPE:
    case ECONNRESET:
    case ECONNABORTED:
    case ENOTCONN: return HR_ECLOSED;
    case EAGAIN: return HR_ELIMIT;
    case EINVAL: return HR_EINVAL;
    default: return HR_EIO;
    }
}

hr_status hr__status_from_uv(int code) { return hr__status_from_errno(code < 0 ? -code : 0); }

/* Mailbox: a lock-free stack that the loop takes whole and turns round. The exchange is
 * sequentially consistent, so that a letter is seen by whoever the wake-up after it wakes. */
static hr__letter *take_letters(hr_loop *loop) {
    hr__letter *newest = atomic_exchange(&loop->mailbox, NULL);
    hr__letter *oldest = NULL;
    while (newest != NULL) {
        hr__letter *next = newest->next;
        newest->next = oldest;
        oldest = newest;
        newest = next;
    }
    return oldest;
}

static void run_letters(hr_loop *loop) {
    hr__letter *letter = take_letters(loop);
    while (letter != NULL) {
        hr__letter *next = letter->next;
        hr_loop_fn *fn = letter->fn;
        void *context = letter->context;
        free(letter);
        fn(context);
        letter = next;
    }
}

static void close_own_handles(hr_loop *loop) {
    if (loop->stopping) {
        return;
    }
    loop->stopping = true;
    uv_close((uv_handle_t *)&loop->ticker, NULL);
    uv_close((uv_handle_t *)&loop->prepare, NULL);
    uv_close((uv_handle_t *)&loop->check, NULL);
    uv_close((uv_handle_t *)&loop->async, NULL);
}

static void run_turn(hr_loop *loop) {
    if (atomic_load_explicit(&loop->wake_pending, memory_order_relaxed) &&
        atomic_exchange(&loop->wake_pending, false)) {
        loop->is_time_known = false;
        loop->event_count = 0;
        loop->turn(loop->turn_context);
        loop->is_time_known = false;
    }
}

/* libuv hands out up to 48 times 1,024 events before it comes to on_check: when thousands are cut off
 * or come back at once, what was published for the others must not wait for all of these. */
void hr__loop_note_event(hr_loop *loop) {
    if (++loop->event_count <= HR_EVENT_COUNT_MAX) {
        return;
    }
    loop->event_count = 0;
    if (atomic_load_explicit(&loop->wake_pending, memory_order_relaxed)) {
        hr__conn_flush(loop);
        run_turn(loop);
    }
}

static void on_async(uv_async_t *handle) {
    hr_loop *loop;
    HR_CAST(hr_loop, loop, handle->data, HR_LOOP_MAGIC);
    run_letters(loop);
    if (atomic_load(&loop->stop_pending)) {
        close_own_handles(loop);
    }
}

/* What a timer's function woke must be done before the loop sleeps; what the turn itself woke again
 * must keep it from sleeping. */
static void on_prepare(uv_prepare_t *handle) {
    hr_loop *loop;
    HR_CAST(hr_loop, loop, handle->data, HR_LOOP_MAGIC);
    run_turn(loop);
    hr__conn_free_gone(loop);
    loop->is_time_known = false;
    if (atomic_load_explicit(&loop->wake_pending, memory_order_relaxed)) {
        uv_async_send(&loop->async);
    }
}

static void on_check(uv_check_t *handle) {
    hr_loop *loop;
    HR_CAST(hr_loop, loop, handle->data, HR_LOOP_MAGIC);
    hr__conn_shake_next(loop);
    hr__conn_flush(loop);
    run_turn(loop);
    loop->event_count = 0;
    hr__conn_free_gone(loop);
    loop->is_time_known = false; /* the next turn's timers come before on_prepare */
    if (!hr_list_empty(&loop->line)) {
        uv_async_send(&loop->async); /* there is more to do than the kernel knows of */
    }
}

static void on_ticker(uv_timer_t *handle) {
    hr_loop *loop;
    HR_CAST(hr_loop, loop, handle->data, HR_LOOP_MAGIC);
    uint64_t now_ns = hr_time_mono_ns();
    loop->tick_lag_ns = now_ns > loop->tick_due_ns ? now_ns - loop->tick_due_ns : 0;
    loop->tick_due_ns = now_ns + (uint64_t)HR_TICK_MS * 1000000u;
    hr_wheel_advance(&loop->wheel, uv_now(&loop->uv));
    if (loop->tick != NULL) {
        loop->tick(loop->tick_context);
    }
}

static hr_status init_handles(hr_loop *loop) {
    int code = uv_async_init(&loop->uv, &loop->async, on_async);
    if (code != 0) {
        return hr__status_from_uv(code);
    }
    /* These three cannot fail: they only link the handle in. */
    HR_ASSERT(uv_timer_init(&loop->uv, &loop->ticker) == 0);
    HR_ASSERT(uv_prepare_init(&loop->uv, &loop->prepare) == 0);
    HR_ASSERT(uv_check_init(&loop->uv, &loop->check) == 0);
    loop->async.data = loop;
    loop->ticker.data = loop;
    loop->prepare.data = loop;
    loop->check.data = loop;
    HR_ASSERT(uv_timer_start(&loop->ticker, on_ticker, HR_TICK_MS, HR_TICK_MS) == 0);
    HR_ASSERT(uv_prepare_start(&loop->prepare, on_prepare) == 0);
    HR_ASSERT(uv_check_start(&loop->check, on_check) == 0);
    return HR_OK;
}

hr_status hr_loop_new(unsigned index, hr_loop_fn *turn, void *context, hr_loop **out) {
    hr_loop *loop = NULL;
    if (posix_memalign((void **)&loop, 64, sizeof *loop) != 0) {
        return HR_ENOMEM;
    }
    *loop = (hr_loop){.index = index,
                      .turn = turn,
                      .turn_context = context,
                      .shaken_count_max = HR_HANDSHAKE_COUNT};
    hr_link_init(&loop->gone);
    hr_link_init(&loop->line);
    HR_MAGIC_SET(loop, HR_LOOP_MAGIC);
    loop->read_buffer = malloc(HR_LOOP_READ_LEN);
    int code = loop->read_buffer == NULL ? UV_ENOMEM : uv_loop_init(&loop->uv);
    if (code != 0) {
        free(loop->read_buffer);
        free(loop);
        return hr__status_from_uv(code);
    }
    hr_status status = init_handles(loop);
    if (status != HR_OK) {
        HR_ASSERT(uv_loop_close(&loop->uv) == 0);
        free(loop->read_buffer);
        free(loop);
        return status;
    }
    hr_wheel_init(&loop->wheel, uv_now(&loop->uv));
    loop->tick_due_ns = hr_time_mono_ns() + (uint64_t)HR_TICK_MS * 1000000u;
    *out = loop;
    return HR_OK;
}

void hr_loop_use_ring(hr_loop *loop) {
    HR_CHECK(loop, HR_LOOP_MAGIC);
    HR_ASSERT(!loop->started);
    loop->uses_ring = true;
}

void hr_loop_set_handshakes(hr_loop *loop, unsigned count) {
    HR_CHECK(loop, HR_LOOP_MAGIC);
    HR_ASSERT(!loop->started && count > 0);
    loop->shaken_count_max = count;
}

bool hr_loop_has_ring(const hr_loop *loop) {
    return atomic_load_explicit(&loop->has_ring, memory_order_relaxed);
}

/* By its own thread alone: a ring that goes interrupts whatever its maker waits for. */
static void open_ring(hr_loop *loop) {
    loop->ring = loop->uses_ring ? hr__ring_new() : NULL;
    atomic_store_explicit(&loop->has_ring, loop->ring != NULL, memory_order_relaxed);
}

void hr__loop_close_ring(hr_loop *loop) {
    atomic_store_explicit(&loop->has_ring, false, memory_order_relaxed);
    hr__ring_free(&loop->ring);
}

static void *run_thread(void *context) {
    hr_loop *loop;
    HR_CAST(hr_loop, loop, context, HR_LOOP_MAGIC);
    current_loop = loop;
    open_ring(loop);
    /* The first tick is due from when the loop runs, not from when it was made. */
    loop->tick_due_ns = hr_time_mono_ns() + (uint64_t)HR_TICK_MS * 1000000u;
    uv_update_time(&loop->uv);
    HR_ASSERT(uv_timer_again(&loop->ticker) == 0);
    uv_run(&loop->uv, UV_RUN_DEFAULT);
    hr__conn_free_gone(loop);
    hr__loop_close_ring(loop);
    return NULL;
}

hr_status hr_loop_start(hr_loop *loop) {
    HR_CHECK(loop, HR_LOOP_MAGIC);
    HR_ASSERT(!loop->started);
    int code = pthread_create(&loop->thread, NULL, run_thread, loop);
    if (code != 0) {
        return hr__status_from_errno(code);
    }
    loop->started = true;
    return HR_OK;
}

void hr_loop_stop(hr_loop *loop) {
    HR_CHECK(loop, HR_LOOP_MAGIC);
    atomic_store(&loop->stop_pending, true);
    uv_async_send(&loop->async);
}

void hr_loop_join(hr_loop *loop) {
    HR_CHECK(loop, HR_LOOP_MAGIC);
    if (loop->started) {
        HR_ASSERT(pthread_join(loop->thread, NULL) == 0);
        loop->started = false;
    }
    /* Its thread has ended: whoever joined it stands in for it. */
    hr_loop *before = current_loop;
    current_loop = loop;
    run_letters(loop);
    current_loop = before;
}

void hr_loop_free(hr_loop **handle) {
    hr_loop *loop = *handle;
    HR_CHECK(loop, HR_LOOP_MAGIC);
    HR_ASSERT(!loop->started);
    *handle = NULL;
    /* A loop that never ran closes its handles here. */
    close_own_handles(loop);
    uv_run(&loop->uv, UV_RUN_DEFAULT);
    HR_ASSERT(uv_loop_close(&loop->uv) == 0);
    HR_MAGIC_CLEAR(loop);
    hr_buf_fini(&loop->cork);
    hr__wire_fini(&loop->wire);
    free(loop->read_buffer);
    free(loop);
}

hr_status hr_loop_post(hr_loop *loop, hr_loop_fn *fn, void *context) {
    HR_CHECK(loop, HR_LOOP_MAGIC);
    hr__letter *letter = malloc(sizeof *letter);
    if (letter == NULL) {
        return HR_ENOMEM;
    }
    *letter = (hr__letter){.fn = fn, .context = context};
    letter->next = atomic_load(&loop->mailbox);
    while (!atomic_compare_exchange_weak(&loop->mailbox, &letter->next, letter)) {
    }
    uv_async_send(&loop->async);
    return HR_OK;
}

void hr_loop_wake(hr_loop *loop) {
    /* The own thread needs no kernel wake-up: prepare or check runs before it sleeps. */
    if (!atomic_exchange(&loop->wake_pending, true) && current_loop != loop) {
        uv_async_send(&loop->async);
    }
}

bool hr_loop_is_current(const hr_loop *loop) { return current_loop == loop; }
hr_loop *hr_loop_current(void) { return current_loop; }
unsigned hr_loop_index(const hr_loop *loop) { return loop->index; }
uint64_t hr_loop_now_ms(const hr_loop *loop) { return uv_now(&loop->uv); }

hr_loop_time hr_loop_time_now(hr_loop *loop) {
    if (!loop->is_time_known) {
        loop->time = (hr_loop_time){hr_time_wall_ms(), hr_time_mono_ns()};
        loop->is_time_known = true;
    }
    return loop->time;
}

hr_wheel *hr_loop_wheel(hr_loop *loop) { return &loop->wheel; }
uint64_t hr_loop_tick_lag_ns(const hr_loop *loop) { return loop->tick_lag_ns; }

void hr_loop_set_tick(hr_loop *loop, hr_loop_fn *tick, void *context) {
    loop->tick = tick;
    loop->tick_context = context;
}
