/* Leases: how a reader is reached by those who know why it is there. */
#include "hub_private.h"

#include <stdlib.h>
#include <string.h>

struct hr_lease {
    HR_MAGIC_FIELD;
    _Atomic uint32_t refs;
    hr_home *home;
    hr_session *session; /* LOOP; NULL: no reader has it, or none any more */
    void *context;
    hr_link gone; /* in home->leases_gone, which holds the reader's reference then */
};

/* What is to be done to a lease's reader, on its way to the loop. */
typedef struct letter {
    hr_lease *lease;
    bool is_end;
    unsigned status;
    uint16_t code;
    hr_slice texts[3]; /* name or reason, members, challenge: behind the struct */
} letter;

enum { NAME, MEMBERS, CHALLENGE, TEXT_COUNT };

hr_status hr_lease_new(const hr_request *request, hr_lease **out) {
    HR_CHECK(request, HR_REQUEST_MAGIC);
    hr_lease *lease = calloc(1, sizeof *lease);
    if (lease == NULL) {
        return HR_ENOMEM;
    }
    HR_MAGIC_SET(lease, HR_LEASE_MAGIC);
    atomic_init(&lease->refs, 1);
    lease->home = request->home;
    hr_link_init(&lease->gone);
    *out = lease;
    return HR_OK;
}

hr_lease *hr_lease_ref(hr_lease *lease) {
    HR_CHECK(lease, HR_LEASE_MAGIC);
    atomic_fetch_add_explicit(&lease->refs, 1, memory_order_relaxed);
    return lease;
}

void hr_lease_unref(hr_lease **handle) {
    hr_lease *lease = *handle;
    HR_CHECK(lease, HR_LEASE_MAGIC);
    *handle = NULL;
    if (atomic_fetch_sub_explicit(&lease->refs, 1, memory_order_acq_rel) == 1) {
        HR_ASSERT(lease->session == NULL && !hr_link_linked(&lease->gone));
        HR_MAGIC_CLEAR(lease);
        free(lease);
    }
}

void hr_lease_set_context(hr_lease *lease, void *context) {
    HR_CHECK(lease, HR_LEASE_MAGIC);
    HR_ASSERT(lease->context == NULL && lease->session == NULL);
    lease->context = context;
}

void *hr_lease_context(const hr_lease *lease) {
    HR_CHECK(lease, HR_LEASE_MAGIC);
    return lease->context;
}

hr_lease *hr_request_lease(const hr_request *request) {
    HR_CHECK(request, HR_REQUEST_MAGIC);
    HR_ASSERT(request->kind == HR_REQUEST_COMMAND);
    return request->session == NULL ? NULL : request->session->reader.lease;
}

/* Readers' leases. ----------------------------------------------------------------------------- */

/* The reader's reference goes over to the list of those that are gone. */
static void part(hr_home *home, hr_lease *lease) {
    lease->session = NULL;
    hr_list_push_back(&home->leases_gone, &lease->gone);
    hr_loop_wake(home->loop);
}

void hr__lease_join(hr_home *home, hr_lease *lease, hr_session *session) {
    if (lease == NULL) {
        return;
    }
    HR_CHECK(lease, HR_LEASE_MAGIC);
    HR_ASSERT(lease->session == NULL && lease->home == home);
    (void)hr_lease_ref(lease);
    if (session == NULL || !session->reader.counted) {
        part(home, lease);
        return;
    }
    HR_ASSERT(session->reader.lease == NULL);
    lease->session = session;
    session->reader.lease = lease;
}

void hr__lease_leave(hr_reader *reader) {
    hr_lease *lease = reader->lease;
    if (lease != NULL) {
        HR_CHECK(lease, HR_LEASE_MAGIC);
        reader->lease = NULL;
        part(lease->home, lease);
    }
}

/* Readers may go in the middle of a fan-out; the handler is told of many at once, behind it. */
void hr__leases_tell_gone(hr_home *home) {
    void *contexts[HR_LEASES_GONE_MAX];
    hr_lease *leases[HR_LEASES_GONE_MAX];
    while (!hr_list_empty(&home->leases_gone)) {
        size_t count = 0;
        while (count < HR_LEASES_GONE_MAX && !hr_list_empty(&home->leases_gone)) {
            hr_lease *lease = HR_CONTAINER_OF(home->leases_gone.next, hr_lease, gone);
            HR_CHECK(lease, HR_LEASE_MAGIC);
            hr_link_remove(&lease->gone);
            leases[count] = lease;
            contexts[count++] = lease->context;
        }
        home->hub->handler.on_leases_gone(contexts, count, home->hub->handler.context);
        for (size_t i = 0; i < count; i++) {
            hr_lease_unref(&leases[i]);
        }
    }
}

/* Letters. ------------------------------------------------------------------------------------- */

static void end_reader(hr_session *session, const letter *mail) {
    const hr_lease_end end = {.status = mail->status,
                              .members = mail->texts[MEMBERS],
                              .challenge = mail->texts[CHALLENGE],
                              .code = mail->code,
                              .text = mail->texts[NAME]};
    if (session->mode == HR_MODE_POLL) {
        hr__poll_end(session, &end);
    } else {
        hr__stream_end_lease(session, &end);
    }
}

static void open_letter(void *context) {
    letter *mail = context;
    hr_session *session = mail->lease->session;
    if (session != NULL && hr_conn_is_open(&session->conn)) {
        if (mail->is_end) {
            end_reader(session, mail);
        } else {
            hr__stream_tell(session, mail->texts[NAME], mail->texts[MEMBERS]);
        }
    }
    hr_lease_unref(&mail->lease);
    free(mail);
}

/* Sends what *draft says, with texts of its own. */
static hr_status post(hr_lease *lease, const letter *draft) {
    HR_CHECK(lease, HR_LEASE_MAGIC);
    size_t len = 0;
    for (size_t i = 0; i < TEXT_COUNT; i++) {
        len += draft->texts[i].len;
    }
    letter *mail = malloc(sizeof *mail + len);
    if (mail == NULL) {
        return HR_ENOMEM;
    }
    *mail = *draft;
    char *at = (char *)(mail + 1);
    for (size_t i = 0; i < TEXT_COUNT; i++) {
        if (draft->texts[i].len > 0) {
            memcpy(at, draft->texts[i].data, draft->texts[i].len);
        }
        mail->texts[i].data = at;
        at += draft->texts[i].len;
    }
    mail->lease = hr_lease_ref(lease);
    hr_status status = hr_loop_post(lease->home->loop, open_letter, mail);
    if (status != HR_OK) {
        hr_lease_unref(&mail->lease);
        free(mail);
    }
    return status;
}

hr_status hr_lease_tell(hr_lease *lease, hr_slice name, hr_slice members) {
    const letter draft = {.texts = {[NAME] = name, [MEMBERS] = members}};
    return post(lease, &draft);
}

hr_status hr_lease_end_reader(hr_lease *lease, const hr_lease_end *end) {
    const letter draft = {
        .is_end = true,
        .status = end->status,
        .code = end->code,
        .texts = {[NAME] = end->text, [MEMBERS] = end->members, [CHALLENGE] = end->challenge}};
    return post(lease, &draft);
}
