/* Interests: what one loop has readers for. The log knows no single reader, only
 * how many stand behind an interest. */
#include "log_private.h"

#include <stdlib.h>

/* The policy that all filters have in common; else the one that loses nothing that
 * can be kept and cuts nobody off. */
static hr_slow_policy slow_policy_of(const hr_log *log, const hr_slice *filters, size_t count) {
    hr_slow_policy common = HR_SLOW_GAP;
    for (size_t i = 0; i < count; i++) {
        hr_slow_policy policy = HR_SLOW_GAP;
        for (size_t n = 0; n < log->config.rule_count; n++) {
            if (hr_filter_covers(log->rules[n].filter, filters[i])) {
                policy = log->rules[n].slow;
                break;
            }
        }
        if (i > 0 && policy != common) {
            return HR_SLOW_GAP;
        }
        common = policy;
    }
    return common;
}

/* Only filters without other readers count as new against the limit. */
static hr_status hold_all(hr_log *log, hr_interest *interest, const hr_slice *filters) {
    uint64_t new_count = 0;
    hr_status status = HR_OK;
    size_t held = 0;
    while (held < interest->filter_count && status == HR_OK) {
        status = hr__filter_hold(log, filters[held], &interest->filters[held].filter);
        if (status == HR_OK) {
            new_count += interest->filters[held].filter->user_count == 0 ? 1 : 0;
            held++;
        }
    }
    if (status == HR_OK && log->filter_count + new_count > log->config.filter_count_max) {
        status = HR_ELIMIT;
    }
    while (status != HR_OK && held > 0) {
        hr__filter_release(log, interest->filters[--held].filter);
    }
    return status;
}

static hr_status join_all(hr_log *log, hr_interest *interest) {
    for (size_t i = 0; i < interest->filter_count; i++) {
        hr_status status = hr__filter_add_user(log, interest, i);
        if (status != HR_OK) {
            while (i-- > 0) {
                hr__filter_remove_user(log, interest, i);
            }
            return status;
        }
    }
    return HR_OK;
}

static void release_all(hr_log *log, hr_interest *interest) {
    for (size_t i = 0; i < interest->filter_count; i++) {
        hr__filter_release(log, interest->filters[i].filter);
    }
}

/* since is taken in the same critical section in which the filters are linked: every event
 * after it carries their ids. */
hr_status hr_interest_open(hr_log *log, unsigned loop, hr_transport transport,
                           const hr_slice *filters, size_t count, hr_interest **out) {
    HR_CHECK(log, HR__LOG_MAGIC);
    HR_ASSERT(loop < HR_LOOP_COUNT_MAX && transport < HR_TRANSPORT_COUNT && count > 0);
    hr_interest *interest = malloc(sizeof *interest + count * sizeof *interest->filters);
    if (interest == NULL) {
        return HR_ENOMEM;
    }
    *interest =
        (hr_interest){.loop = loop, .transport = transport, .log = log, .filter_count = count};
    HR_MAGIC_SET(interest, HR__INTEREST_MAGIC);
    atomic_init(&interest->members, 0);
    interest->slow = slow_policy_of(log, filters, count);
    hr__log_lock(log);
    hr_status status = hold_all(log, interest, filters);
    if (status == HR_OK) {
        status = join_all(log, interest);
        if (status != HR_OK) {
            release_all(log, interest);
        }
    }
    interest->since = hr__log_head(log);
    hr__log_unlock(log);
    if (status != HR_OK) {
        free(interest);
        return status;
    }
    *out = interest;
    return HR_OK;
}

/* Allocates nothing, so it cannot fail: the filters are unlinked later, by hr_log_tick. */
void hr_interest_close(hr_interest **interest_place) {
    hr_interest *interest = *interest_place;
    HR_CHECK(interest, HR__INTEREST_MAGIC);
    hr_log *log = hr__log_lock(interest->log);
    for (size_t i = 0; i < interest->filter_count; i++) {
        hr__filter_remove_user(log, interest, i);
    }
    release_all(log, interest);
    hr__log_unlock(log);
    HR_MAGIC_CLEAR(interest);
    free(interest);
    *interest_place = NULL;
}

size_t hr_interest_filter_count(const hr_interest *interest) {
    HR_CHECK(interest, HR__INTEREST_MAGIC);
    return interest->filter_count;
}

/* A filter's id and text don't change while it is held: no lock. */
static const hr__filter *filter_at(const hr_interest *interest, size_t index) {
    HR_CHECK(interest, HR__INTEREST_MAGIC);
    HR_ASSERT(index < interest->filter_count);
    return interest->filters[index].filter;
}

uint32_t hr_interest_filter_id(const hr_interest *interest, size_t index) {
    return filter_at(interest, index)->id;
}

hr_slice hr_interest_filter(const hr_interest *interest, size_t index) {
    return hr__filter_text(filter_at(interest, index));
}

hr_slow_policy hr_interest_slow_policy(const hr_interest *interest) {
    HR_CHECK(interest, HR__INTEREST_MAGIC);
    return interest->slow;
}

uint64_t hr_interest_since(const hr_interest *interest) {
    HR_CHECK(interest, HR__INTEREST_MAGIC);
    return interest->since;
}

void hr_interest_members_set(hr_interest *interest, uint32_t members) {
    HR_CHECK(interest, HR__INTEREST_MAGIC);
    atomic_store_explicit(&interest->members, members, memory_order_relaxed);
}

uint32_t hr_log_filter_id_limit(hr_log *log) {
    hr__log_lock(log);
    uint32_t limit = log->filter_limit;
    hr__log_unlock(log);
    return limit;
}
