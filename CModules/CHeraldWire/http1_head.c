/* A head is judged as a whole, from its bytes as they came. llhttp has found the pieces; here
 * they must fill the head without remainder: one space, one colon, optional white space, CRLF. So
 * nothing that two parsers could read differently is let through, whatever llhttp tolerates. */
#include "http1_private.h"

#include <string.h>

static bool refuse(hr_http1 *http, hr_http_fault fault, const char *text) {
    hr__http1_fail(http, fault, text);
    return false;
}

static bool head_has(const hr_http1 *http, size_t at, const char *text, size_t len) {
    return http->head.len >= at + len && memcmp(http->head.data + at, text, len) == 0;
}

static bool is_digit(char c) { return c >= '0' && c <= '9'; }
static bool is_hex(char c) {
    return is_digit(c) || (c >= 'a' && c <= 'f') || (c >= 'A' && c <= 'F');
}

/* A registered name's characters (RFC 3986 §3.2.2), but for percent escapes. */
static bool is_name_char(char c) {
    return is_digit(c) || (c >= 'a' && c <= 'z') || (c >= 'A' && c <= 'Z') ||
           (c != 0 && strchr("-._~!$&'()*+,;=", c) != NULL);
}

/* Length of the host that text begins with; text.len + 1 when there is none. */
static size_t host_len(hr_slice text) {
    size_t i = 0;
    if (text.len > 0 && text.data[0] == '[') {
        for (i = 1;
             i < text.len && (is_hex(text.data[i]) || text.data[i] == ':' || text.data[i] == '.');
             i++) {
        }
        return i > 2 && i < text.len && text.data[i] == ']' ? i + 1 : text.len + 1;
    }
    while (i < text.len) {
        if (text.data[i] == '%' && text.len - i > 2 && is_hex(text.data[i + 1]) &&
            is_hex(text.data[i + 2])) {
            i += 3;
        } else if (is_name_char(text.data[i])) {
            i++;
        } else {
            break;
        }
    }
    return i;
}

/* Host = uri-host [ ":" port ] (RFC 9110 §7.2). An empty host is allowed: a client without an
 * authority must send one (RFC 9112 §3.2). */
static bool host_valid(hr_slice text) {
    size_t at = host_len(text);
    if (at >= text.len) {
        return at == text.len;
    }
    unsigned port = 0;
    if (text.data[at] != ':' || text.len - at > 6) {
        return false;
    }
    for (size_t i = at + 1; i < text.len; i++) {
        if (!is_digit(text.data[i])) {
            return false;
        }
        port = port * 10 + (unsigned)(text.data[i] - '0');
    }
    return port <= 65535;
}

/* Reduces http://host/path to /path (RFC 9112 §3.2.2): the origin server is us in any case. */
static bool reduce_absolute_form(hr_http1 *http) {
    hr_slice target = hr__http1_slice(http, http->said.target);
    uint32_t at = hr_slice_equal_nocase((hr_slice){target.data, 7}, HR_LIT("http://")) ? 7 : 8;
    uint32_t end = at;
    while (end < target.len && target.data[end] != '/' && target.data[end] != '?') {
        end++;
    }
    if (end == at || !host_valid((hr_slice){target.data + at, end - at})) {
        return refuse(http, HR_FAULT_HOST, "host of the request target is malformed");
    }
    if (end == target.len || target.data[end] == '?') {
        /* An empty path is "/", which the authority's last byte makes room for. */
        end--;
        http->head.data[http->said.target.at + end] = '/';
    }
    http->said.target.at += end;
    http->said.target.len -= end;
    return true;
}

static bool judge_target(hr_http1 *http) {
    hr_slice target = hr__http1_slice(http, http->said.target);
    for (size_t i = 0; i < target.len; i++) {
        if (target.data[i] <= ' ' || target.data[i] > '~' || target.data[i] == '#') {
            return refuse(http, HR_FAULT_REQUEST_LINE, "request target is malformed");
        }
    }
    if (target.len > 0 && target.data[0] == '/') {
        return true;
    }
    if (hr_slice_equal(target, HR_LIT("*")) && hr_http1_method(http) == HR_HTTP_OPTIONS) {
        return true;
    }
    if ((target.len > 7 && hr_slice_equal_nocase((hr_slice){target.data, 7}, HR_LIT("http://"))) ||
        (target.len > 8 && hr_slice_equal_nocase((hr_slice){target.data, 8}, HR_LIT("https://")))) {
        return reduce_absolute_form(http);
    }
    return refuse(http, HR_FAULT_REQUEST_LINE, "request target is not a path");
}

