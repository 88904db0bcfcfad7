/* Publications out of JSON. A batch is all or nothing: the first mistake ends it, so that a
 * publisher never has to work out which half went in.
 *
 * Text without escapes, which is nearly all, is not copied: slices point into the body. What
 * must be decoded is never longer than its source, so one reservation holds all of it. */
#include "codec_private.h"

#include <stdarg.h>
#include <stdio.h>

enum { TOPIC, TYPE, DATA, DATA_BASE64, CONTENT_TYPE, SPECVERSION, ID, SOURCE, SUBJECT, NAME_COUNT };

static const char *const names[NAME_COUNT] = {
    "topic",       "type", "data",   "data_base64", "datacontenttype",
    "specversion", "id",   "source", "subject",
};

#define BIT(name) (1u << (name))
#define OWN_NAMES (BIT(TOPIC) | BIT(TYPE) | BIT(DATA) | BIT(DATA_BASE64) | BIT(CONTENT_TYPE))
#define CLOUDEVENT_NAMES                                                                           \
    (BIT(TYPE) | BIT(DATA) | BIT(DATA_BASE64) | BIT(CONTENT_TYPE) | BIT(SPECVERSION) | BIT(ID) |   \
     BIT(SOURCE) | BIT(SUBJECT))

/* The members that an object gave, out of those that count. */
typedef struct members {
    unsigned given;
    hr_json_value values[NAME_COUNT];
} members;

hr_status hr__refuse(hr_batch_error *error, const char *format, ...) {
    va_list arguments;
    va_start(arguments, format);
    vsnprintf(error->what, sizeof error->what, format, arguments);
    va_end(arguments);
    error->is_syntax = false;
    error->column = 0;
    return HR_EINVAL;
}

hr_status hr__refuse_syntax(hr_batch_error *error, const hr_json_error *json) {
    hr_status status = hr__refuse(error, "%s", json->what);
    error->is_syntax = true;
    error->line = json->line;
    error->column = json->column;
    return status;
}

const char *hr__excerpt(hr_slice raw_string, char out[HR__EXCERPT_LEN]) {
    HR_ASSERT(raw_string.len >= 2);
    size_t whole = raw_string.len - 2;
    size_t len = whole > 40 ? 40 : whole;
    for (size_t i = 0; i < len; i++) {
        char c = raw_string.data[1 + i];
        out[i] = c >= ' ' && c <= '~' ? c : '?';
    }
    memcpy(out + len, whole > len ? "..." : "", whole > len ? 4 : 1);
    return out;
}

/* Makes room for all that will ever be decoded; later calls find it there. */
static hr_status decoder_open(hr__decoder *decoder, size_t len) {
    HR_ASSERT(decoder->scratch->len + len <= decoder->bound);
    return hr_buf_reserve(decoder->scratch, decoder->bound - decoder->scratch->len);
}

hr_status hr__text_read(hr__decoder *decoder, const char *name, hr_json_value value,
                        hr_slice *out) {
    if (value.kind != HR_JSON_STRING) {
        return hr__refuse(decoder->error, "%s must be a string", name);
    }
    hr_slice inside = {value.raw.data + 1, value.raw.len - 2};
    if (inside.len == 0 || memchr(inside.data, '\\', inside.len) == NULL) {
        *out = inside;
        return HR_OK;
    }
    hr_buf *scratch = decoder->scratch;
    hr_status status = decoder_open(decoder, inside.len);
    size_t begin = scratch->len;
    if (status == HR_OK) {
        status = hr_json_string_decode(value.raw, scratch);
    }
    *out = (hr_slice){scratch->data + begin, scratch->len - begin};
    return status;
}

/* The bytes of data_base64. JSON may escape even '/': then they are decoded over their text. */
static hr_status bytes_read(hr__decoder *decoder, hr_json_value value, hr_slice *out) {
    hr_buf *scratch = decoder->scratch;
    size_t begin = scratch->len;
    hr_slice text;
    hr_status status = hr__text_read(decoder, names[DATA_BASE64], value, &text);
    if (status == HR_OK) {
        status = decoder_open(decoder, 0);
    }
    if (status != HR_OK || text.len == 0) {
        *out = (hr_slice){0};
        return status;
    }
    char *room = scratch->data + begin;
    HR_ASSERT(text.len <= scratch->cap - begin);
    size_t len;
    if (hr__base64_get(text, room, &len) != HR_OK) {
        return hr__refuse(decoder->error, "data_base64 must be base64 with padding");
    }
    scratch->len = begin + len;
    *out = (hr_slice){room, len};
    return HR_OK;
}

