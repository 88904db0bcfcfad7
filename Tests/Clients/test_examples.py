"""The examples do what they show, each by its one command, in headless Chromium."""

import json
import re
import signal
import socket
import subprocess
from contextlib import ExitStack

import pytest

from browser import chromium
from conftest import BINARY, ROOT
from example_pages import EXAMPLES, FREE_PORTS, browser_behind, running, window
from helpers import PATIENCE, eventually
from relay import Relay

NAMES = ["chat", "dashboard", "orders"]
KEPT_MESSAGES = 200  # as the chat's backend says
LINES_MAX = 100


# What they are made of.


@pytest.mark.parametrize("name", NAMES)
def test_an_example_has_fewer_than_a_hundred_lines(name):
    lines = {file.name: len(file.read_text().splitlines()) for file in (EXAMPLES / name).iterdir() if file.is_file()}
    backend = lines.pop("backend.py")
    assert sum(lines.values()) < LINES_MAX, lines
    assert backend < LINES_MAX


def test_no_line_of_an_example_is_long_or_makes_markup_of_data():
    for file in EXAMPLES.rglob("*.*"):
        if file.suffix in (".html", ".css", ".js", ".py"):
            lines = file.read_text(encoding="utf-8").splitlines()
            assert [line for line in lines if len(line) > 120 or line != line.rstrip()] == [], file
            markup = re.compile(r"innerHTML|outerHTML|insertAdjacentHTML|document\.write|\beval\b|DOMParser")
            assert not [line for line in lines if markup.search(line)], file


@pytest.mark.parametrize("name", NAMES)
def test_make_runs_an_example_with_what_it_has_built(name):
    told = subprocess.run(
        ["make", "-n", f"example-{name}"], cwd=ROOT, capture_output=True, text=True, timeout=PATIENCE, check=True
    ).stdout
    assert told.index("swift build -c release --product herald") < told.index(f"examples/run.py {name}")
    listed = subprocess.run(["make", "help"], cwd=ROOT, capture_output=True, text=True, timeout=PATIENCE, check=True)
    assert f"make example-{name} " in listed.stdout


# The runner.


def test_a_port_that_is_taken_is_named_and_another_one_chosen(tmp_path):
    with socket.create_server(("127.0.0.1", 0)) as one, socket.create_server(("127.0.0.1", 0)) as other:
        ports = [each.getsockname()[1] for each in (one, other)]
        with running("chat", tmp_path, "--port", ports[0], "--herald-port", ports[1]) as example:
            assert all(f"Port {port} is taken" in example.output for port in ports)
            assert not any(f":{port}/" in example.output for port in ports)
            assert example.client.get("/readyz").status_code == 200


@pytest.mark.parametrize("end", [signal.SIGINT, signal.SIGTERM, signal.SIGHUP])
def test_all_ends_with_the_runner(tmp_path, end):
    with running("dashboard", tmp_path) as example:
        example.process.send_signal(end)
        assert example.process.wait(PATIENCE) == 0
        with pytest.raises(OSError):
            socket.create_connection(("127.0.0.1", example.port), timeout=PATIENCE).close()


def test_the_runner_ends_when_herald_does_not_start_and_when_it_ends(tmp_path):
    command = ["python3", str(EXAMPLES / "run.py"), "chat", "--port", "0", "--herald-port", "0", "--herald"]
    told = subprocess.run([*command, "/bin/false"], capture_output=True, text=True, timeout=PATIENCE)
    assert told.returncode == 1 and told.stderr == "Herald did not start.\n"
    brief = tmp_path / "herald"
    brief.write_text("#!/bin/sh\necho herald: listening on http://127.0.0.1:1\n")
    brief.chmod(0o755)
    told = subprocess.run([*command, str(brief)], capture_output=True, text=True, timeout=PATIENCE)
    assert told.returncode == 1 and told.stderr == "Herald has ended by itself.\n"
    told = subprocess.run([*command, str(tmp_path / "none")], capture_output=True, text=True, timeout=PATIENCE)
    assert told.returncode == 1 and "make build" in told.stderr and "Traceback" not in told.stderr


def test_what_a_backend_can_do_no_more_at_the_end_is_no_error(tmp_path):
    """It is told no only when all is being ended already."""
    ending, late = tmp_path / "ending", tmp_path / "late"
    late.write_text(
        '#!/bin/sh\nif [ "$1" = token ]; then\n'
        f"  while ! [ -e '{ending}' ]; do sleep 0.05; done\n  exit 1\nfi\n"
        f"'{BINARY}' \"$@\" &\ntrap \"touch '{ending}'; kill $!; sleep 1; exit\" TERM\nwait\n"
    )
    late.chmod(0o755)
    with running("orders", tmp_path, "--herald", late, *FREE_PORTS):
        assert not ending.exists()
    assert ending.exists()