/* method SP target SP HTTP/1.x CRLF (RFC 9112 §3). *end: where the line ends. */
static bool judge_request_line(hr_http1 *http, size_t *end) {
    size_t space = http->said.method.len;
    size_t version = (size_t)http->said.target.at + http->said.target.len;
    if (http->torn || http->said.method.at != 0 || space == 0 ||
        http->said.target.at != space + 1 || !head_has(http, space, " ", 1) ||
        !head_has(http, version, " HTTP/", 6) || !head_has(http, version + 9, "\r\n", 2)) {
        return refuse(http, HR_FAULT_REQUEST_LINE, "request line is malformed");
    }
    if (!head_has(http, version, " HTTP/1.1", 9) && !head_has(http, version, " HTTP/1.0", 9)) {
        return refuse(http, HR_FAULT_VERSION, "HTTP version is not 1.0 or 1.1");
    }
    if (http->parser.method == HTTP_CONNECT) {
        return refuse(http, HR_FAULT_METHOD, "method is not implemented");
    }
    *end = version + 11;
    return judge_target(http);
}

static bool is_white(char c) { return c == ' ' || c == '\t'; }

static size_t after_white(const hr_http1 *http, size_t at) {
    while (at < http->head.len && is_white(http->head.data[at])) {
        at++;
    }
    return at;
}

/* name ":" OWS value OWS CRLF (RFC 9112 §5), beginning at *at and moving it past. Trims value. */
static bool judge_field_form(hr_http1 *http, http1_field *field, size_t *at) {
    size_t colon = *at + field->name.len;
    if (field->name.at != *at || field->name.len == 0 || !head_has(http, colon, ":", 1)) {
        return refuse(http, HR_FAULT_HEADER, "header field is malformed");
    }
    size_t begin = after_white(http, colon + 1);
    size_t end = begin + field->value.len;
    if (field->value.len > 0 && field->value.at != begin) {
        return refuse(http, HR_FAULT_HEADER, "header field is malformed");
    }
    end = after_white(http, end);
    if (!head_has(http, end, "\r\n", 2)) {
        return refuse(http, HR_FAULT_HEADER, "header field does not end in CRLF");
    }
    *at = end + 2;
    while (end > begin && is_white(http->head.data[end - 1])) {
        end--;
    }
    field->value = (http1_span){(uint32_t)begin, (uint32_t)(end - begin)};
    return true;
}

static bool judge_length(hr_http1 *http, hr_slice value) {
    if (http->said.has_length) {
        return refuse(http, HR_FAULT_LENGTH, "more than one Content-Length");
    }
    http->said.has_length = true;
    for (size_t i = 0; i < value.len; i++) {
        if (!is_digit(value.data[i])) {
            return refuse(http, HR_FAULT_LENGTH, "Content-Length is not a number");
        }
    }
    return value.len > 0 || refuse(http, HR_FAULT_LENGTH, "Content-Length is not a number");
}

/* RFC 9112 §6.1: a request whose last coding is not chunked has no certain end; other codings
 * before it we do not implement. */
static bool judge_transfer_encoding(hr_http1 *http, hr_slice value) {
    if (http->said.chunked || hr_http1_minor(http) == 0) {
        return refuse(http, HR_FAULT_LENGTH, "more than one Transfer-Encoding, or one in HTTP/1.0");
    }
    if (hr_slice_equal_nocase(value, HR_LIT("chunked"))) {
        http->said.chunked = true;
        return true;
    }
    return refuse(http, HR_FAULT_TRANSFER_ENCODING, "transfer coding other than chunked");
}

