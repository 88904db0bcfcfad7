/* Validation is one loop with a bit for each open container instead of recursion: the peer
 * chooses the depth, and the stack must not be what bounds it. Walking a validated value does
 * not validate again; it only finds ends. */
#include "codec_private.h"

void hr_json_position(hr_slice text, size_t offset, uint32_t *line, uint32_t *column) {
    HR_ASSERT(offset <= text.len);
    size_t lines = 1;
    size_t begin = 0;
    while (begin < offset) {
        const char *feed = memchr(text.data + begin, '\n', offset - begin);
        if (feed == NULL) {
            break;
        }
        begin = (size_t)(feed - text.data) + 1;
        lines++;
    }
    size_t columns = offset - begin + 1;
    *line = lines > UINT32_MAX ? UINT32_MAX : (uint32_t)lines;
    *column = columns > UINT32_MAX ? UINT32_MAX : (uint32_t)columns;
}

static hr_status fail(hr_json_cursor *cursor, size_t at, const char *what) {
    cursor->at = at;
    cursor->error.what = at == cursor->text.len ? "unexpected end of text" : what;
    cursor->error.offset = at;
    hr_json_position(cursor->text, at, &cursor->error.line, &cursor->error.column);
    return HR_EINVAL;
}

static bool is_space(char c) { return c == ' ' || c == '\n' || c == '\r' || c == '\t'; }
static bool is_digit(char c) { return c >= '0' && c <= '9'; }

static size_t skip_space(hr_slice text, size_t at) {
    while (at < text.len && is_space(text.data[at])) {
        at++;
    }
    return at;
}

/* The byte that begins the next token, or NUL at the end: a NUL is no token either. */
static char next_token(hr_json_cursor *cursor) {
    cursor->at = skip_space(cursor->text, cursor->at);
    return cursor->at < cursor->text.len ? cursor->text.data[cursor->at] : '\0';
}

/* How many bytes from text on are ASCII that stands for itself inside a string. */
static size_t plain_len(const char *text, size_t len) {
    size_t at = 0;
    for (; len - at >= 8; at += 8) {
        uint64_t word = hr__word(text + at);
        uint64_t stops = hr__marks_of(word, '"') | hr__marks_of(word, '\\') |
                         hr__marks_of_controls(word) | (word & HR__HIGHS);
        if (stops != 0) {
            return at + hr__first_mark(stops);
        }
    }
    while (at < len && (unsigned char)text[at] >= 0x20 && (unsigned char)text[at] < 0x80 &&
           text[at] != '"' && text[at] != '\\') {
        at++;
    }
    return at;
}

#define NO_UNIT UINT32_MAX

/* The UTF-16 unit that four hex digits name. */
static uint32_t hex_unit(const char *text) {
    uint32_t unit = 0;
    for (unsigned i = 0; i < 4; i++) {
        char c = text[i];
        uint32_t digit;
        if (is_digit(c)) {
            digit = (uint32_t)(c - '0');
        } else if ((c >= 'a' && c <= 'f') || (c >= 'A' && c <= 'F')) {
            digit = (uint32_t)((c | 0x20) - 'a') + 10;
        } else {
            return NO_UNIT;
        }
        unit = unit << 4 | digit;
    }
    return unit;
}

static bool is_high_surrogate(uint32_t unit) { return unit >= 0xD800 && unit <= 0xDBFF; }
static bool is_low_surrogate(uint32_t unit) { return unit >= 0xDC00 && unit <= 0xDFFF; }

/* The length of the escape at text, which begins with a backslash; 0 and *what when it is bad.
 * Half a surrogate pair is refused: it has no UTF-8 form, so it could not be passed on. */
static size_t escape_len(const char *text, size_t left, const char **what) {
    if (left >= 2 && memchr("\"\\/bfnrt", text[1], 8) != NULL) {
        return 2;
    }
    if (left < 2 || text[1] != 'u') {
        *what = "unknown escape in a string";
        return 0;
    }
    uint32_t unit = left >= 6 ? hex_unit(text + 2) : NO_UNIT;
    if (unit == NO_UNIT) {
        *what = "expected four hex digits";
        return 0;
    }
    if (is_high_surrogate(unit) && left >= 12 && text[6] == '\\' && text[7] == 'u' &&
        is_low_surrogate(hex_unit(text + 8))) {
        return 12;
    }
    if (is_high_surrogate(unit) || is_low_surrogate(unit)) {
        *what = "lone surrogate in a string";
        return 0;
    }
    return 6;
}

/* How many bytes from text on are not ASCII. */
static size_t high_len(const char *text, size_t len) {
    size_t at = 0;
    while (at < len && ((unsigned char)text[at] & 0x80) != 0) {
        at++;
    }
    return at;
}

/* Where text, which is not valid UTF-8, stops to be. */
static size_t first_bad_byte(hr_slice text) {
    hr_utf8 utf8 = {0};
    size_t at = 0;
    while (at < text.len && hr_utf8_feed(&utf8, text.data + at, 1)) {
        at++;
    }
    return at;
}