def test_pages_run_no_script_of_others_and_nothing_but_pages_is_served(tmp_path):
    with running("orders", tmp_path) as example:
        origin = example.links["shop"].partition("/#")[0]
        get = example.client.get
        answer = get(f"{origin}/")
        assert answer.status_code == 200
        policy = answer.headers["content-security-policy"]
        assert policy.startswith("default-src 'self';") and f"connect-src 'self' {example.url} ws://" in policy
        for path in ("backend.py", "../backend.py", "%2e%2e/secret", "../secret", "__pycache__/"):
            assert get(f"{origin}/{path}").status_code == 404, path
        assert get(f"{origin}/herald.js").text == (ROOT / "clients/javascript/herald.js").read_text(encoding="utf-8")
        assert example.client.post(f"{origin}/token", content="x" * 5000).status_code == 400
        assert example.client.post(f"{origin}/elsewhere", content="who=shop").status_code == 404
        for wrong in ("", "who=shop", "who=&key=", "who=shop&key=", "who=shop&key=%C3%A9", "who=orders/44&key="):
            answer = example.client.post(f"{origin}/token", content=wrong)
            assert answer.status_code == 403 and "token" not in answer.json(), wrong


# The chat.


@pytest.fixture
def chat(tmp_path):
    with running("chat", tmp_path) as example:
        yield example


def enter(page, name, room):
    page.type("#name", name)
    page.type("#room", room)
    page.enter()
    page.wait_for("!document.querySelector('#say').hidden", "the room was not entered")
    page.until_state("live")


def say(page, text):
    page.type("#text", text)
    page.enter()


def messages(page):
    """What was said by whom, in the order in which the page shows it."""
    return page.evaluate(
        "[...document.querySelectorAll('#messages li:not(.note)')].map(li => [...li.children].slice(0, 2)"
        ".map(e => e.textContent))"
    )


def until_messages(page, expected):
    eventually(lambda: len(messages(page)) >= len(expected), f"{len(expected)} messages; {page.states()}")
    assert messages(page) == expected


def test_people_in_a_room_read_the_same_in_the_same_order(chat, browser, topic):
    room = topic.rpartition("/")[2]
    with ExitStack() as stack:
        other = stack.enter_context(chromium())
        one, two = (stack.enter_context(window(each, chat.links["chat"])) for each in (browser, other))
        enter(one, "Ann", room)
        enter(two, "Ben", room)
        expected = []
        for number in range(4):
            page, name = [(one, "Ann"), (two, "Ben")][number % 2]
            say(page, f"message {number}")
            expected.append([name, f"message {number}"])
            for each in (one, two):
                until_messages(each, expected)
        # In a hurry: sent one behind another, and none waited for.
        for number in range(10):
            say(one, f"fast {number}")
        expected += [["Ann", f"fast {number}"] for number in range(10)]
        # A third comes by the room's address, and reads what was said before.
        three = stack.enter_context(window(browser, chat.links["chat"] + f"#{room}"))
        assert three.evaluate("document.querySelector('#room').value") == room
        enter(three, "Cleo", room)
        for each in (one, two, three):
            until_messages(each, expected)
        enter(three, "Cleo", "another-room")
        assert messages(three) == []
        for each in (one, two, three):
            eventually(lambda each=each: each.texts("#outbox li") == [], "all was sent")
            each.demand_no_errors()
        one.demand_good_form()
        one.show_to_all("chat")


def test_nothing_said_is_lost_or_said_twice_across_a_cut(chat, browser, topic):
    room = topic.rpartition("/")[2]
    with ExitStack() as stack:
        relay = stack.enter_context(Relay(chat))
        far = stack.enter_context(browser_behind(relay, chat))
        one, two = (stack.enter_context(window(each, chat.links["chat"])) for each in (far, browser))
        enter(one, "Ann", room)
        enter(two, "Ben", room)
        say(one, "hello")
        expected = [["Ann", "hello"]]
        until_messages(one, expected)
        relay.lead_to(None)
        relay.cut()
        eventually(lambda: one.evaluate("document.querySelector('#state').dataset.name") != "live", "it is cut off")
        for number in range(3):
            say(two, f"while you were away {number}")
        expected += [["Ben", f"while you were away {number}"] for number in range(3)]
        until_messages(two, expected)
        assert messages(one) == expected[:1]
        say(one, "into the void")
        one.until_text("#outbox", "into the void")
        # It gives up, and says so; whoever said it may say it again.
        one.until_text("#outbox", "Send again")
        one.screenshot("example-chat-cut")
        relay.lead_to(chat)
        until_messages(one, expected)
        one.evaluate("document.querySelector('#outbox button').click()")
        expected.append(["Ann", "into the void"])
        for each in (one, two):
            until_messages(each, expected)
        one.demand_no_errors(but_cut=True)
        two.demand_no_errors()
        assert one.texts("#messages .note") == []


