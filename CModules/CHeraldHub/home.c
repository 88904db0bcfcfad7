/* A loop's part of the hub: accepting, turns, ticks, draining, stopping. */
#include "hub_private.h"

#include <stdlib.h>
#include <unistd.h>

#define HR_TICKS_A_SECOND (1000u / HR_TICK_MS)

static void on_drain_end(hr_timer *timer);

hr_status hr__home_new(hr_hub *hub, unsigned index, hr_home **out) {
    hr_home *home = calloc(1, sizeof *home);
    if (home == NULL) {
        return HR_ENOMEM;
    }
    HR_MAGIC_SET(home, HR_HOME_MAGIC);
    home->hub = hub;
    home->index = index;
    home->receipt_ms = -1; /* no text yet */
    hr_status status = hr_loop_new(index, hr__home_turn, home, &home->loop);
    if (status != HR_OK) {
        free(home);
        return status;
    }
    if (hub->config.uses_io_uring) {
        hr_loop_use_ring(home->loop);
    }
    hr_loop_set_handshakes(home->loop, hub->config.handshakes_per_turn);
    hr_link_init(&home->dirty);
    hr_link_init(&home->catching);
    hr_link_init(&home->ready);
    hr_link_init(&home->h2_dirty);
    hr_link_init(&home->h2_orphans);
    hr_link_init(&home->sessions);
    hr_link_init(&home->idle_cohorts);
    hr_link_init(&home->leases_gone);
    hr_timer_init(&home->drain_end, on_drain_end);
    hr_random_bytes(&home->random, sizeof home->random);
    home->random |= 1;
    hr_loop_set_tick(home->loop, hr__home_tick, home);
    *out = home;
    return HR_OK;
}

static void close_listeners(hr_home *home) {
    for (unsigned kind = 0; kind < HR_LISTENER_KIND_COUNT; kind++) {
        if (home->listeners[kind] != NULL) {
            hr_listener_close(&home->listeners[kind]);
        }
    }
}

void hr__home_set_tls(hr_home *home, hr_tls *tls) {
    hr_tls *before = home->tls;
    home->tls = hr_tls_ref(tls);
    if (before != NULL) {
        hr_tls_unref(&before);
    }
}

void hr__home_free(hr_home **handle) {
    hr_home *home = *handle;
    HR_CHECK(home, HR_HOME_MAGIC);
    *handle = NULL;
    close_listeners(home);
    HR_ASSERT(hr_list_empty(&home->sessions));
    if (home->probe != NULL) {
        hr__cohort_close(home->probe);
    }
    hr__cohorts_sweep(home, true);
    HR_ASSERT(home->cohorts.count == 0);
    hr_loop_free(&home->loop);
    if (home->tls != NULL) {
        hr_tls_unref(&home->tls);
    }
    for (unsigned i = 0; i < home->spare_http_count; i++) {
        hr_http1_free(&home->spare_http[i]);
    }
    if (home->spare_request != NULL) {
        hr_buf_fini(&home->spare_request->path);
        free(home->spare_request);
    }
    for (uint32_t i = 0; i < home->subs_cap; i++) {
        free(home->subs[i].items);
    }
    free(home->subs);
    hr_map_fini(&home->cohorts);
    hr_buf_fini(&home->out);
    hr_buf_fini(&home->scratch);
    hr_buf_fini(&home->body);
    hr_buf_fini(&home->key);
    hr_buf_fini(&home->repeat.key);
    hr_buf_fini(&home->repeat.answer);
    for (unsigned i = 0; i < HR_HEAD_COUNT; i++) {
        hr_buf_fini(&home->heads[i].text);
    }
    HR_MAGIC_CLEAR(home);
    free(home);
}

/* Marsaglia's xorshift64: jitter needs no secrecy. */
uint64_t hr__random(hr_home *home) {
    home->random ^= home->random << 13;
    home->random ^= home->random >> 7;
    home->random ^= home->random << 17;
    return home->random;
}