/* Reads a string; the cursor stands at its opening quote. */
static hr_status scan_string(hr_json_cursor *cursor) {
    const char *text = cursor->text.data;
    size_t len = cursor->text.len;
    size_t at = cursor->at + 1;
    for (;;) {
        at += plain_len(text + at, len - at);
        if (at == len || (unsigned char)text[at] < 0x20) {
            return fail(cursor, at, "control character in a string");
        }
        if (text[at] == '"') {
            cursor->at = at + 1;
            return HR_OK;
        }
        if (text[at] == '\\') {
            const char *what = NULL;
            size_t escape = escape_len(text + at, len - at, &what);
            if (escape == 0) {
                return fail(cursor, at, what);
            }
            at += escape;
            continue;
        }
        /* A run of bytes above ASCII is a text of its own: no character crosses its ends. */
        hr_slice run = {text + at, high_len(text + at, len - at)};
        if (!hr_utf8_valid(run)) {
            return fail(cursor, at + first_bad_byte(run), "malformed UTF-8 in a string");
        }
        at += run.len;
    }
}

static hr_status scan_word(hr_json_cursor *cursor, hr_slice word) {
    hr_slice rest = {cursor->text.data + cursor->at, cursor->text.len - cursor->at};
    if (!hr_slice_has_prefix(rest, word)) {
        return fail(cursor, cursor->at, "expected a value");
    }
    cursor->at += word.len;
    return HR_OK;
}

/* Takes digits, at least one. */
static hr_status scan_digits(hr_json_cursor *cursor) {
    hr_slice text = cursor->text;
    size_t at = cursor->at;
    while (at < text.len && is_digit(text.data[at])) {
        at++;
    }
    if (at == cursor->at) {
        return fail(cursor, at, "expected a digit");
    }
    cursor->at = at;
    return HR_OK;
}

/* Takes the next byte when it is one of two. */
static bool take(hr_json_cursor *cursor, char one, char other) {
    if (cursor->at == cursor->text.len ||
        (cursor->text.data[cursor->at] != one && cursor->text.data[cursor->at] != other)) {
        return false;
    }
    cursor->at++;
    return true;
}

static hr_status scan_number(hr_json_cursor *cursor) {
    take(cursor, '-', '-');
    hr_status status = take(cursor, '0', '0') ? HR_OK : scan_digits(cursor);
    if (status == HR_OK && take(cursor, '.', '.')) {
        status = scan_digits(cursor);
    }
    if (status == HR_OK && take(cursor, 'e', 'E')) {
        take(cursor, '+', '-');
        status = scan_digits(cursor);
    }
    return status;
}

static hr_status scan_scalar(hr_json_cursor *cursor) {
    char first = next_token(cursor);
    if (is_digit(first) || first == '-') {
        return scan_number(cursor);
    }
    switch (first) {
    case '"': return scan_string(cursor);
    case 't': return scan_word(cursor, HR_LIT("true"));
    case 'f': return scan_word(cursor, HR_LIT("false"));
    case 'n': return scan_word(cursor, HR_LIT("null"));
    default: return fail(cursor, cursor->at, "expected a value");
    }
}

/* Reads a member's name and the colon behind it. */
static hr_status scan_name(hr_json_cursor *cursor) {
    if (next_token(cursor) != '"') {
        return fail(cursor, cursor->at, "expected a member name");
    }
    hr_status status = scan_string(cursor);
    if (status != HR_OK) {
        return status;
    }
    if (next_token(cursor) != ':') {
        return fail(cursor, cursor->at, "expected a colon");
    }
    cursor->at++;
    return HR_OK;
}

/* The open containers: bit 0 of objects says whether the innermost is an object. */
typedef struct nesting {
    uint64_t objects;
    unsigned depth;
} nesting;

_Static_assert(HR_JSON_DEPTH_MAX <= 64, "one bit a level");

/* Opens the container the cursor stands at. *done: it is empty and closed again. */
static hr_status open_container(hr_json_cursor *cursor, nesting *open, bool *done) {
    bool is_object = cursor->text.data[cursor->at] == '{';
    if (open->depth == HR_JSON_DEPTH_MAX) {
        return fail(cursor, cursor->at, "nested too deeply");
    }
    cursor->at++;
    *done = next_token(cursor) == (is_object ? '}' : ']');
    if (*done) {
        cursor->at++;
        return HR_OK;
    }
    open->objects = open->objects << 1 | (is_object ? 1u : 0u);
    open->depth++;
    return is_object ? scan_name(cursor) : HR_OK;
}

/* Closes what ends behind a value, up to a comma or the outermost end. */
static hr_status close_containers(hr_json_cursor *cursor, nesting *open) {
    while (open->depth > 0) {
        bool is_object = (open->objects & 1) != 0;
        char token = next_token(cursor);
        if (token == ',') {
            cursor->at++;
            return is_object ? scan_name(cursor) : HR_OK;
        }
        if (token != (is_object ? '}' : ']')) {
            return fail(cursor, cursor->at,
                        is_object ? "expected a comma or a closing brace"
                                  : "expected a comma or a closing bracket");
        }
        cursor->at++;
        open->objects >>= 1;
        open->depth--;
    }
    return HR_OK;
}

