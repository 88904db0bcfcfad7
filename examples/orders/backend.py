"""The shop's own server: knows whose link is whose, and gives for it a token that says what may be seen and done."""

import hmac
import json
import secrets
import subprocess
import urllib.request

ORDERS = {"orders/41": "A lamp", "orders/42": "Two chairs", "orders/43": "A table"}
# By whom a link is for. A shop would look these up; here they are good for as long as the example runs.
KEYS = {who: secrets.token_urlsafe(16) for who in ["shop", *ORDERS]}
# So short only that renewals can be watched: every five seconds, with ten to spare.
TOKEN_LIFE, TOKEN_WARNING = "15s", "10s"
# Loopback never goes by a proxy, whatever the environment says.
OPENER = urllib.request.build_opener(urllib.request.ProxyHandler({}))


def flags(site):
    (site.folder / "secret").write_text(secrets.token_urlsafe(48))
    # An order is kept for as long as somebody may ask for it, and so are all of its few steps.
    rule = "orders/* retain-events=20 retain-age=30d"
    return ["--token-secret-file", site.folder / "secret", "--token-warning", TOKEN_WARNING, "--rule", rule]


def addresses(site):
    return [f"{who}: {site.url}/#who={who}&key={key}" for who, key in KEYS.items()]


def make_token(site, who):
    """A customer may see one order; the shop sees and publishes all."""
    rights = ["--subscribe", "orders/*", "--publish", "orders/*"] if who == "shop" else ["--subscribe", who]
    command = [site.binary, "token", "make", "--secret-file", site.folder / "secret", "--sub", who]
    made = subprocess.run([*command, "--expires", TOKEN_LIFE, *rights], check=True, capture_output=True, text=True)
    return made.stdout.strip()


def post(site, path, fields):
    """Answers what pages ask for: a token."""
    who, key = fields.get("who", ""), fields.get("key", "")
    if path != "/token":
        return 404, {}
    if who not in KEYS or not hmac.compare_digest(KEYS[who].encode(), key.encode()):
        return 403, {"refusal": "This link is not good, or not any more."}
    return 200, {"token": make_token(site, who)}


def start(site):
    """Some orders come in."""
    headers = {"Content-Type": "application/json", "Authorization": f"Bearer {make_token(site, 'shop')}"}
    events = [{"topic": topic, "data": {"items": items, "status": "received"}} for topic, items in ORDERS.items()]
    request = urllib.request.Request(f"{site.herald}/v1/events", json.dumps(events).encode(), headers)
    OPENER.open(request, timeout=10).close()