hr_http1 *hr__home_http_take(hr_home *home) {
    if (home->spare_http_count > 0) {
        return home->spare_http[--home->spare_http_count];
    }
    hr_http1 *http = NULL;
    return hr_http1_new(&home->hub->http_limits, &http) == HR_OK ? http : NULL;
}

void hr__home_http_give(hr_home *home, hr_http1 *http) {
    if (home->spare_http_count < HR_SPARE_COUNT) {
        hr_http1_reset(http);
        home->spare_http[home->spare_http_count++] = http;
    } else {
        hr_http1_free(&http);
    }
}

static void accept_one(hr_home *home, int fd, hr_tls *tls) {
    uint32_t before = atomic_load_explicit(&home->hub->connection_count, memory_order_relaxed);
    if (before >= home->hub->config.connection_count_max + HR_REFUSED_COUNT_MAX) {
        hr__count(&home->stats.accept_failures[HR_ACCEPT_LIMIT], 1);
        close(fd);
        return;
    }
    hr__session_open(home, fd, tls);
}

void hr__home_accept(hr_listener *listener, int fd, void *context) {
    (void)listener;
    hr_home *home;
    HR_CAST(hr_home, home, context, HR_HOME_MAGIC);
    accept_one(home, fd, NULL);
}

void hr__home_accept_tls(hr_listener *listener, int fd, void *context) {
    (void)listener;
    hr_home *home;
    HR_CAST(hr_home, home, context, HR_HOME_MAGIC);
    HR_ASSERT(home->tls != NULL);
    accept_one(home, fd, home->tls);
}

void hr__home_accept_error(hr_listener *listener, hr_status reason, void *context) {
    (void)listener;
    hr_home *home;
    HR_CAST(hr_home, home, context, HR_HOME_MAGIC);
    hr_accept_failure kind = reason == HR_EFILES ? HR_ACCEPT_DESCRIPTORS : HR_ACCEPT_OTHER;
    hr__count(&home->stats.accept_failures[kind], 1);
}

static void run_ready(hr_home *home) {
    hr_link ready;
    hr_link_init(&ready);
    hr_list_splice(&ready, &home->ready);
    while (!hr_list_empty(&ready)) {
        hr_reader *reader = HR_CONTAINER_OF(ready.next, hr_reader, link);
        hr_link_remove(&reader->link);
        hr__session_unstash(hr__session_of(reader));
    }
}

/* A step for each of the readers at the front; who is not done goes to the end, so that a long
 * replay takes turns with the others. */
static void run_catching(hr_home *home) {
    if (hr_list_empty(&home->catching)) {
        return;
    }
    uint64_t end = hr_time_mono_ns() + HR_CATCH_UP_NS;
    for (unsigned i = 0; i < HR_CATCH_UP_MAX && !hr_list_empty(&home->catching); i++) {
        hr_reader *reader = HR_CONTAINER_OF(home->catching.next, hr_reader, link);
        hr_link_remove(&reader->link);
        hr__reader_step(reader);
        if (hr_time_mono_ns() >= end) {
            return;
        }
    }
}

void hr__home_turn(void *context) {
    hr_home *home;
    HR_CAST(hr_home, home, context, HR_HOME_MAGIC);
    hr__count(&home->stats.turns, 1);
    hr__live_sync(home);
    run_ready(home);
    run_catching(home);
    hr__h2_flush_dirty(home);
    hr__leases_tell_gone(home);
    if (!hr_list_empty(&home->ready) || !hr_list_empty(&home->catching)) {
        hr_loop_wake(home->loop);
    }
}

/* The proof of life: an event of the server's own, which every loop must read back. */
static void publish_probe(hr_home *home) {
    hr_publication probe = {.topic = HR_LIT("~herald/probe"),
                            .content_type = HR_LIT("text/plain"),
                            .data = HR_LIT("probe")};
    hr_receipt receipt;
    /* A refusal shows as a probe that grows old. */
    (void)!hr_log_append(home->hub->log, &probe, 1, hr_time_wall_ms(), hr_time_mono_ns(), &receipt,
                         NULL);
}

/* What a large answer took is given back: the next of its size may be long in coming. Nothing is put
 * together while the clock ticks. */
