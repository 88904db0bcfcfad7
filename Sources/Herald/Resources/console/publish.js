// The form that publishes, and what became of what it has published.

import { byId, counted, milliseconds, node, timeOfDay } from "./dom.js";
import { Refused, publish } from "./server.js";

const RECEIPTS_MAX = 30;

export class PublishArea {
  title = "Publish";

  constructor() {
    this.form = byId("publish-form");
    this.result = byId("publish-result");
    this.form.addEventListener("submit", (event) => { event.preventDefault(); this.#publish(); });
    this.form.addEventListener("keydown", (event) => {
      if (event.key === "Enter" && (event.ctrlKey || event.metaKey)) {
        event.preventDefault(); // in a field Enter alone would submit it, too
        this.form.requestSubmit();
      }
    });
  }

  show({ topic } = {}) {
    if (topic) byId("publish-topic").value = topic;
  }

  hide() {}

  async #publish() {
    const topic = byId("publish-topic").value.trim();
    const sentAt = performance.now();
    this.#tell("Publishing…", "");
    try {
      const receipt = await publish(topic, byId("publish-data").value, {
        type: byId("publish-type").value.trim(), contentType: byId("publish-content-type").value,
      });
      const took = milliseconds(performance.now() - sentAt);
      this.#tell(`Published as ${receipt.id}, to ${counted(receipt.receivers, "receiver")}, in ${took}.`, "good");
      this.#note(receipt.topic, [node("span", "mono", receipt.id), counted(receipt.receivers, "receiver"), took]);
    } catch (error) {
      this.#tell(error instanceof Refused ? error.message : `Not published: ${error.message}.`, "error");
      this.#note(topic, [node("span", "error", error.message)]);
    }
  }

  #tell(text, tone) {
    this.result.textContent = text;
    this.result.className = tone;
  }

  #note(topic, parts) {
    const list = byId("receipts");
    const details = parts.map((part) => (typeof part === "string" ? node("span", "", part) : part));
    const time = node("time", "", timeOfDay(new Date()));
    list.prepend(node("li", "", undefined, time, node("span", "receipt-topic mono", topic), ...details));
    while (list.childElementCount > RECEIPTS_MAX) list.lastElementChild.remove();
  }
}
