/* The ref is read before anything is judged, so that every refusal that can name its command
 * does. */
#include "codec_private.h"

#include <stdlib.h>

enum { OP, REF, TOPIC, TOPICS, AFTER, TOKEN, NAME_COUNT };

static const char *const names[NAME_COUNT] = {"op", "ref", "topic", "topics", "after", "token"};

typedef struct op_rule {
    const char *name;
    hr_command_op op;
    unsigned takes; /* the members that go with it, a bit each */
} op_rule;

#define BIT(name) (1u << (name))

static const op_rule op_rules[] = {
    {"subscribe", HR_COMMAND_SUBSCRIBE, BIT(OP) | BIT(REF) | BIT(TOPIC) | BIT(TOPICS) | BIT(AFTER)},
    {"unsubscribe", HR_COMMAND_UNSUBSCRIBE, BIT(OP) | BIT(REF) | BIT(TOPIC) | BIT(TOPICS)},
    {"publish", HR_COMMAND_PUBLISH, 0}, /* judged by hr__publication_read */
    {"ping", HR_COMMAND_PING, BIT(OP) | BIT(REF)},
    {"renew", HR_COMMAND_RENEW, BIT(OP) | BIT(REF) | BIT(TOKEN)},
};

typedef struct members {
    unsigned given;
    unsigned repeated;
    hr_json_value values[NAME_COUNT];
} members;

static hr_slice text_of(const char *text) { return (hr_slice){text, strlen(text)}; }

static unsigned name_of(hr_slice key) {
    unsigned name = 0;
    while (name < NAME_COUNT && !hr_json_string_is(key, text_of(names[name]))) {
        name++;
    }
    return name;
}

static bool is_integer(hr_json_value value) {
    if (value.kind != HR_JSON_NUMBER || value.raw.len > HR_COMMAND_REF_MAX) {
        return false;
    }
    for (size_t i = 0; i < value.raw.len; i++) {
        if (value.raw.data[i] != '-' && (value.raw.data[i] < '0' || value.raw.data[i] > '9')) {
            return false;
        }
    }
    return true;
}

/* Takes the ref over. Its length counts decoded, it is echoed as it came. */
static hr_status read_ref(hr_json_value value, hr_command *out, hr_batch_error *error) {
    bool good = is_integer(value);
    if (value.kind == HR_JSON_STRING) {
        hr_buf text = {0};
        hr_status status = hr_json_string_decode(value.raw, &text);
        good = text.len <= HR_COMMAND_REF_MAX;
        hr_buf_fini(&text);
        if (status != HR_OK) {
            return status;
        }
    }
    if (!good) {
        return hr__refuse(error, "ref must be an integer or a string of at most %d bytes",
                          HR_COMMAND_REF_MAX);
    }
    out->ref = value.raw;
    return HR_OK;
}

/* The first of each member counts; that one was repeated is for the caller to refuse. */
static void gather(hr_json_value object, members *out) {
    hr_slice key;
    hr_json_value value;
    out->given = 0;
    out->repeated = 0;
    for (size_t place = 0; hr_json_object_next(object, &place, &key, &value);) {
        unsigned name = name_of(key);
        if (name == NAME_COUNT) {
            continue;
        }
        if ((out->given & BIT(name)) != 0) {
            out->repeated |= BIT(name);
            continue;
        }
        out->given |= BIT(name);
        out->values[name] = value;
    }
}

static const op_rule *rule_of(const members *members) {
    if ((members->given & BIT(OP)) == 0 || members->values[OP].kind != HR_JSON_STRING) {
        return NULL;
    }
    for (size_t i = 0; i < sizeof op_rules / sizeof op_rules[0]; i++) {
        if (hr_json_string_is(members->values[OP].raw, text_of(op_rules[i].name))) {
            return &op_rules[i];
        }
    }
    return NULL;
}

static hr_status check_names(hr_json_value object, const op_rule *rule, hr_batch_error *error) {
    hr_slice key;
    hr_json_value value;
    for (size_t place = 0; hr_json_object_next(object, &place, &key, &value);) {
        unsigned name = name_of(key);
        if (name == NAME_COUNT) {
            char text[HR__EXCERPT_LEN];
            return hr__refuse(error, "unknown member \"%s\" for op \"%s\"", hr__excerpt(key, text),
                              rule->name);
        }
        if ((rule->takes & BIT(name)) == 0) {
            return hr__refuse(error, "%s does not go with op \"%s\"", names[name], rule->name);
        }
    }
    return HR_OK;
}

/* How many filters topics names; more than the bound is as good as one more. */
static size_t filter_count(hr_json_value topics) {
    hr_json_value item;
    size_t count = 0;
    for (size_t place = 0; count <= HR_COMMAND_FILTERS_MAX;) {
        if (!hr_json_array_next(topics, &place, &item)) {
            break;
        }
        count++;
    }
    return count;
}