/* Notes the fields that decide about the message or the connection. */
static bool judge_field_meaning(hr_http1 *http, hr_slice name, hr_slice value) {
    switch (name.len) {
    case 4:
        if (hr_slice_equal_nocase(name, HR_LIT("Host"))) {
            if (http->said.has_host) {
                return refuse(http, HR_FAULT_HOST, "more than one Host");
            }
            http->said.has_host = true;
            return host_valid(value) || refuse(http, HR_FAULT_HOST, "Host is malformed");
        }
        break;
    case 6:
        if (hr_slice_equal_nocase(name, HR_LIT("Expect")) && hr_http1_minor(http) == 1 &&
            hr_slice_equal_nocase(value, HR_LIT("100-continue"))) {
            http->said.expects_continue = true;
        }
        break;
    case 14:
        if (hr_slice_equal_nocase(name, HR_LIT("Content-Length"))) {
            return judge_length(http, value);
        }
        break;
    case 17:
        if (hr_slice_equal_nocase(name, HR_LIT("Transfer-Encoding"))) {
            return judge_transfer_encoding(http, value);
        }
        break;
    default: break;
    }
    return true;
}

static const hr_slice known_names[HR_NAME_COUNT] = {
    [HR_NAME_ACCEPT] = {"Accept", 6},
    [HR_NAME_ACCEPT_ENCODING] = {"Accept-Encoding", 15},
    [HR_NAME_CONTENT_TYPE] = {"Content-Type", 12},
    [HR_NAME_HERALD_TYPE] = {"Herald-Type", 11},
    [HR_NAME_IDEMPOTENCY_KEY] = {"Idempotency-Key", 15},
    [HR_NAME_IF_NONE_MATCH] = {"If-None-Match", 13},
    [HR_NAME_LAST_EVENT_ID] = {"Last-Event-ID", 13},
    [HR_NAME_PREFER] = {"Prefer", 6},
    [HR_NAME_WS_EXTENSIONS] = {"Sec-WebSocket-Extensions", 24},
    [HR_NAME_WS_KEY] = {"Sec-WebSocket-Key", 17},
    [HR_NAME_WS_VERSION] = {"Sec-WebSocket-Version", 21},
    [HR_NAME_CE_ID] = {"ce-id", 5},
    [HR_NAME_CE_SOURCE] = {"ce-source", 9},
    [HR_NAME_CE_SPECVERSION] = {"ce-specversion", 14},
    [HR_NAME_CE_TYPE] = {"ce-type", 7},
    [HR_NAME_AUTHORIZATION] = {"Authorization", 13},
    [HR_NAME_COOKIE] = {"Cookie", 6},
    [HR_NAME_ORIGIN] = {"Origin", 6},
    [HR_NAME_FORWARDED] = {"Forwarded", 9},
    [HR_NAME_X_FORWARDED_FOR] = {"X-Forwarded-For", 15},
};

/* Those whose value is a list (RFC 9110 §5.3). Of any other, who stands before us may have taken the
 * second where we would take the first. */
static bool may_repeat(size_t name) {
    return name == HR_NAME_ACCEPT || name == HR_NAME_ACCEPT_ENCODING ||
           name == HR_NAME_IF_NONE_MATCH || name == HR_NAME_PREFER ||
           name == HR_NAME_WS_EXTENSIONS || name == HR_NAME_FORWARDED ||
           name == HR_NAME_X_FORWARDED_FOR;
}

static bool note_name(hr_http1 *http, uint32_t index) {
    hr_slice name = hr__http1_slice(http, http->fields[index].name);
    for (size_t i = 0; i < HR_NAME_COUNT; i++) {
        if (!hr_slice_equal_nocase(name, known_names[i])) {
            continue;
        }
        uint32_t *place = &http->said.known[i];
        if (*place == 0) {
            *place = index + 1;
            return true;
        }
        return may_repeat(i) ||
               refuse(http, HR_FAULT_HEADER, "header field that has one value comes twice");
    }
    return true;
}