static bool is_any_of(hr_slice key, const hr_slice *list, size_t count) {
    for (size_t i = 0; i < count; i++) {
        if (hr_json_string_is(key, list[i])) {
            return true;
        }
    }
    return false;
}

static unsigned name_of(hr_slice key, unsigned wanted) {
    for (unsigned name = 0; name < NAME_COUNT; name++) {
        if ((wanted & BIT(name)) != 0 &&
            hr_json_string_is(key, (hr_slice){names[name], strlen(names[name])})) {
            return name;
        }
    }
    return NAME_COUNT;
}

/* Whether a null at name means that it was not given (CloudEvents JSON format §2.2). */
static bool is_unset(hr_json_value value, unsigned name, bool cloud) {
    return cloud && value.kind == HR_JSON_NULL && name != DATA && name != DATA_BASE64;
}

/* Gathers object's members. A repeat is refused: two parsers could take two different ones. */
static hr_status gather(hr_json_value object, bool cloud, const hr_slice *ignored,
                        size_t ignored_count, members *out, hr_batch_error *error) {
    hr_slice key;
    hr_json_value value;
    size_t place = 0;
    out->given = 0;
    if (object.kind != HR_JSON_OBJECT) {
        return hr__refuse(error, "an event must be a JSON object");
    }
    while (hr_json_object_next(object, &place, &key, &value)) {
        unsigned name = name_of(key, cloud ? CLOUDEVENT_NAMES : OWN_NAMES);
        if (name == NAME_COUNT) {
            if (!cloud && !is_any_of(key, ignored, ignored_count)) {
                char text[HR__EXCERPT_LEN];
                return hr__refuse(error, "unknown member \"%s\"", hr__excerpt(key, text));
            }
            continue;
        }
        if ((out->given & BIT(name)) != 0) {
            return hr__refuse(error, "%s is given twice", names[name]);
        }
        if (!is_unset(value, name, cloud)) {
            out->given |= BIT(name);
            out->values[name] = value;
        }
    }
    if ((out->given & BIT(DATA)) != 0 && (out->given & BIT(DATA_BASE64)) != 0) {
        return hr__refuse(error, "data and data_base64 exclude each other");
    }
    return HR_OK;
}

/* The text of a member that was given; else *out is left as it is. */
static hr_status optional_text(hr__decoder *decoder, const members *from, unsigned name,
                               hr_slice *out) {
    if ((from->given & BIT(name)) == 0) {
        return HR_OK;
    }
    return hr__text_read(decoder, names[name], from->values[name], out);
}

static hr_status read_type(hr__decoder *decoder, const members *from, hr_publication *out) {
    hr_status status = optional_text(decoder, from, TYPE, &out->type);
    if (status == HR_OK && (from->given & BIT(TYPE)) != 0 && !hr_type_valid(out->type)) {
        return hr__refuse(decoder->error,
                          "type must be 1 to %d bytes of printable ASCII without spaces",
                          HR_TYPE_LEN_MAX);
    }
    return status;
}

/* A media type is ASCII; its length is the caller's to bound. */
static hr_status read_content_type(hr__decoder *decoder, const members *from, hr_publication *out) {
    hr_status status = optional_text(decoder, from, CONTENT_TYPE, &out->content_type);
    if (status != HR_OK || (from->given & BIT(CONTENT_TYPE)) == 0) {
        return status;
    }
    bool good = out->content_type.len > 0;
    for (size_t i = 0; i < out->content_type.len; i++) {
        good = good && out->content_type.data[i] >= ' ' && out->content_type.data[i] <= '~';
    }
    return good ? HR_OK
                : hr__refuse(decoder->error, "datacontenttype must be printable ASCII, not empty");
}