def test_a_message_whose_answers_were_lost_is_said_once(chat, browser, topic):
    room = topic.rpartition("/")[2]
    with window(browser, chat.links["chat"]) as page:
        enter(page, "Ann", room)
        # The server hears it each time, and the page hears no answer until it has given up.
        page.evaluate(
            "window.calls = []; const real = window.fetch; window.fetch = async (url, options) => {"
            " if (options?.method !== 'POST') return real(url, options);"
            " const answer = await real(url, options);"
            " calls.push([answer.status, new Headers(options.headers).get('Idempotency-Key')]);"
            " if (calls.length <= 4) throw new TypeError('the answer was lost');"
            " return answer; }; undefined"
        )
        say(page, "once")
        page.until_text("#outbox", "Send again")
        page.evaluate("document.querySelector('#outbox button').click()")
        eventually(lambda: page.texts("#outbox li") == [], "it was sent")
        calls = page.evaluate("window.calls")
        assert [status for status, _ in calls] == [201, 200, 200, 200, 200]
        assert len({key for _, key in calls}) == 1
        assert messages(page) == [["Ann", "once"]]
        page.demand_no_errors()


def test_a_cut_that_was_too_long_is_said(chat, browser, topic):
    room = topic.rpartition("/")[2]
    with ExitStack() as stack:
        relay = stack.enter_context(Relay(chat))
        far = stack.enter_context(browser_behind(relay, chat))
        page = stack.enter_context(window(far, chat.links["chat"]))
        enter(page, "Ann", room)
        say(page, "hello")
        until_messages(page, [["Ann", "hello"]])
        relay.lead_to(None)
        relay.cut()
        count = KEPT_MESSAGES + 50
        chat.publish(f"chat/{room}", *({"name": "Ben", "text": str(number)} for number in range(count)))
        relay.lead_to(chat)
        kept = [["Ben", str(number)] for number in range(count - KEPT_MESSAGES, count)]
        until_messages(page, [["Ann", "hello"], *kept])
        assert page.texts("#messages .note") == ["Some messages are no longer kept."]
        note = page.evaluate("[...document.querySelectorAll('#messages li')].findIndex(li => li.className === 'note')")
        assert note == 1, "the note stands where the messages are missing"
        page.demand_no_errors(but_cut=True)


def test_what_others_publish_in_a_room_is_text(chat, browser, topic):
    room = topic.rpartition("/")[2]
    markup = '<img src=x onerror="window.broken = true"><b>bold</b>'
    odd = ["a text", 7, None, [], {}, {"name": {}, "text": None}, {"name": markup, "text": markup}]
    chat.publish(f"chat/{room}", *odd)
    with window(browser, chat.links["chat"]) as page:
        enter(page, markup[:40], room)
        eventually(lambda: len(messages(page)) == len(odd), "all are shown")
        assert messages(page)[-1] == [markup, markup]
        assert page.evaluate("document.querySelectorAll('#messages img, #messages b b').length") == 0
        assert page.evaluate("window.broken === undefined")
        page.demand_no_errors()


# The dashboard.


@pytest.fixture
def dashboard(tmp_path):
    with running("dashboard", tmp_path) as example:
        yield example


# What the page shows of each metric: the value, how many points its line has, its class, and what is said of its age.
METRICS = (
    "Object.fromEntries([...document.querySelectorAll('.metric')].map(e => ["
    "`${e.closest('.card').querySelector('h2').textContent} ${e.querySelector('.name').textContent}`,"
    " [e.querySelector('.value').textContent, e.querySelector('polyline').points.length, e.className,"
    " e.querySelector('.age').textContent]]))"
)


