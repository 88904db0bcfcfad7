"""Autobahn's WebSocket cases, all of them."""

from conformance import ECHO_PATH, FLAGS, run_cases, summary, verdict

# Groups 1 to 7, 9, 10, 12 and 13 of the suite.
CASE_COUNT = 517


def test_all_cases_are_ok(server_factory, record_testsuite_property):
    server = server_factory(*FLAGS)
    results = run_cases(server.ws_url + ECHO_PATH)
    text = summary(results)
    print(text)
    record_testsuite_property("autobahn", text)
    assert len(results) == CASE_COUNT
    failed = [result.case_id for result in results if verdict(result) == "FAILED"]
    assert not failed, text
