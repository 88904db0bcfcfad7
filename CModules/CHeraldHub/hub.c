#include "addresses.h"
#include "hub_private.h"

#include <stdlib.h>
#include <string.h>

#define HR_BACKLOG 1024

static void on_log_wake(uint64_t mask, void *context) {
    hr_hub *hub;
    HR_CAST(hr_hub, hub, context, HR_HUB_MAGIC);
    while (mask != 0) {
        unsigned index = (unsigned)__builtin_ctzll(mask);
        mask &= mask - 1;
        HR_ASSERT(index < hub->home_count);
        hr_loop_wake(hub->homes[index]->loop);
    }
}

static void free_hub(hr_hub *hub) {
    for (unsigned i = 0; i < hub->home_count; i++) {
        hr__home_free(&hub->homes[i]);
    }
    HR_MAGIC_CLEAR(hub);
    hr_buf_fini(&hub->server_name);
    hr_buf_fini(&hub->header_text);
    free(hub->header_blocks);
    free(hub->trusted_proxies);
    if (hub->addresses != NULL) {
        hr__addresses_free(&hub->addresses);
    }
    free(hub);
}

/* Keeps the trusted proxies, which config only borrows. */
static hr_status copy_proxies(hr_hub *hub, hr_status status) {
    size_t count = hub->config.trusted_proxy_count;
    if (status == HR_OK && count > 0) {
        hub->trusted_proxies = calloc(count, sizeof *hub->trusted_proxies);
        if (hub->trusted_proxies == NULL) {
            return HR_ENOMEM;
        }
        memcpy(hub->trusted_proxies, hub->config.trusted_proxies,
               count * sizeof *hub->trusted_proxies);
    }
    hub->config.trusted_proxies = hub->trusted_proxies;
    return status;
}

/* Copies the texts of config that heads are made of. On failure the hub has part of them. */
static hr_status copy_headers(hr_hub *hub, const hr_hub_config *config) {
    size_t count = config->header_block_count;
    HR_ASSERT(count <= HR_HEADER_BLOCKS_MAX);
    hr_status status = hr_buf_append_slice(&hub->server_name, config->server_name);
    hub->config.server_name = hr_buf_slice(&hub->server_name);
    for (size_t i = 0; status == HR_OK && i < count; i++) {
        status = hr_buf_append_slice(&hub->header_text, config->header_blocks[i]);
    }
    if (status == HR_OK) {
        status = hr_buf_append_slice(&hub->header_text, config->fault_headers);
    }
    hub->header_blocks = calloc(count + 1, sizeof(hr_slice));
    hub->config.header_blocks = hub->header_blocks;
    if (status != HR_OK || hub->header_blocks == NULL) {
        return HR_ENOMEM;
    }
    const char *at = hub->header_text.data;
    for (size_t i = 0; i < count; i++) {
        hub->header_blocks[i] = (hr_slice){at, config->header_blocks[i].len};
        at = at == NULL ? NULL : at + config->header_blocks[i].len;
    }
    hub->config.fault_headers = (hr_slice){at, config->fault_headers.len};
    return HR_OK;
}

hr_status hr_hub_new(const hr_hub_config *config, const hr_hub_handler *handler, hr_log *log,
                     hr_hub **out) {
    HR_ASSERT(config->loop_count >= 1 && config->loop_count <= HR_LOOP_COUNT_MAX);
    hr_hub *hub = NULL;
    if (posix_memalign((void **)&hub, _Alignof(hr_hub), sizeof *hub) != 0) {
        return HR_ENOMEM;
    }
    memset(hub, 0, sizeof *hub);
    HR_MAGIC_SET(hub, HR_HUB_MAGIC);
    hub->config = *config;
    hub->handler = *handler;
    hub->log = log;
    hub->http_limits = (hr_http1_limits){.head_len_max = config->head_len_max,
                                         .header_count_max = 100,
                                         .target_len_max = config->head_len_max / 2,
                                         .body_len_max = config->body_len_max};
    hr_status status = copy_proxies(hub, copy_headers(hub, config));
    if (status == HR_OK) {
        status = hr__addresses_new(&hub->addresses);
    }
    while (status == HR_OK && hub->home_count < config->loop_count) {
        status = hr__home_new(hub, hub->home_count, &hub->homes[hub->home_count]);
        if (status == HR_OK) {
            hub->home_count++;
        }
    }
    if (status != HR_OK) {
        free_hub(hub);
        return status;
    }
    hr_log_set_wake(log, on_log_wake, hub);
    *out = hub;
    return HR_OK;
}