/* What Connection asks for. An HTTP/1.0 peer's Upgrade is not meant for us (RFC 9110 §7.8). */
static void note_connection(hr_http1 *http) {
    const hr_slice connection = HR_LIT("Connection");
    bool persists = hr_http1_minor(http) == 1;
    hr_slice ignored;
    http->said.keep_alive = persists;
    if (!hr_http1_header(http, connection, &ignored)) {
        return;
    }
    http->said.keep_alive =
        !hr_http1_header_has_token(http, connection, HR_LIT("close")) &&
        (persists || hr_http1_header_has_token(http, connection, HR_LIT("keep-alive")));
    http->said.upgrades = persists && hr_http1_header(http, HR_LIT("Upgrade"), &ignored) &&
                          hr_http1_header_has_token(http, connection, HR_LIT("upgrade"));
}

/* A chunked body needs the parser where this head left it. An absolute target was changed where it
 * lies. */
static void note_repeatable(hr_http1 *http) {
    http1_said *said = &http->said;
    bool is_whole = said->target.at == said->method.len + 1;
    said->verb = http->parser.method;
    said->minor = http->parser.http_minor;
    said->length = http->parser.content_length;
    said->len = is_whole && !said->chunked ? http->head.len : 0;
}

bool hr__http1_judge_head(hr_http1 *http) {
    size_t at = 0;
    if (!judge_request_line(http, &at)) {
        return false;
    }
    for (uint32_t i = 0; i < http->said.field_count; i++) {
        http1_field *field = &http->fields[i];
        if (!judge_field_form(http, field, &at) ||
            !judge_field_meaning(http, hr__http1_slice(http, field->name),
                                 hr__http1_slice(http, field->value)) ||
            !note_name(http, i)) {
            return false;
        }
    }
    if (at + 2 != http->head.len || !head_has(http, at, "\r\n", 2)) {
        return refuse(http, HR_FAULT_HEADER, "header field is malformed");
    }
    if (!http->said.has_host && hr_http1_minor(http) == 1) {
        return refuse(http, HR_FAULT_HOST, "Host is missing");
    }
    if (http->said.chunked && http->said.has_length) {
        return refuse(http, HR_FAULT_LENGTH, "Content-Length together with Transfer-Encoding");
    }
    note_connection(http);
    note_repeatable(http);
    return true;
}

bool hr_http1_begun(const hr_http1 *http) {
    HR_CHECK(http, HTTP1_MAGIC);
    return http->begun;
}

hr_http_fault hr_http1_fault(const hr_http1 *http) {
    HR_CHECK(http, HTTP1_MAGIC);
    return http->fault;
}

const char *hr_http1_fault_text(const hr_http1 *http) {
    HR_CHECK(http, HTTP1_MAGIC);
    return http->fault_text == NULL ? "no fault" : http->fault_text;
}

unsigned hr_http_fault_status(hr_http_fault fault) {
    switch (fault) {
    case HR_FAULT_NONE: return 200;
    case HR_FAULT_REQUEST_LINE:
    case HR_FAULT_HEADER:
    case HR_FAULT_HOST:
    case HR_FAULT_LENGTH:
    case HR_FAULT_CHUNK: return 400;
    case HR_FAULT_METHOD:
    case HR_FAULT_TRANSFER_ENCODING: return 501;
    case HR_FAULT_VERSION: return 505;
    case HR_FAULT_TARGET_LEN: return 414;
    case HR_FAULT_HEAD_LEN: return 431;
    case HR_FAULT_BODY_LEN: return 413;
    case HR_FAULT_MEMORY: return 503;
    }
    HR_ASSERT(false);
}

hr_http_method hr_http1_method(const hr_http1 *http) {
    HR_CHECK(http, HTTP1_MAGIC);
    switch (http->parser.method) {
    case HTTP_GET: return HR_HTTP_GET;
    case HTTP_HEAD: return HR_HTTP_HEAD;
    case HTTP_POST: return HR_HTTP_POST;
    case HTTP_PUT: return HR_HTTP_PUT;
    case HTTP_DELETE: return HR_HTTP_DELETE;
    case HTTP_OPTIONS: return HR_HTTP_OPTIONS;
    case HTTP_PATCH: return HR_HTTP_PATCH;
    default: return HR_HTTP_OTHER;
    }
}

hr_slice hr_http1_method_text(const hr_http1 *http) {
    HR_CHECK(http, HTTP1_MAGIC);
    return hr__http1_slice(http, http->said.method);
}