static hr_json_kind kind_of(char first) {
    switch (first) {
    case '{': return HR_JSON_OBJECT;
    case '[': return HR_JSON_ARRAY;
    case '"': return HR_JSON_STRING;
    case 't':
    case 'f': return HR_JSON_BOOL;
    case 'n': return HR_JSON_NULL;
    default: return HR_JSON_NUMBER;
    }
}

void hr_json_begin(hr_json_cursor *cursor, hr_slice text) {
    *cursor = (hr_json_cursor){.text = text};
}

hr_status hr_json_value_read(hr_json_cursor *cursor, hr_json_value *out) {
    nesting open = {0};
    char first = next_token(cursor);
    size_t begin = cursor->at;
    do {
        char token = next_token(cursor);
        bool done = true;
        hr_status status = token == '{' || token == '[' ? open_container(cursor, &open, &done)
                                                        : scan_scalar(cursor);
        if (status == HR_OK && done) {
            status = close_containers(cursor, &open);
        }
        if (status != HR_OK) {
            return status;
        }
    } while (open.depth > 0);
    out->kind = kind_of(first);
    out->raw = (hr_slice){cursor->text.data + begin, cursor->at - begin};
    return HR_OK;
}

hr_status hr_json_end(hr_json_cursor *cursor) {
    next_token(cursor);
    if (cursor->at < cursor->text.len) {
        return fail(cursor, cursor->at, "unexpected text behind the value");
    }
    return HR_OK;
}

bool hr_json_valid(hr_slice text) {
    hr_json_cursor cursor;
    hr_json_value value;
    hr_json_begin(&cursor, text);
    return hr_json_value_read(&cursor, &value) == HR_OK && hr_json_end(&cursor) == HR_OK;
}

/* Behind the validated string whose opening quote is at at. */
static size_t string_end(hr_slice text, size_t at) {
    for (size_t quote = at;;) {
        HR_ASSERT(quote + 1 < text.len);
        const char *found = memchr(text.data + quote + 1, '"', text.len - quote - 1);
        HR_ASSERT(found != NULL);
        quote = (size_t)(found - text.data);
        size_t slashes = 0;
        while (text.data[quote - 1 - slashes] == '\\') { /* the opening quote is none */
            slashes++;
        }
        if (slashes % 2 == 0) {
            return quote + 1;
        }
    }
}

/* Behind the validated object or array that begins at at. */
static size_t container_end(hr_slice text, size_t at) {
    size_t depth = 0;
    do {
        HR_ASSERT(at < text.len);
        char c = text.data[at];
        if (c == '"') {
            at = string_end(text, at);
            continue;
        }
        if (c == '{' || c == '[') {
            depth++;
        } else if (c == '}' || c == ']') {
            depth--;
        }
        at++;
    } while (depth > 0);
    return at;
}

static hr_json_value value_at(hr_slice text, size_t at) {
    HR_ASSERT(at < text.len);
    hr_json_kind kind = kind_of(text.data[at]);
    size_t end = at;
    if (kind == HR_JSON_STRING) {
        end = string_end(text, at);
    } else if (kind == HR_JSON_OBJECT || kind == HR_JSON_ARRAY) {
        end = container_end(text, at);
    } else {
        while (end < text.len && !is_space(text.data[end]) && text.data[end] != ',' &&
               text.data[end] != '}' && text.data[end] != ']') {
            end++;
        }
    }
    return (hr_json_value){.kind = kind, .raw = {text.data + at, end - at}};
}

/* Moves *place to the next item of a container; false at its end. */
static bool next_item(hr_slice raw, size_t *place) {
    size_t at = skip_space(raw, *place == 0 ? 1 : *place);
    HR_ASSERT(at < raw.len);
    if (raw.data[at] == ',') {
        at = skip_space(raw, at + 1);
    }
    *place = at;
    HR_ASSERT(at < raw.len);
    return raw.data[at] != '}' && raw.data[at] != ']';
}

bool hr_json_object_next(hr_json_value object, size_t *place, hr_slice *key, hr_json_value *out) {
    HR_ASSERT(object.kind == HR_JSON_OBJECT);
    if (!next_item(object.raw, place)) {
        return false;
    }
    size_t end = string_end(object.raw, *place);
    *key = (hr_slice){object.raw.data + *place, end - *place};
    size_t colon = skip_space(object.raw, end);
    *out = value_at(object.raw, skip_space(object.raw, colon + 1));
    *place = (size_t)(out->raw.data - object.raw.data) + out->raw.len;
    return true;
}

bool hr_json_array_next(hr_json_value array, size_t *place, hr_json_value *out) {
    HR_ASSERT(array.kind == HR_JSON_ARRAY);
    if (!next_item(array.raw, place)) {
        return false;
    }
    *out = value_at(array.raw, *place);
    *place += out->raw.len;
    return true;
}