static hr_status read_filters(hr__decoder *decoder, const members *members, hr_command *out) {
    unsigned given = members->given & (BIT(TOPIC) | BIT(TOPICS));
    if (given == (BIT(TOPIC) | BIT(TOPICS))) {
        return hr__refuse(decoder->error, "topic and topics exclude each other");
    }
    if (given == 0) {
        return hr__refuse(decoder->error, "topic or topics is missing");
    }
    hr_json_value topics = members->values[TOPICS];
    bool one = given == BIT(TOPIC);
    if (!one && topics.kind != HR_JSON_ARRAY) {
        return hr__refuse(decoder->error, "topics must be an array of strings");
    }
    size_t count = one ? 1 : filter_count(topics);
    if (count == 0 || count > HR_COMMAND_FILTERS_MAX) {
        return hr__refuse(decoder->error, "topics must name 1 to %d filters",
                          HR_COMMAND_FILTERS_MAX);
    }
    out->filters = calloc(count, sizeof *out->filters);
    if (out->filters == NULL) {
        return HR_ENOMEM;
    }
    hr_json_value item = members->values[TOPIC];
    for (size_t place = 0; out->filter_count < count; out->filter_count++) {
        bool there = one || hr_json_array_next(topics, &place, &item);
        HR_ASSERT(there);
        decoder->error->index = (uint32_t)out->filter_count;
        hr_status status = hr__text_read(decoder, one ? "topic" : "every one of topics", item,
                                         &out->filters[out->filter_count]);
        if (status != HR_OK) {
            return status;
        }
    }
    return HR_OK;
}

static hr_status read_after(hr__decoder *decoder, const members *members, hr_command *out) {
    if ((members->given & BIT(AFTER)) == 0) {
        return HR_OK;
    }
    hr_status status = hr__text_read(decoder, "after", members->values[AFTER], &out->after);
    if (status == HR_OK && out->after.len == 0) {
        return hr__refuse(decoder->error, "after must not be empty");
    }
    return status;
}

/* What is refused here never shows the token. */
static hr_status read_token(hr__decoder *decoder, const members *members, hr_command *out) {
    if ((members->given & BIT(TOKEN)) == 0) {
        return hr__refuse(decoder->error, "token is missing");
    }
    hr_status status = hr__text_read(decoder, "token", members->values[TOKEN], &out->token);
    if (status == HR_OK && out->token.len == 0) {
        return hr__refuse(decoder->error, "token must not be empty");
    }
    return status;
}

static hr_status read_members(hr__decoder *decoder, hr_json_value object, const members *members,
                              hr_command *out) {
    static const char unknown_op[] = "op must be subscribe, unsubscribe, publish, ping or renew";
    const op_rule *rule = rule_of(members);
    if (rule == NULL) {
        return hr__refuse(decoder->error, "%s",
                          (members->given & BIT(OP)) == 0 ? "op is missing" : unknown_op);
    }
    out->op = rule->op;
    if (rule->op == HR_COMMAND_PUBLISH) {
        const hr_slice ignored[] = {text_of(names[OP]), text_of(names[REF])};
        return hr__publication_read(decoder, object, ignored, 2, &out->publication);
    }
    hr_status status = check_names(object, rule, decoder->error);
    if (status == HR_OK && rule->op == HR_COMMAND_RENEW) {
        return read_token(decoder, members, out);
    }
    if (status == HR_OK && rule->op != HR_COMMAND_PING) {
        status = read_filters(decoder, members, out);
    }
    return status != HR_OK ? status : read_after(decoder, members, out);
}

hr_status hr_command_parse(hr_slice message, hr_command *out, hr_batch_error *error) {
    hr_json_cursor cursor;
    hr_json_value object;
    members members;
    *out = (hr_command){0};
    *error = (hr_batch_error){.line = 1};
    hr_json_begin(&cursor, message);
    if (hr_json_value_read(&cursor, &object) != HR_OK || hr_json_end(&cursor) != HR_OK) {
        return hr__refuse_syntax(error, &cursor.error);
    }
    if (object.kind != HR_JSON_OBJECT) {
        return hr__refuse(error, "a command must be a JSON object");
    }
    gather(object, &members);
    hr_status status = HR_OK;
    if ((members.given & BIT(REF)) != 0) {
        status = read_ref(members.values[REF], out, error);
    }
    if (status != HR_OK) {
        return status;
    }
    if (members.repeated != 0) {
        return hr__refuse(error, "%s is given twice", names[__builtin_ctz(members.repeated)]);
    }
    hr__decoder decoder = {&out->scratch, message.len, error};
    return read_members(&decoder, object, &members, out);
}

void hr_command_fini(hr_command *command) {
    free(command->filters);
    hr_buf_fini(&command->scratch);
    *command = (hr_command){0};
}