/* The data and, when none was given, its content type. A JSON string is a text unless its type
 * says JSON; without a type CloudEvents means JSON (JSON format §3.1), our own formats text. */
static hr_status read_data(hr__decoder *decoder, const members *from, bool cloud,
                           hr_publication *out) {
    bool typed = (from->given & BIT(CONTENT_TYPE)) != 0;
    if ((from->given & BIT(DATA)) == 0) {
        if (!typed) {
            out->content_type = HR_LIT("application/octet-stream");
        }
        return (from->given & BIT(DATA_BASE64)) == 0
                   ? HR_OK
                   : bytes_read(decoder, from->values[DATA_BASE64], &out->data);
    }
    hr_json_value value = from->values[DATA];
    bool json = typed ? hr__content_type_is_json(out->content_type) : cloud;
    if (value.kind == HR_JSON_STRING && !json) {
        if (!typed) {
            out->content_type = HR_LIT("text/plain");
        }
        return hr__text_read(decoder, names[DATA], value, &out->data);
    }
    if (!typed) {
        out->content_type = HR_LIT("application/json");
    }
    out->data = value.raw;
    return HR_OK;
}

hr_status hr__publication_read(hr__decoder *decoder, hr_json_value object, const hr_slice *ignored,
                               size_t ignored_count, hr_publication *out) {
    members members;
    *out = (hr_publication){0};
    hr_status status = gather(object, false, ignored, ignored_count, &members, decoder->error);
    if (status != HR_OK) {
        return status;
    }
    if ((members.given & BIT(TOPIC)) == 0) {
        return hr__refuse(decoder->error, "topic is missing");
    }
    if ((members.given & (BIT(DATA) | BIT(DATA_BASE64))) == 0) {
        return hr__refuse(decoder->error, "data or data_base64 is missing");
    }
    status = optional_text(decoder, &members, TOPIC, &out->topic);
    if (status == HR_OK) {
        status = read_type(decoder, &members, out);
    }
    if (status == HR_OK) {
        status = read_content_type(decoder, &members, out);
    }
    return status != HR_OK ? status : read_data(decoder, &members, false, out);
}

hr_status hr_publication_read(hr_json_value object, const hr_slice *ignored, size_t ignored_count,
                              hr_buf *scratch, hr_publication *out, hr_batch_error *error) {
    hr__decoder decoder = {scratch, scratch->len + object.raw.len, error};
    *error = (hr_batch_error){.line = 1};
    return hr__publication_read(&decoder, object, ignored, ignored_count, out);
}

/* What every CloudEvent must have (CloudEvents 1.0 §3, required attributes). */
static hr_status check_cloudevent(hr__decoder *decoder, const members *members) {
    static const unsigned required[] = {SPECVERSION, ID, SOURCE, TYPE};
    for (size_t i = 0; i < sizeof required / sizeof required[0]; i++) {
        unsigned name = required[i];
        if ((members->given & BIT(name)) == 0) {
            return hr__refuse(decoder->error, "%s is missing", names[name]);
        }
        hr_json_value value = members->values[name];
        if (value.kind != HR_JSON_STRING || value.raw.len == 2) {
            return hr__refuse(decoder->error, "%s must be a string, not empty", names[name]);
        }
    }
    if (!hr_json_string_is(members->values[SPECVERSION].raw, HR_LIT("1.0"))) {
        return hr__refuse(decoder->error, "specversion must be \"1.0\"");
    }
    return HR_OK;
}

hr_status hr__cloudevent_read(hr__decoder *decoder, hr_json_value object, hr_publication *out) {
    members members;
    *out = (hr_publication){0};
    hr_status status = gather(object, true, NULL, 0, &members, decoder->error);
    if (status == HR_OK) {
        status = check_cloudevent(decoder, &members);
    }
    if (status == HR_OK) {
        status = optional_text(decoder, &members, SUBJECT, &out->topic);
    }
    if (status == HR_OK) {
        status = read_type(decoder, &members, out);
    }
    if (status == HR_OK) {
        status = read_content_type(decoder, &members, out);
    }
    return status != HR_OK ? status : read_data(decoder, &members, true, out);
}
