"""Autobahn's WebSocket cases: all of them, and those that do not take long by TLS, too (`make autobahn` takes all)."""

from conformance import ECHO_PATH, FLAGS, run_cases, summary, tunnel, verdict

# Groups 1 to 7, 9, 10, 12 and 13 of the suite.
CASE_COUNT = 517


# Without 9, 12 and 13, of which only the first cases are among them.
SHORT_CASES = ["1.*", "2.*", "3.*", "4.*", "5.*", "6.*", "7.*", "9.1.1", "10.*", "12.1.1", "13.1.1"]
SHORT_COUNT = 250


def check(results, count, name, record):
    text = summary(results)
    print(text)
    record(name, text)
    assert len(results) == count
    failed = [result.case_id for result in results if verdict(result) == "FAILED"]
    assert not failed, text


def test_all_cases_are_ok(server_factory, record_testsuite_property):
    server = server_factory(*FLAGS)
    check(run_cases(server.ws_url + ECHO_PATH), CASE_COUNT, "autobahn", record_testsuite_property)


def test_cases_are_ok_by_tls(server_factory, record_testsuite_property):
    server = server_factory(*FLAGS, tls=True)
    with tunnel(server.secure.host, server.secure.port, server.secure.context()) as port:
        results = run_cases(f"ws://127.0.0.1:{port}{ECHO_PATH}", SHORT_CASES)
    check(results, SHORT_COUNT, "autobahn-tls", record_testsuite_property)
