/* A ref can always be echoed; what an op names is there, readable and within its bounds. */
#include "CHeraldWire.h"

int LLVMFuzzerTestOneInput(const char *bytes, size_t len) {
    hr_command command;
    hr_batch_error error;
    hr_status status = hr_command_parse((hr_slice){bytes, len}, &command, &error);
    HR_ASSERT(command.ref.len == 0 || hr_json_valid(command.ref));
    HR_ASSERT(status == HR_OK || (error.what[0] != 0 && error.line > 0));
    for (const char *at = error.what; *at != 0; at++)
        HR_ASSERT(*at >= ' ' && *at <= '~');
    if (status == HR_OK && command.op <= HR_COMMAND_UNSUBSCRIBE) {
        HR_ASSERT(command.filter_count > 0 && command.filter_count <= HR_COMMAND_FILTERS_MAX);
        HR_ASSERT(command.after.len == 0 || command.op == HR_COMMAND_SUBSCRIBE);
        for (size_t i = 0; i < command.filter_count; i++)
            HR_ASSERT(hr_utf8_valid(command.filters[i]));
    } else if (status == HR_OK) {
        HR_ASSERT(command.filter_count == 0 && command.after.len == 0);
        HR_ASSERT(hr_utf8_valid(command.publication.topic));
        HR_ASSERT(command.publication.type.len == 0 || hr_type_valid(command.publication.type));
        HR_ASSERT(hr_data_form_of(command.publication.content_type, command.publication.data) <=
                  HR_DATA_BINARY);
    }
    hr_command_fini(&command);
    return 0;
}
