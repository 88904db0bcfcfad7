/* Who may come in: bounds on what one address has and on how many readers begin in a second. */
#include "addresses.h"

#include <string.h>

#define SECOND_NS UINT64_C(1000000000)

/* Whose request it is. ------------------------------------------------------------------------- */

static hr_address peer_of(hr_session *session) {
    uint8_t bytes[16];
    hr_session *parent = hr__h2_parent(session);
    size_t len = hr_conn_peer(parent != NULL ? &parent->conn : &session->conn, bytes);
    if (len == 4) {
        return hr_address_from_v4(bytes);
    }
    return len == 16 ? hr_address_from_v6(bytes) : (hr_address){{0}};
}

static bool is_proxy(const hr_hub *hub, const hr_address *peer) {
    return hub->config.forwarded != HR_FORWARDED_NONE &&
           hr_address_ranges_have(hub->trusted_proxies, hub->config.trusted_proxy_count, peer);
}

/* peer is a trusted proxy. Without memory for what it says it is taken for the client itself. */
static hr_address client_behind(const hr_request *request, const hr_address *peer) {
    const hr_hub_config *config = &request->home->hub->config;
    hr_http_name name =
        config->forwarded == HR_FORWARDED_RFC7239 ? HR_NAME_FORWARDED : HR_NAME_X_FORWARDED_FOR;
    hr_buf *list = &request->home->body;
    list->len = 0;
    if (hr_http1_known_joined(request->http, name, list) != HR_OK) {
        list->len = 0;
    }
    return hr_forwarded_client(hr_buf_slice(list), config->forwarded, config->trusted_proxies,
                               config->trusted_proxy_count, peer);
}

hr_address hr_request_peer(const hr_request *request) {
    HR_CHECK(request, HR_REQUEST_MAGIC);
    return request->session == NULL ? (hr_address){{0}} : peer_of(request->session);
}

hr_address hr_request_client(const hr_request *request) {
    hr_address peer = hr_request_peer(request);
    if (request->session == NULL || !is_proxy(request->home->hub, &peer)) {
        return peer;
    }
    if (request->kind == HR_REQUEST_HTTP) {
        return client_behind(request, &peer);
    }
    /* What the proxy said came with the handshake, whose reader has been counted by it. */
    return request->session->address_ticket == 0
               ? peer
               : hr__addresses_of(request->home->hub->addresses, request->session->address_ticket);
}

/* Of one address. ------------------------------------------------------------------------------ */

static hr_status enter(hr_session *session, const hr_address *address) {
    hr_hub *hub = session->home->hub;
    hr_address counted = hr_address_counted(address);
    hr_status status =
        hr__addresses_enter(hub->addresses, &counted, hub->config.connections_per_address_max,
                            &session->address_ticket);
    if (status == HR_EPEERS) {
        hr__count(&session->home->stats.address_refusals, 1);
    }
    return status;
}

static void leave(hr_session *session) {
    hr__addresses_leave(session->home->hub->addresses, session->address_ticket);
    session->address_ticket = 0;
}

hr__refusal hr__admit_session(hr_session *session) {
    hr_hub *hub = session->home->hub;
    if (hub->config.connections_per_address_max == 0) {
        return HR__ADMITTED;
    }
    /* A stream is of its connection's address; where that is not counted, a proxy has it. */
    hr_session *parent = hr__h2_parent(session);
    hr_address peer = {{0}};
    if (parent == NULL) {
        peer = peer_of(session);
    } else if (parent->address_ticket != 0) {
        peer = hr__addresses_of(hub->addresses, parent->address_ticket);
    }
    if (hr_address_is_none(&peer) || is_proxy(hub, &peer) || enter(session, &peer) == HR_OK) {
        return HR__ADMITTED;
    }
    session->home->refused_count++;
    return HR__OVER_ADDRESS;
}

/* Only what comes by a proxy has not been counted yet. It is also counted where there is no bound:
 * whoever asks later finds the client's address so. */
static hr_status admit_client(hr_session *session, const hr_request *request) {
    if (session->home->hub->config.forwarded == HR_FORWARDED_NONE || session->address_ticket != 0) {
        return HR_OK;
    }
    hr_address peer = peer_of(session);
    if (!is_proxy(session->home->hub, &peer)) {
        return HR_OK;
    }
    hr_address client = client_behind(request, &peer);
    hr_status status = enter(session, &client);
    session->is_reader_counted = status == HR_OK;
    return status;
}

void hr__dismiss_reader(hr_session *session) {
    if (session->is_reader_counted) {
        session->is_reader_counted = false;
        leave(session);
    }
}

void hr__dismiss_session(hr_session *session) {
    hr__dismiss_reader(session);
    if (session->address_ticket != 0) {
        leave(session);
    }
    if (session->refusal == HR__OVER_ADDRESS) {
        session->home->refused_count--;
    }
}

/* In a second. --------------------------------------------------------------------------------- */

/* A token bucket that holds a second's worth, kept as the time at which it is full again (the
 * "generic cell rate algorithm", ITU-T I.371): one word for all loops, so that a small rate is kept
 * exactly whatever their number and whichever of them the kernel gives the connections to. */
static bool take_token(hr_home *home) {
    hr_hub *hub = home->hub;
    uint64_t rate = hub->config.readers_per_second_max;
    if (rate == 0) {
        return true;
    }
    uint64_t step = (SECOND_NS + rate - 1) / rate;
    uint64_t now = hr_loop_time_now(home->loop).mono_ns;
    uint64_t due = atomic_load_explicit(&hub->reader_due_ns, memory_order_relaxed);
    uint64_t next = 0;
    do {
        next = (due > now ? due : now) + step;
        if (next - now > step * rate) {
            return false;
        }
    } while (!atomic_compare_exchange_weak_explicit(&hub->reader_due_ns, &due, next,
                                                    memory_order_relaxed, memory_order_relaxed));
    return true;
}

/* A poll takes no token: one that is held comes again after each event, and a bound on that would be
 * one on deliveries. */
hr_status hr__admit_reader(hr_session *session, const hr_request *request, hr_transport transport) {
    if (transport == HR_SHORTPOLL) {
        return HR_OK;
    }
    /* The address comes first: who is refused for it must not use up what others begin with. */
    hr_status status = admit_client(session, request);
    if (status == HR_OK && transport != HR_LONGPOLL && !take_token(session->home)) {
        hr__dismiss_reader(session);
        hr__count(&session->home->stats.busy_refusals, 1);
        status = HR_EBUSY;
    }
    return status;
}

uint32_t hr__retry_after_s(hr_home *home) {
    uint32_t most = home->hub->config.retry_after_s_max;
    return 1 + (most > 1 ? (uint32_t)(hr__random(home) % most) : 0);
}
