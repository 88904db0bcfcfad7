"""The console in a real browser: what tests of its areas do with it."""

import json
from contextlib import contextmanager

from browser import Page, element, new_page

AREAS = ["overview", "publish", "tail", "lab"]
TRANSPORTS = ["websocket", "sse", "longpoll", "shortpoll"]

# The contrast of each text that is shown with the ground behind it, as WCAG 2 has it; gives those that have too little.
# Disabled controls and what is for readers of screens alone are left out, as the standard does.
PALE_TEXTS = """
(() => {
  const channels = (text) => (text.match(/[\\d.]+/g) ?? []).map(Number);
  const light = ([r, g, b]) => [r, g, b].map(v => v / 255)
    .map(v => v <= 0.04045 ? v / 12.92 : ((v + 0.055) / 1.055) ** 2.4)
    .reduce((sum, v, at) => sum + v * [0.2126, 0.7152, 0.0722][at], 0);
  const ground = (e) => {
    for (; e; e = e.parentElement) {
      const colour = channels(getComputedStyle(e).backgroundColor);
      if (colour.length === 3 || colour[3] === 1) return colour;
    }
    return [255, 255, 255];
  };
  const pale = [];
  const texts = document.createTreeWalker(document.body, NodeFilter.SHOW_TEXT);
  while (texts.nextNode()) {
    const e = texts.currentNode.parentElement;
    if (!texts.currentNode.data.trim() || !e.checkVisibility() || e.closest(':disabled, .off-screen, option')) continue;
    const [a, b] = [light(channels(getComputedStyle(e).color)), light(ground(e))].sort((x, y) => y - x);
    const ratio = (a + 0.05) / (b + 0.05);
    if (ratio < 4.5) pale.push(`${texts.currentNode.data.trim().slice(0, 40)}: ${ratio.toFixed(2)}`);
  }
  return pale;
})()
"""


class ConsolePage(Page):
    """A page of the browser that shows the console."""

    def go(self, area):
        self.evaluate(f"location.hash = {json.dumps(area)}")
        name = area.partition("?")[0]
        self.wait_for(f"!document.getElementById('{name}').hidden", f"{name} is not shown")

    def text(self, test_id):
        return self.evaluate(f"{element(test_id)}.textContent")

    def wait_for_text(self, test_id, pattern):
        """Waits until a text matches a regular expression of JavaScript, and gives the match."""
        return self.wait_for(
            f"{element(test_id)}.textContent.match({json.dumps(pattern)})", f"{test_id} does not show {pattern}"
        )

    def choose(self, test_id, value):
        """Sets a select or a slider as a person does, so that the page sees its own input event."""
        self.evaluate(
            f"(e => {{ e.value = {json.dumps(str(value))}; e.dispatchEvent(new Event('input', {{bubbles: true}}));"
            f" }})({element(test_id)})"
        )

    def show_in_all_looks(self, name):
        """Checks and pictures what is shown in light, in dark, and on a phone."""
        for look, width, height, scheme in (
            ("light", 1440, 900, "light"),
            ("dark", 1440, 900, "dark"),
            ("phone", 390, 844, "light"),
        ):
            self.show_as(width, height, scheme)
            self.evaluate("scrollTo(0, 0)")
            self.evaluate("new Promise(done => requestAnimationFrame(() => requestAnimationFrame(done)))")
            self.screenshot(f"console-{name}-{look}")
            assert self.evaluate(PALE_TEXTS) == [], f"{name}, {look}"
            assert self.evaluate("document.documentElement.scrollWidth <= innerWidth"), f"{name} is wider than {look}"
        self.show_as(1440, 900, "light")

    # The live tail

    def start_tail(self, topic, after="latest"):
        self.fill("tail-filter", topic)
        self.fill("tail-after", after)
        self.click("tail-start")
        self.wait_for(f"{element('tail-state')}.dataset.state === 'live'", "the tail is not live")

    def wait_for_rows(self, text, count=1):
        """Waits until the tail shows exactly `count` events that contain the text."""
        rows = (
            f"[...{element('tail-rows')}.querySelectorAll('.event')]"
            f".filter(row => row.textContent.includes({json.dumps(text)})).length"
        )
        self.wait_for(f"{rows} >= {count}", f"the tail did not show {count} × {text!r}")
        assert self.evaluate(rows) == count, f"the tail shows {text!r} more than {count} times"

    # The lab

    def start_lab(self, rate=None, **settings):
        """rate: the slider's place. settings: values of its selects."""
        self.go("lab")
        if rate is not None:
            self.choose("lab-rate", rate)
        for name, value in settings.items():
            self.choose(f"lab-{name}", value)
        self.click("lab-start")
        for transport in TRANSPORTS:
            self.wait_for(f"{element('lane-' + transport)}.dataset.state === 'live'", f"{transport} is not live")

    def figure(self, transport, part):
        return self.evaluate(f"{element('lane-' + transport)}.querySelector('[data-part={part}]').textContent")

    def number(self, transport, part):
        """The first number in a figure; None if there is none yet."""
        return self.evaluate(
            f"(text => text === null ? null : Number(text[0].replaceAll(',', '')))"
            f"({element('lane-' + transport)}.querySelector('[data-part={part}]').textContent.match(/[\\d.,]+/))"
        )

    def wait_for_events(self, count, transports=TRANSPORTS):
        for transport in transports:
            events = f"{element('lane-' + transport)}.querySelector('[data-part=events]').textContent"
            self.wait_for(f"Number({events}.replaceAll(',', '')) >= {count}", f"{transport} has not had {count} events")


@contextmanager
def console(browser, url, area="overview"):
    """The console of a server in a page of its own."""
    with new_page(browser, ConsolePage) as page:
        page.show_as(1440, 900, "light")
        page.open(f"{url}/#{area}")
        yield page
