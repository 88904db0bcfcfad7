#include "CHeraldWire.h"

/* An element of RFC 7239 that is longer than its quoted strings may be, once their escapes are
 * undone, is none that a proxy writes. */
#define NODE_LEN_MAX 64u

/* RFC 9110 §5.6.2 */
static bool is_token_char(char c) {
    char lower = (char)(c | 0x20);
    return (lower >= 'a' && lower <= 'z') || (c >= '0' && c <= '9') ||
           (c != 0 && strchr("!#$%&'*+-.^_`|~", c) != NULL);
}

/* Whether the quote at index is escaped: an odd number of backslashes stands before it. */
static bool is_escaped(hr_slice text, size_t index) {
    size_t count = 0;
    while (index > count && text.data[index - 1 - count] == '\\') {
        count++;
    }
    return count % 2 == 1;
}

/* Where the last element of list begins. Strings are passed from their closing quotes to their
 * opening ones: an opening quote that a client left without its end does not reach what a proxy
 * wrote behind it. False: the last element begins in a string that was never opened. */
static bool find_last(hr_slice list, bool has_strings, size_t *begin) {
    bool in_string = false;
    for (size_t i = list.len; i > 0; i--) {
        char c = list.data[i - 1];
        if (c == '"' && has_strings && !(in_string && is_escaped(list, i - 1))) {
            in_string = !in_string;
        } else if (c == ',' && !in_string) {
            *begin = i;
            return true;
        }
    }
    *begin = 0;
    return !in_string;
}

/* Takes the last element off list; false: there is none, or it has no certain beginning. */
static bool take_last(hr_slice *list, bool has_strings, hr_slice *element) {
    do {
        size_t begin = 0;
        *list = hr_slice_trim(*list);
        if (list->len == 0 || !find_last(*list, has_strings, &begin)) {
            return false;
        }
        *element = hr_slice_trim((hr_slice){list->data + begin, list->len - begin});
        list->len = begin == 0 ? 0 : begin - 1;
    } while (element->len == 0); /* RFC 9110 §5.6.1: an empty element is passed over */
    return true;
}

/* Reads a value, a token or a quoted string without its escapes, that rest begins with, and takes it
 * off. A value longer than NODE_LEN_MAX is cut to none. False: malformed. */
static bool read_value(hr_slice *rest, char out[NODE_LEN_MAX], size_t *len) {
    size_t at = 0;
    size_t count = 0;
    bool is_string = rest->len > 0 && rest->data[0] == '"';
    bool is_closed = !is_string;
    for (at = is_string ? 1 : 0; at < rest->len; at++) {
        char c = rest->data[at];
        if (is_string && c == '"') {
            is_closed = true;
            at++;
            break;
        }
        if (is_string && c == '\\') {
            at++;
            if (at == rest->len) {
                return false;
            }
            c = rest->data[at];
        } else if (!is_string && !is_token_char(c)) {
            break;
        }
        if (count < NODE_LEN_MAX) {
            out[count] = c;
        }
        count++;
    }
    *rest = (hr_slice){rest->data + at, rest->len - at};
    *len = count <= NODE_LEN_MAX ? count : 0;
    return is_closed && count > 0;
}

static hr_slice take_name(hr_slice *rest) {
    hr_slice name = {rest->data, 0};
    while (name.len < rest->len && is_token_char(rest->data[name.len])) {
        name.len++;
    }
    *rest = (hr_slice){rest->data + name.len, rest->len - name.len};
    return name;
}

/* Takes a semicolon off, or sees that nothing is left. */
static bool take_semicolon(hr_slice *rest) {
    *rest = hr_slice_trim(*rest);
    if (rest->len > 0 && rest->data[0] == ';') {
        *rest = hr_slice_trim((hr_slice){rest->data + 1, rest->len - 1});
        return true;
    }
    return rest->len == 0;
}

/* The address of the element's for=, which must be there once (RFC 7239 §4). */
static bool read_element(hr_slice rest, hr_address *out) {
    bool has_for = false;
    while (rest.len > 0) {
        char value[NODE_LEN_MAX];
        size_t len = 0;
        if (rest.data[0] != ';') {
            hr_slice name = take_name(&rest);
            if (name.len == 0 || rest.len == 0 || rest.data[0] != '=') {
                return false;
            }
            rest = (hr_slice){rest.data + 1, rest.len - 1};
            if (!read_value(&rest, value, &len)) {
                return false;
            }
            if (hr_slice_equal_nocase(name, HR_LIT("for"))) {
                if (has_for || hr_address_parse_node((hr_slice){value, len}, out) != HR_OK) {
                    return false;
                }
                has_for = true;
            }
        }
        if (!take_semicolon(&rest)) {
            return false;
        }
    }
    return has_for;
}

hr_address hr_forwarded_client(hr_slice list, hr_forwarded_form form,
                               const hr_address_range *ranges, size_t range_count,
                               const hr_address *peer) {
    hr_address client = *peer;
    hr_slice element;
    bool has_strings = form == HR_FORWARDED_RFC7239;
    while (form != HR_FORWARDED_NONE && hr_address_ranges_have(ranges, range_count, &client) &&
           take_last(&list, has_strings, &element)) {
        hr_address next;
        bool is_good = has_strings ? read_element(element, &next)
                                   : hr_address_parse_node(element, &next) == HR_OK;
        if (!is_good) {
            break;
        }
        client = next;
    }
    return client;
}
