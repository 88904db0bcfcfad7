/* A load generator: one thread, readers by the thousand, and what each of them got.
 *
 * It measures any server that is published to by POST and read by WebSocket, Server-Sent Events or
 * long-poll. Without arguments it tells how it is called; README.md, how its numbers are read. */
#include "modes.h"
#include "options.h"

int main(int argc, char **argv) {
    options options = options_parse(argc, argv);
    switch (options.mode) {
    case MODE_FANOUT: run_fanout(&options); break;
    case MODE_PUBLISH:
    case MODE_POLL: run_requests(&options); break;
    case MODE_CHURN: run_churn(&options); break;
    case MODE_IDLE: run_idle(&options); break;
    case MODE_CATCHUP: run_catchup(&options); break;
    case MODE_STORM: run_storm(&options); break;
    }
    return 0;
}