hr_status hr_hub_listen(hr_hub *hub, hr_listener_kind kind, const char *host, uint16_t port,
                        uint16_t *bound_port) {
    HR_CHECK(hub, HR_HUB_MAGIC);
    HR_ASSERT(!hub->started);
    hr_status status = port == 0 ? HR_OK : hr_listener_probe(host, port);
    if (status != HR_OK) {
        return status;
    }
    for (unsigned i = 0; i < hub->home_count; i++) {
        hr_home *home = hub->homes[i];
        HR_ASSERT(home->listeners[kind] == NULL && (kind != HR_LISTEN_TLS || home->tls != NULL));
        status = hr_listener_bind(home->loop, host, port, HR_BACKLOG, &home->listeners[kind]);
        if (status != HR_OK) {
            return status;
        }
        port = hr_listener_port(home->listeners[kind]);
    }
    *bound_port = port;
    return HR_OK;
}

/* A new TLS on its way to a loop. */
typedef struct tls_letter {
    hr_home *home;
    hr_tls *tls;
} tls_letter;

static void take_tls(void *context) {
    tls_letter *letter = context;
    hr__home_set_tls(letter->home, letter->tls);
    hr_tls_unref(&letter->tls);
    free(letter);
}

static hr_status send_tls(hr_home *home, hr_tls *tls) {
    tls_letter *letter = malloc(sizeof *letter);
    if (letter == NULL) {
        return HR_ENOMEM;
    }
    *letter = (tls_letter){home, hr_tls_ref(tls)};
    hr_status status = hr_loop_post(home->loop, take_tls, letter);
    if (status != HR_OK) {
        hr_tls_unref(&letter->tls);
        free(letter);
    }
    return status;
}

hr_status hr_hub_set_tls(hr_hub *hub, hr_tls *tls) {
    HR_CHECK(hub, HR_HUB_MAGIC);
    hr_status status = HR_OK;
    for (unsigned i = 0; i < hub->home_count; i++) {
        hr_status sent = HR_OK;
        if (hub->started) {
            sent = send_tls(hub->homes[i], tls);
        } else {
            hr__home_set_tls(hub->homes[i], tls);
        }
        status = status == HR_OK ? sent : status;
    }
    return status;
}

static void start_listeners(hr_home *home) {
    static hr_listener_accept_fn *const accepts[HR_LISTENER_KIND_COUNT] = {
        [HR_LISTEN_PLAIN] = hr__home_accept,
        [HR_LISTEN_TLS] = hr__home_accept_tls,
    };
    for (unsigned kind = 0; kind < HR_LISTENER_KIND_COUNT; kind++) {
        if (home->listeners[kind] != NULL) {
            hr_listener_start(home->listeners[kind], accepts[kind], hr__home_accept_error, home);
        }
    }
}

hr_status hr_hub_start(hr_hub *hub) {
    HR_CHECK(hub, HR_HUB_MAGIC);
    HR_ASSERT(!hub->started);
    for (unsigned i = 0; i < hub->home_count; i++) {
        hr_home *home = hub->homes[i];
        hr_status status = hr__cohort_probe_open(home);
        if (status != HR_OK) {
            return status;
        }
        start_listeners(home);
    }
    hub->started = true;
    for (unsigned i = 0; i < hub->home_count; i++) {
        hr_status status = hr_loop_start(hub->homes[i]->loop);
        if (status != HR_OK) {
            return status;
        }
    }
    return HR_OK;
}