static void give_back(hr_home *home) {
    hr_buf *const buffers[] = {&home->out, &home->body, &home->scratch};
    for (size_t i = 0; i < sizeof buffers / sizeof *buffers; i++) {
        if (buffers[i]->cap > HR_BACKLOG_MAX) {
            hr_buf_fini(buffers[i]);
        }
    }
}

void hr__home_tick(void *context) {
    hr_home *home;
    HR_CAST(hr_home, home, context, HR_HOME_MAGIC);
    hr__histogram_add(&home->stats.lag, hr_loop_tick_lag_ns(home->loop), 1);
    if (home->tick_count % HR_TICKS_A_SECOND == 0) {
        if (home->index == 0) {
            hr_log_tick(home->hub->log, hr_time_wall_ms());
            publish_probe(home);
        }
        hr__cohorts_sweep(home, false);
        give_back(home);
    }
    home->tick_count++;
    hr__live_sync(home);
}

/* Draining. ------------------------------------------------------------------------------------ */

static void tell_drained(hr_home *home) {
    if (home->draining && !home->drained && home->session_count == 0) {
        home->drained = true;
        hr_hub *hub = home->hub;
        if (atomic_fetch_add(&hub->drained_count, 1) + 1 == hub->home_count) {
            hub->handler.on_drained(hub->handler.context);
        }
    }
}

void hr__home_session_gone(hr_home *home) {
    HR_ASSERT(home->session_count > 0);
    home->session_count--;
    tell_drained(home);
}

static void close_sessions(hr_home *home, hr_close_reason reason) {
    /* One by one from the front: a connection takes its streams along. */
    while (!hr_list_empty(&home->sessions)) {
        hr_session *session = HR_CONTAINER_OF(home->sessions.next, hr_session, link);
        hr_conn_close(&session->conn, reason);
    }
}

static void on_drain_end(hr_timer *timer) {
    hr_home *home = HR_CONTAINER_OF(timer, hr_home, drain_end);
    HR_CHECK(home, HR_HOME_MAGIC);
    close_sessions(home, HR_CLOSE_DRAIN);
}

void hr__home_drain(void *context) {
    hr_home *home;
    HR_CAST(hr_home, home, context, HR_HOME_MAGIC);
    if (home->draining || home->stopping) {
        return;
    }
    home->draining = true;
    close_listeners(home);
    uint64_t spread_ms = home->hub->config.drain_timeout_ms * UINT64_C(4) / 5;
    /* Whatever is closed on the way leaves the list that it is in. */
    hr_link sessions;
    hr_link_init(&sessions);
    hr_list_splice(&sessions, &home->sessions);
    while (!hr_list_empty(&sessions)) {
        hr_session *session = HR_CONTAINER_OF(sessions.next, hr_session, link);
        hr_link_remove(&session->link);
        hr_list_push_back(&home->sessions, &session->link);
        if (session->mode == HR_MODE_HTTP && session->http == NULL) {
            hr__session_finish(session, HR_CLOSE_DRAIN);
        } else if (session->mode == HR_MODE_H2) {
            hr__h2_drain(session, HR_CLOSE_DRAIN);
        } else if (session->mode == HR_MODE_POLL || session->mode == HR_MODE_STREAM ||
                   session->mode == HR_MODE_WS || session->mode == HR_MODE_ECHO) {
            session->drain_due = true;
            hr__session_arm(session, spread_ms == 0 ? 0 : hr__random(home) % spread_ms);
        }
    }
    hr_timer_arm(hr_loop_wheel(home->loop), &home->drain_end, hr_loop_now_ms(home->loop),
                 home->hub->config.drain_timeout_ms);
    tell_drained(home);
}

void hr__home_stop(void *context) {
    hr_home *home;
    HR_CAST(hr_home, home, context, HR_HOME_MAGIC);
    if (home->stopping) {
        return;
    }
    home->stopping = true;
    home->draining = true;
    home->drained = true;
    close_listeners(home);
    hr_timer_cancel(hr_loop_wheel(home->loop), &home->drain_end);
    close_sessions(home, HR_CLOSE_DRAIN);
    hr_loop_stop(home->loop);
}