def test_values_appear_move_and_go_stale(dashboard, browser):
    with window(browser, dashboard.links["dashboard"]) as page:
        page.until_state("live")
        eventually(lambda: len(page.evaluate(METRICS)) == 12, "six machines with two values each")
        eventually(lambda: all(points > 3 for _, points, *_ in page.evaluate(METRICS).values()), "all have lines")
        seen = page.evaluate(METRICS)
        assert all(re.fullmatch(r"\d+ %", value) for value, *_ in seen.values())
        assert page.texts("h2") == sorted(page.texts("h2"))
        eventually(lambda: page.evaluate(METRICS)["db-1 cpu"][0] != seen["db-1 cpu"][0], "the value has moved")
        # A machine that is heard of once, and what is no metric.
        dashboard.publish("metrics/lonely/cpu", "<b>markup</b>", 250)
        dashboard.publish("metrics/lonely/disk", 50)
        dashboard.publish("metrics/nobody/cpu", "text", None, {"value": 5})
        eventually(lambda: page.evaluate(METRICS).get("lonely cpu", [""])[0] == "100 %", "it is there, within bounds")
        eventually(lambda: page.evaluate(METRICS)["lonely cpu"][2] == "metric stale", "it is marked")
        seen = page.evaluate(METRICS)
        assert re.fullmatch(r"no news for \d+ s", seen["lonely cpu"][3])
        assert seen["web-1 cpu"][2:] == ["metric", ""], "what goes on is not marked"
        assert "lonely disk" not in seen and "nobody cpu" not in seen
        page.demand_good_form()
        page.show_to_all("dashboard")
        page.demand_no_errors()


def test_tabs_share_one_connection_and_another_takes_it_over(dashboard, browser):
    role = "document.querySelector('#state').dataset.role"
    with ExitStack() as stack:
        tabs = [stack.enter_context(ExitStack()) for _ in range(3)]
        pages = [each.enter_context(window(browser, dashboard.links["dashboard"])) for each in tabs]
        for page in pages:
            page.until_state("live")
            eventually(lambda page=page: len(page.evaluate(METRICS)) >= 12, "the tab has its values")
        roles = [page.evaluate(role) for page in pages]
        assert sorted(roles) == ["follower", "follower", "leader"]
        assert "another tab has the connection" in pages[roles.index("follower")].text("#state")
        eventually(lambda: dashboard.metric("herald_readers") == 1, "the server has one reader for all tabs")
        leader = roles.index("leader")
        pages[leader].demand_no_errors()
        tabs.pop(leader).close()
        pages.pop(leader)
        eventually(lambda: sorted(page.evaluate(role) for page in pages) == ["follower", "leader"], "another leads")
        for page in pages:
            seen = page.evaluate(METRICS)["db-1 cpu"][0]
            eventually(lambda page=page, seen=seen: page.evaluate(METRICS)["db-1 cpu"][0] != seen, "values move on")
            page.demand_no_errors()


# The orders.


@pytest.fixture
def orders(tmp_path):
    with running("orders", tmp_path) as example:
        eventually(lambda: token_of(example, "shop") and len(steps_of(example, "43")) == 1, "the orders have come in")
        yield example


def token_of(example, who):
    origin, _, link = example.links[who].partition("/#")
    answer = example.client.post(f"{origin}/token", content=link)
    assert answer.status_code == 200
    return answer.json()["token"]


def bearer(example, who):
    return {"Authorization": f"Bearer {token_of(example, who)}"}


def steps_of(example, number):
    """What was published of an order."""
    answer = example.client.get(f"/v1/events/orders/{number}", headers=bearer(example, "shop"))
    return [event["data"]["status"] for event in answer.json()["events"]]


def move(example, number, *statuses):
    for status in statuses:
        data = {"items": "Two chairs", "status": status}
        answer = example.client.post(f"/v1/events/orders/{number}", json=data, headers=bearer(example, "shop"))
        assert answer.status_code == 201, answer.text


def current(page, number):
    return page.evaluate(
        f"document.getElementById('orders/{number}')?.querySelector('[aria-current]')?.innerText.split('\\n')[0]"
    )


def until_current(page, number, status):
    eventually(lambda: current(page, number) == status, f"order {number} is {status}; {page.states()}")