void hr_hub_drain(hr_hub *hub) {
    HR_CHECK(hub, HR_HUB_MAGIC);
    if (atomic_exchange(&hub->draining, true)) {
        return;
    }
    for (unsigned i = 0; i < hub->home_count; i++) {
        /* Without memory for the letter that loop is ended by stop instead. */
        (void)!hr_loop_post(hub->homes[i]->loop, hr__home_drain, hub->homes[i]);
    }
}

bool hr_hub_is_draining(const hr_hub *hub) {
    HR_CHECK(hub, HR_HUB_MAGIC);
    return atomic_load(&hub->draining);
}

void hr_hub_stop(hr_hub *hub) {
    HR_CHECK(hub, HR_HUB_MAGIC);
    if (hub->stopped) {
        return;
    }
    hub->stopped = true;
    atomic_store(&hub->draining, true);
    for (unsigned i = 0; i < hub->home_count; i++) {
        while (hr_loop_post(hub->homes[i]->loop, hr__home_stop, hub->homes[i]) != HR_OK) {
        }
    }
    for (unsigned i = 0; i < hub->home_count; i++) {
        hr_loop_join(hub->homes[i]->loop);
        hr__leases_tell_gone(hub->homes[i]);
    }
}

void hr_hub_free(hr_hub **handle) {
    hr_hub *hub = *handle;
    HR_CHECK(hub, HR_HUB_MAGIC);
    HR_ASSERT(!hub->started || hub->stopped);
    *handle = NULL;
    free_hub(hub);
}

hr_log *hr_hub_log(hr_hub *hub) {
    HR_CHECK(hub, HR_HUB_MAGIC);
    return hub->log;
}

bool hr_hub_has_io_uring(const hr_hub *hub) {
    HR_CHECK(hub, HR_HUB_MAGIC);
    bool has_all = true;
    for (unsigned i = 0; i < hub->home_count; i++) {
        has_all = has_all && hr_loop_has_ring(hub->homes[i]->loop);
    }
    return has_all;
}

uint64_t hr_hub_probe_age_ms(hr_hub *hub) {
    HR_CHECK(hub, HR_HUB_MAGIC);
    uint64_t now = hr_time_mono_ns();
    uint64_t oldest = now;
    for (unsigned i = 0; i < hub->home_count; i++) {
        uint64_t probed = atomic_load_explicit(&hub->homes[i]->probed_ns, memory_order_relaxed);
        oldest = probed < oldest ? probed : oldest;
    }
    return oldest == 0 ? UINT64_MAX : (now - oldest) / 1000000u;
}

/* NULL: the thread is none of the hub's loops. */
static hr_home *current_home(const hr_hub *hub) {
    const hr_loop *current = hr_loop_current();
    unsigned index = current != NULL ? hr_loop_index(current) : hub->home_count;
    bool is_ours = index < hub->home_count && hub->homes[index]->loop == current;
    return is_ours ? hub->homes[index] : NULL;
}

hr_status hr_hub_publish(hr_hub *hub, const hr_publication *publications, size_t count,
                         hr_receipt *receipts, size_t *failed_index) {
    HR_CHECK(hub, HR_HUB_MAGIC);
    hr_home *home = current_home(hub);
    hr_loop_time now = home != NULL ? hr_loop_time_now(home->loop)
                                    : (hr_loop_time){hr_time_wall_ms(), hr_time_mono_ns()};
    hr_status status = hr_log_append(hub->log, publications, count, now.wall_ms, now.mono_ns,
                                     receipts, failed_index);
    if (status != HR_OK) {
        return status;
    }
    uint64_t bytes = 0;
    for (size_t i = 0; i < count; i++) {
        bytes += publications[i].data.len;
    }
    if (home != NULL) {
        hr__count(&home->stats.published_events, count);
        hr__count(&home->stats.published_bytes, bytes);
    } else {
        atomic_fetch_add_explicit(&hub->outside_events, count, memory_order_relaxed);
        atomic_fetch_add_explicit(&hub->outside_bytes, bytes, memory_order_relaxed);
    }
    return HR_OK;
}