hr_slice hr_http1_target(const hr_http1 *http) {
    HR_CHECK(http, HTTP1_MAGIC);
    return hr__http1_slice(http, http->said.target);
}

unsigned hr_http1_minor(const hr_http1 *http) {
    HR_CHECK(http, HTTP1_MAGIC);
    return http->parser.http_minor;
}

bool hr_http1_keep_alive(const hr_http1 *http) {
    HR_CHECK(http, HTTP1_MAGIC);
    return http->said.keep_alive;
}

bool hr_http1_expects_continue(const hr_http1 *http) {
    HR_CHECK(http, HTTP1_MAGIC);
    return http->said.expects_continue;
}

bool hr_http1_upgrades(const hr_http1 *http) {
    HR_CHECK(http, HTTP1_MAGIC);
    return http->said.upgrades;
}

size_t hr_http1_header_count(const hr_http1 *http) {
    HR_CHECK(http, HTTP1_MAGIC);
    return http->said.field_count;
}

void hr_http1_header_at(const hr_http1 *http, size_t index, hr_slice *name, hr_slice *value) {
    HR_CHECK(http, HTTP1_MAGIC);
    HR_ASSERT(index < http->said.field_count);
    *name = hr__http1_slice(http, http->fields[index].name);
    *value = hr__http1_slice(http, http->fields[index].value);
}

bool hr_http1_known(const hr_http1 *http, hr_http_name name, hr_slice *value) {
    HR_CHECK(http, HTTP1_MAGIC);
    uint32_t place = http->said.known[name];
    if (place == 0) {
        return false;
    }
    *value = hr__http1_slice(http, http->fields[place - 1].value);
    return true;
}

hr_status hr_http1_known_joined(const hr_http1 *http, hr_http_name name, hr_buf *out) {
    HR_CHECK(http, HTTP1_MAGIC);
    size_t before = out->len;
    hr_status status = HR_OK;
    uint32_t place = http->said.known[name];
    for (uint32_t i = place - 1; place != 0 && i < http->said.field_count; i++) {
        if (!hr_slice_equal_nocase(hr__http1_slice(http, http->fields[i].name),
                                   known_names[name])) {
            continue;
        }
        const hr_slice parts[] = {out->len > before ? HR_LIT(", ") : HR_LIT(""),
                                  hr__http1_slice(http, http->fields[i].value)};
        status = HR_BUF_APPEND_ALL(out, parts);
        if (status != HR_OK) {
            out->len = before;
            break;
        }
    }
    return status;
}

bool hr_http1_header(const hr_http1 *http, hr_slice name, hr_slice *value) {
    HR_CHECK(http, HTTP1_MAGIC);
    for (uint32_t i = 0; i < http->said.field_count; i++) {
        if (hr_slice_equal_nocase(hr__http1_slice(http, http->fields[i].name), name)) {
            *value = hr__http1_slice(http, http->fields[i].value);
            return true;
        }
    }
    return false;
}

/* Whether the comma-separated list holds token (RFC 9110 §5.6.1). */
static bool list_has_token(hr_slice list, hr_slice token) {
    size_t begin = 0;
    while (begin < list.len) {
        size_t end = begin;
        while (end < list.len && list.data[end] != ',') {
            end++;
        }
        hr_slice item = {list.data + begin, end - begin};
        while (item.len > 0 && is_white(item.data[0])) {
            item.data++;
            item.len--;
        }
        while (item.len > 0 && is_white(item.data[item.len - 1])) {
            item.len--;
        }
        if (hr_slice_equal_nocase(item, token)) {
            return true;
        }
        begin = end + 1;
    }
    return false;
}

bool hr_http1_header_has_token(const hr_http1 *http, hr_slice name, hr_slice token) {
    HR_CHECK(http, HTTP1_MAGIC);
    for (uint32_t i = 0; i < http->said.field_count; i++) {
        if (hr_slice_equal_nocase(hr__http1_slice(http, http->fields[i].name), name) &&
            list_has_token(hr__http1_slice(http, http->fields[i].value), token)) {
            return true;
        }
    }
    return false;
}

hr_slice hr_http1_body(const hr_http1 *http) {
    HR_CHECK(http, HTTP1_MAGIC);
    return hr_buf_slice(&http->body);
}