def test_a_customer_sees_the_order_move_on_and_no_other(orders, browser):
    with ExitStack() as stack:
        shop = stack.enter_context(window(browser, orders.links["shop"]))
        customer = stack.enter_context(window(browser, orders.links["orders/42"]))
        for number in ("41", "42", "43"):
            until_current(shop, number, "received")
        until_current(customer, "42", "received")
        for number in ("41", "43"):
            shop.evaluate(f"document.getElementById('orders/{number}').querySelector('button').click()")
            until_current(shop, number, "paid")
        # A double click moves it on once.
        shop.evaluate("(b => { b.click(); b.click(); })(document.getElementById('orders/42').querySelector('button'))")
        for page in (shop, customer):
            until_current(page, "42", "paid")
        assert steps_of(orders, "42") == ["received", "paid"]
        assert customer.texts("h2") == ["Order 42"]
        assert customer.evaluate("[...document.querySelectorAll('button')].every(b => b.hidden)")
        # It is not the page that keeps the customer from the others.
        for topic, status in (("orders/42", 200), ("orders/43", 403), ("orders/*", 403)):
            headers = bearer(orders, "orders/42")
            assert orders.client.get(f"/v1/events/{topic}", headers=headers).status_code == status
            assert orders.client.post(f"/v1/events/{topic}", headers=headers, json={}).status_code in (403, 422, 400)
        for step in ("packed", "sent", "delivered"):
            shop.evaluate("document.getElementById('orders/42').querySelector('button').click()")
            until_current(shop, "42", step)
        assert shop.evaluate("document.getElementById('orders/42').querySelector('button').hidden"), "nothing is left"
        until_current(customer, "42", "delivered")
        customer.demand_good_form()
        for page, name in ((customer, "orders-customer"), (shop, "orders-shop")):
            page.show_to_all(name)
            page.demand_no_errors()


def test_a_page_that_is_loaded_anew_goes_on_where_it_was(orders, browser):
    with window(browser, orders.links["orders/42"]) as page:
        page.until_state("live")
        until_current(page, "42", "received")
        move(orders, "42", "paid")
        until_current(page, "42", "paid")
        page.call("Page.navigate", url="about:blank")
        move(orders, "42", "packed")
        page.sent.clear()
        page.open(orders.links["orders/42"])
        until_current(page, "42", "packed")
        place = json.loads(page.evaluate("sessionStorage.getItem('orders/42')"))
        assert place["orders"]["orders/42"]["status"] == "paid", "what the page showed when it was left"
        asked = [json.loads(frame) for frame in page.sent if '"subscribe"' in frame]
        assert [each["after"] for each in asked] == [place["cursor"]], "only what came after it was asked for"
        lines = page.texts("li li")
        assert [bool(re.search(r"\d:\d\d", line)) for line in lines] == [True, True, True, False, False], lines
        assert page.text("#note") == ""
        page.demand_no_errors()


def test_a_page_that_comes_too_late_reads_the_state_anew(orders, browser):
    with window(browser, orders.links["orders/42"]) as page:
        until_current(page, "42", "received")
        page.until_state("live")
        page.call("Page.navigate", url="about:blank")
        move(orders, "42", *["paid", "packed"] * 13)  # more than are kept
        page.open(orders.links["orders/42"])
        page.until_text("#note", "The state was read anew.")
        until_current(page, "42", "packed")
        lines = page.texts("li li")
        assert not re.search(r"\d:\d\d", lines[0]), "the first step's time is no longer kept"
        assert page.texts("h2") == ["Order 42"]
        page.demand_no_errors()


def test_a_token_that_expires_in_mid_stream_is_renewed(orders, browser):
    with window(browser, orders.links["orders/42"]) as page:
        page.until_state("live")
        first = page.text("#token")
        eventually(lambda: orders.metric("herald_admissions_total", event="renewed") >= 2, "it was renewed twice")
        assert page.text("#token") != first
        move(orders, "42", "paid")
        until_current(page, "42", "paid")
        page.demand_no_errors()


def test_a_page_whose_token_expired_unrenewed_misses_nothing(orders, browser):
    with window(browser, orders.links["orders/42"]) as page:
        page.until_state("live")
        until_current(page, "42", "received")
        # The shop's server takes its time over the next token.
        page.evaluate(
            "const real = window.fetch; const gate = new Promise(open => { window.openGate = open; });"
            " window.fetch = async (url, ...rest) => { if (url === 'token') await gate; return real(url, ...rest); };"
            " undefined"
        )
        eventually(lambda: orders.metric("herald_admissions_total", event="expired") >= 1, "it has expired")
        move(orders, "42", "paid")
        assert current(page, "42") == "received", "nobody reads with a token that has expired"
        page.evaluate("window.openGate()")
        until_current(page, "42", "paid")
        page.until_state("live")
        page.demand_no_errors()


def test_a_link_that_is_not_good_shows_nothing(orders, browser):
    wrong = orders.links["orders/42"].replace("orders/42&", "orders/41&")
    with window(browser, wrong) as page:
        page.until_text("#token", "This link is not good")
        page.until_state("closed")
        assert page.texts("h2") == []
        # Another link in the same tab is another page.
        page.call("Page.navigate", url=orders.links["orders/41"])
        until_current(page, "41", "received")
