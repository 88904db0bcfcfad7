"""herald.js as a module: how it is served, that its types say what it has, and that it needs nothing else."""

import json
import re
import subprocess

import pytest

from browser import new_page
from client_pages import ClientPage, node, text_of
from conftest import ROOT
from helpers import PATIENCE

FOLDER = ROOT / "clients" / "javascript"
MODULE, TYPES = FOLDER / "herald.js", FOLDER / "herald.d.ts"

REFLECT = """
import { writeSync } from "node:fs";
const module = await import(process.argv[1]);
const { Herald, HeraldError } = module;
const members = (...objects) => [...new Set(objects.flatMap((object) => {
  const names = [];
  for (let at = object; at && ![Object, EventTarget, Error].some((each) => at === each.prototype);
       at = Object.getPrototypeOf(at)) names.push(...Object.getOwnPropertyNames(at));
  return names.filter((name) => !["constructor", "stack", "message", "cause", "name"].includes(name));
}))].sort();
const herald = new Herald("http://127.0.0.1:9", { share: false });
const subscription = herald.subscribe("a", () => {});
let error;
try { await herald.publish("a", "x", { retries: 0 }); } catch (thrown) { error = thrown; }
writeSync(1, JSON.stringify({
  exports: Object.keys(module).sort(),
  members: { Herald: members(herald), Subscription: members(subscription), HeraldError: members(error) },
  parents: Object.fromEntries(Object.entries(module).map(([name, made]) => [name, Object.getPrototypeOf(made).name])),
  state: Object.keys(herald.state).sort(),
  name: error.name, isError: error instanceof HeraldError && error instanceof Error,
}));
process.exit(0);
"""


def declared():
    """What herald.d.ts declares: exported classes with their members, and interfaces with theirs."""
    text = re.sub(r"/\*\*.*?\*/|//[^\n]*", "", TYPES.read_text(encoding="utf-8"), flags=re.S)
    found = {}
    for kind, name, parent, body in re.findall(
        r"export (class|interface) (\w+)(?:<[^>]*>)?(?: extends (\w+))? \{\n(.*?)\n\}", text, flags=re.S
    ):
        members = re.findall(r"^  (?:readonly )?(\w+)(?:<[^(]*>)?[?]?[(:]", body, flags=re.M)
        found[name] = (kind, parent, set(members) - {"constructor", "addEventListener"})
    return found


@pytest.fixture(scope="module")
def reflected():
    command = [node(), "--input-type=module", "-e", REFLECT, MODULE.as_uri()]
    answer = subprocess.run(command, capture_output=True, text=True, timeout=PATIENCE)
    assert answer.returncode == 0, answer.stderr
    return json.loads(answer.stdout)


def test_the_types_name_what_the_module_exports(reflected):
    classes = {name: parent for name, (kind, parent, _) in declared().items() if kind == "class"}
    assert set(classes) == {"Herald", "Subscription", "HeraldError"}
    assert reflected["exports"] == sorted(classes)
    assert reflected["parents"] == classes
    assert reflected["name"] == "HeraldError" and reflected["isError"]


@pytest.mark.parametrize("name", ["Herald", "Subscription", "HeraldError"])
def test_the_types_name_each_class_members(reflected, name):
    _, _, members = declared()[name]
    assert members and members <= set(reflected["members"][name]), members - set(reflected["members"][name])


@pytest.mark.parametrize("name", ["Herald", "Subscription", "HeraldError"])
def test_the_classes_have_nothing_that_the_types_do_not_name(reflected, name):
    _, _, members = declared()[name]
    assert set(reflected["members"][name]) <= members, set(reflected["members"][name]) - members


def test_the_types_name_what_a_state_says(reflected):
    _, _, members = declared()["HeraldState"]
    assert set(reflected["state"]) == members


@pytest.mark.parametrize("name", ["HeraldOptions", "SubscribeOptions", "PublishOptions"])
def test_the_module_knows_each_option(name):
    _, _, options = declared()[name]
    source = MODULE.read_text(encoding="utf-8")
    assert options and [each for each in options if not re.search(rf"\b{each}\b", source)] == []


def test_the_defaults_are_those_of_the_types():
    source, types = MODULE.read_text(encoding="utf-8"), TYPES.read_text(encoding="utf-8")
    for name in ("probeTimeout", "silenceMax", "climbAfter", "longPollWait", "shortPollInterval"):
        comment = re.search(rf"/\*\*((?:(?!\*/).)*?)\*/\s*{name}\?", types, re.S)[1]
        said = re.search(r"Default: ([\d,]+)", comment)[1].replace(",", "")
        assert re.search(rf"\b{name}: ([\d_]+)", source)[1].replace("_", "") == said, name


def test_the_module_is_valid_and_needs_nothing_else():
    assert subprocess.run([node(), "--check", MODULE], capture_output=True, timeout=PATIENCE).returncode == 0
    source = MODULE.read_text(encoding="utf-8")
    code = re.sub(r"/\*.*?\*/|^\s*//[^\n]*", "", source, flags=re.S | re.M)
    assert not re.search(r"^\s*import\b|\bimport\s*\(|\brequire\s*\(|^\s*export\b.*\bfrom\b", code, re.M)
    # What a page's policy would have to allow.
    assert not re.search(r"\beval\s*\(|\bnew Function\b|\bcreateObjectURL\b|\bnew (Shared)?Worker\b", code)
    assert not re.search(r"\bprocess\b|\bBuffer\b", code), "nothing that only Node has"


