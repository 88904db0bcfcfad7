/* The grammar of names. Whatever is built on it may rely on it: tries recurse at
 * most HR_SEGMENT_COUNT_MAX deep because no longer name gets past these checks. */
#include "names_private.h"

static bool fail(hr_name_fault *fault, const char *what, unsigned number, hr_slice text) {
    if (fault != NULL) {
        *fault = (hr_name_fault){.what = what, .segment = number, .text = text};
    }
    return false;
}

static bool is_name_char(char c) {
    return (c >= 'a' && c <= 'z') || (c >= 'A' && c <= 'Z') || (c >= '0' && c <= '9') || c == '-' ||
           c == '_' || c == '.' || c == '~' || c == ':' || c == '@';
}

/* What is wrong with a segment that is not a wildcard, or NULL. */
static const char *segment_fault(hr_slice segment, bool is_filter) {
    if (segment.len == 0) {
        return "is empty";
    }
    if (segment.len > HR_SEGMENT_LEN_MAX) {
        return "is longer than 128 bytes";
    }
    for (size_t i = 0; i < segment.len; i++) {
        if (segment.data[i] == '*') {
            return is_filter ? "mixes * with other characters"
                             : "holds *, which only filters may have";
        }
        if (!is_name_char(segment.data[i])) {
            return "holds a character other than A-Z a-z 0-9 - _ . ~ : @";
        }
    }
    return NULL;
}

static bool check(hr_slice name, bool is_filter, hr_name_fault *fault) {
    if (name.len == 0) {
        return fail(fault, "is empty", 0, name);
    }
    unsigned number = 0;
    hr_slice rest = name;
    hr_slice segment;
    while (hr__segment_next(&rest, &segment)) {
        if (++number > HR_SEGMENT_COUNT_MAX) {
            return fail(fault, "has more than 32 segments", 0, (hr_slice){NULL, 0});
        }
        if (is_filter && hr__segment_is_star(segment)) {
            continue;
        }
        if (is_filter && hr__segment_is_stars(segment)) {
            if (rest.data != NULL) {
                return fail(fault, "is ** but not the last segment", number, segment);
            }
            continue;
        }
        const char *what = segment_fault(segment, is_filter);
        if (what != NULL) {
            return fail(fault, what, number, segment);
        }
    }
    if (fault != NULL) {
        *fault = (hr_name_fault){0};
    }
    return true;
}

bool hr_topic_check(hr_slice name, hr_name_fault *fault) { return check(name, false, fault); }

bool hr_filter_check(hr_slice name, hr_name_fault *fault) { return check(name, true, fault); }

bool hr_topic_is_reserved(hr_slice topic) { return hr__segment_is_reserved(topic); }

bool hr_filter_is_exact(hr_slice filter) {
    return filter.len == 0 || memchr(filter.data, '*', filter.len) == NULL;
}

bool hr_filter_matches(hr_slice filter, hr_slice topic) {
    bool is_first = true;
    hr_slice wanted;
    hr_slice given;
    while (hr__segment_next(&filter, &wanted)) {
        bool is_hidden = is_first && hr__segment_is_reserved(topic);
        if (hr__segment_is_stars(wanted)) {
            return topic.data != NULL && !is_hidden;
        }
        if (!hr__segment_next(&topic, &given)) {
            return false;
        }
        if (hr__segment_is_star(wanted) ? is_hidden : !hr_slice_equal(wanted, given)) {
            return false;
        }
        is_first = false;
    }
    return topic.data == NULL;
}

bool hr_filter_covers(hr_slice outer, hr_slice inner) {
    unsigned number = 0;
    hr_slice wide;
    hr_slice narrow;
    while (hr__segment_next(&outer, &wide)) {
        bool is_hidden = number == 0 && hr__segment_is_reserved(inner);
        if (hr__segment_is_stars(wide)) {
            return inner.data != NULL && !is_hidden;
        }
        if (!hr__segment_next(&inner, &narrow)) {
            return false;
        }
        /* ** in the last place that a name can have is one segment, no more. */
        if (hr__segment_is_stars(narrow) && number + 1 < HR_SEGMENT_COUNT_MAX) {
            return false;
        }
        if (hr__segment_is_star(wide) ? is_hidden : !hr_slice_equal(wide, narrow)) {
            return false;
        }
        number++;
    }
    return inner.data == NULL;
}
