// Clients under test, and all that each was told, in the order in which it came. In a page, or in Node.

const ITEMS_SHOWN = 12;

/** What can be put into JSON of an error. */
const told = (error) => error && { name: error.name, message: error.message, status: error.status, problem: error.problem };

/** One Herald and its subscriptions. */
class Run {
  constructor(name, Herald, url, { issuer, ...options }) {
    this.name = name;
    this.tokensAsked = 0;
    this.states = [];
    this.items = new Map(); // by the subscription's key
    this.subscriptions = new Map();
    if (issuer) {
      options.token = async () => {
        this.tokensAsked += 1;
        return (await fetch(issuer)).text();
      };
    }
    this.herald = new Herald(url, options);
    this.herald.addEventListener("state", ({ detail }) => this.states.push({ ...detail, error: told(detail.error) }));
  }

  subscribe(key, filters, options = {}) {
    const items = this.items.get(key) ?? [];
    this.items.set(key, items);
    const handler = ({ id, topic, data }) => items.push(["event", { id, topic, data: { n: data?.n ?? data } }]);
    const subscription = this.herald.subscribe(filters, handler, options);
    for (const name of ["live", "gap", "reset"]) {
      subscription.addEventListener(name, ({ detail }) => items.push([name, detail]));
    }
    subscription.addEventListener("refused", ({ detail }) => items.push(["refused", told(detail)]));
    this.subscriptions.set(key, subscription);
    return subscription;
  }

  last(key) {
    return this.items.get(key).findLast(([kind]) => kind === "event")?.[1].id ?? null;
  }

  count(key, kind = "event") {
    return this.items.get(key).filter(([each]) => each === kind).length;
  }

  get state() {
    return { ...this.herald.state, error: told(this.herald.state.error) };
  }
}

/** Runs by name. */
export class Runs {
  #Herald;
  #runs = new Map();
  #uncaught = [];

  constructor(Herald) {
    this.#Herald = Herald;
    globalThis.addEventListener?.("error", ({ message }) => this.#uncaught.push(message));
  }

  get uncaught() {
    return this.#uncaught;
  }

  get(name) {
    return this.#runs.get(name);
  }

  open(name, url, options) {
    const run = new Run(name, this.#Herald, url, options);
    this.#runs.set(name, run);
    return run;
  }

  /** Closes all, so that the next test has the page for itself. */
  clear() {
    for (const { herald } of this.#runs.values()) herald.close();
    this.#runs.clear();
    this.#uncaught.length = 0;
  }

  /** Shows on the page what became of each. */
  draw(title, counts) {
    const element = (name, text, parent) => {
      const made = document.createElement(name);
      if (text !== undefined) made.textContent = text;
      parent.append(made);
      return made;
    };
    document.body.replaceChildren();
    element("h1", title, document.body);
    const table = element("table", undefined, document.body);
    const head = element("tr", undefined, element("thead", undefined, table));
    for (const name of ["client", "state", "transport", "role", "tokens", "subscriptions", "states", "what came last"]) {
      element("th", name, head);
    }
    const body = element("tbody", undefined, table);
    for (const run of this.#runs.values()) {
      const row = element("tr", undefined, body);
      const { name, transport, role } = run.state;
      for (const text of [run.name, name, transport ?? "–", role, run.tokensAsked]) element("td", text, row);
      const sums = [...run.items].map(([key, items]) => {
        const kinds = {};
        for (const [kind] of items) kinds[kind] = (kinds[kind] ?? 0) + 1;
        return `${key}: ${JSON.stringify(kinds)}`;
      });
      const states = run.states.map((state) => state.transport ? `${state.name} ${state.transport}` : state.name);
      const log = [...run.items.values()].flat().slice(-ITEMS_SHOWN);
      element("td", sums.join("\n"), row);
      element("td", states.slice(-2 * ITEMS_SHOWN).join("\n"), row);
      element("td", log.map(([kind, detail]) => `${kind} ${JSON.stringify(detail)}`.slice(0, 90)).join("\n"), row);
    }
    if (counts) element("pre", JSON.stringify(counts, null, 1), document.body);
  }
}