@pytest.mark.parametrize(
    ("path", "file", "kind"),
    [("/herald.js", MODULE, "text/javascript"), ("/herald.d.ts", TYPES, "application/typescript")],
)
def test_it_is_served_to_pages_of_all_origins(server, path, file, kind):
    answer = server.client.get(path, headers={"Origin": "https://app.example"})
    assert answer.status_code == 200 and answer.content == file.read_bytes()
    headers = answer.headers
    assert headers["content-type"] == f"{kind}; charset=utf-8"
    assert headers["access-control-allow-origin"] == "*"
    assert headers["x-content-type-options"] == "nosniff"
    assert headers.get("cross-origin-resource-policy", "cross-origin") == "cross-origin"
    assert headers["cache-control"] == "no-cache"
    again = server.client.get(path, headers={"If-None-Match": headers["etag"]})
    assert (again.status_code, again.content) == (304, b"")
    assert again.headers["etag"] == headers["etag"] and again.headers["access-control-allow-origin"] == "*"
    assert server.client.get(path, headers={"If-None-Match": '"other"'}).status_code == 200
    assert server.client.head(path).headers["content-length"] == str(len(file.read_bytes()))


@pytest.fixture(scope="module")
def friend(servers, elsewhere):
    """A server whose events the pages from elsewhere may have."""
    started = servers.start("client-js-module-friend", "--allowed-origins", elsewhere)
    yield started
    servers.stop(started)


USE = """
(async () => {
  const { Herald } = await import(%(module)s);
  window.client = new Herald(%(url)s, %(options)s);
  window.got = [];
  window.sub = client.subscribe(%(topic)s, (event) => got.push(event.data), { after: %(after)s });
  sub.addEventListener("refused", ({ detail }) => { window.refusal = detail.problem?.type ?? detail.message; });
})()
"""


def use(page, url, topic, after="earliest", **options):
    values = {"module": f"{url}/herald.js", "url": url, "topic": topic, "after": after, "options": options}
    page.evaluate(USE % {name: text_of(value) for name, value in values.items()})


@pytest.mark.parametrize("transport", ["websocket", "sse", "longpoll", "shortpoll"])
def test_a_page_of_another_origin_imports_and_uses_it(browser, friend, elsewhere, topic, transport):
    friend.publish(topic, "before")
    with new_page(browser, ClientPage) as page:
        page.imported(elsewhere, "/")
        use(page, friend.url, topic, transports=[transport], shortPollInterval=100)
        page.wait_for("got.length === 1 && sub.isLive", "what was before did not come")
        assert page.evaluate(f"client.publish({text_of(topic)}, 'by the page').then(receipt => receipt.topic)") == topic
        page.wait_for("got.length === 2", "what it published did not come")
        assert page.evaluate("[...got]") == ["before", "by the page"] and page.errors == []
        page.screenshot(f"client-js-elsewhere-{transport}")


@pytest.mark.parametrize("after", ["latest", "earliest"])
def test_a_page_that_is_not_allowed_is_told_so(browser, server, elsewhere, topic, after):
    """Browsers keep the answer from it, so there is nothing to be told but that it was not reached."""
    with new_page(browser, ClientPage) as page:
        page.imported(elsewhere, "/")
        use(page, server.url, topic, after=after, probeTimeout=500)
        page.wait_for("client.state.name === 'waiting'", "it does not say that it waits")
        assert page.evaluate("client.state.error.message") and page.evaluate("got.length") == 0


def test_the_console_pages_policy_lets_it_work(browser, server, topic):
    """Nothing but the server's own scripts, and no connection to elsewhere."""
    server.publish(topic, "before")
    with new_page(browser, ClientPage) as page:
        page.imported(server.url, "/")
        for transport in ("websocket", "sse", "longpoll", "shortpoll"):
            use(page, server.url, topic, transports=[transport], share=False)
            page.wait_for("got.length === 1 && sub.isLive", f"{transport} does not work")
            page.evaluate("client.close()")
        use(page, server.url, topic)
        page.wait_for("got.length === 1 && sub.isLive", "tabs do not work")
        assert [each for each in page.errors if "Content Security Policy" in each] == []


def test_a_worker_can_use_it(browser, friend, elsewhere, topic):
    """A module worker has no document."""
    friend.publish(topic, "before")
    script = (
        f"import {{ Herald }} from '{friend.url}/herald.js';"
        f"new Herald('{friend.url}').subscribe('{topic}', (event) => postMessage(event.data), {{after: 'earliest'}});"
    )
    with new_page(browser, ClientPage) as page:
        page.imported(elsewhere, "/")
        page.evaluate(
            f"void (window.got = []); const worker = new Worker(URL.createObjectURL(new Blob([{text_of(script)}],"
            " {type: 'text/javascript'})), {type: 'module'}); worker.onmessage = ({data}) => got.push(data);"
        )
        page.wait_for("got.length === 1", "the worker got nothing")
        friend.publish(topic, "after")
        page.wait_for("got.length === 2", "the worker got nothing more")
