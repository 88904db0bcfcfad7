// An order tracker. An order is a topic, and each of its events is the order's whole state: the newest one counts.
// A customer's link shows one order; the shop's, all. Who may see and do what is in the token, not in this page.

import { server } from "./config.js";
import { Herald } from "./herald.js";
import { showState } from "./state.js";

const STEPS = ["received", "paid", "packed", "sent", "delivered"];
const byId = (id) => document.getElementById(id);
const say = (text) => { byId("note").textContent = text; };
const make = (tag) => document.createElement(tag);
const clock = (time) => new Date(time).toLocaleTimeString();
const link = new URLSearchParams(location.hash.slice(1)); // who=orders/42&key=…
const who = link.get("who") ?? "nobody";
const saved = JSON.parse(sessionStorage.getItem(who)) ?? { cursor: "earliest", orders: {} };
const herald = new Herald(server, { token: newToken, share: who });
let [reader, orders] = [null, saved.orders]; // the orders by their topics

/** Asks the shop's server for a token: when one is first needed, and again whenever one is about to run out. */
async function newToken() {
  const { token, refusal } = await (await fetch("token", { method: "POST", body: link })).json();
  if (refusal) herald.close();
  byId("token").textContent = refusal ?? `The token is of ${clock(Date.now())}`;
  return token;
}

function follow(after) {
  reader = herald.subscribe(who === "shop" ? "orders/*" : who, take, { after });
  for (const name of ["gap", "reset"]) reader.addEventListener(name, readAnew);
}

/** Events were missed, so what is shown may be wrong. It is read anew from its source: here, what the topics keep. */
function readAnew() {
  say("Some events are no longer kept. The state was read anew.");
  reader.close();
  byId("orders").replaceChildren();
  orders = {};
  follow("earliest");
}

function take({ topic, data, time }) {
  if (!STEPS.includes(data?.status)) return; // whoever may publish may publish anything
  orders[topic] = { ...data, times: { ...orders[topic]?.times, [data.status]: time } };
  show(topic);
}

function show(topic) {
  const { items, status, times } = orders[topic];
  const card = byId(topic) ?? byId("orders").appendChild(byId("order").content.firstElementChild.cloneNode(true));
  card.id = topic;
  card.querySelector("h2").textContent = `Order ${topic.split("/")[1]}`;
  card.querySelector("p").textContent = items;
  card.querySelector("ol").replaceChildren(...STEPS.map((step, index) => Object.assign(make("li"), {
    textContent: times[step] ? `${step}\n${clock(times[step])}` : step,
    className: index <= STEPS.indexOf(status) ? "done" : "",
    ariaCurrent: step === status ? "step" : null,
  })));
  const next = STEPS[STEPS.indexOf(status) + 1];
  Object.assign(card.querySelector("button"), {
    textContent: `Mark as ${next}`, hidden: who !== "shop" || !next,
    onclick: () => moveOn(topic, { items, status: next }),
  });
}

/** Publishes an order's next state. Two clicks, or two clerks, publish it once: their keys are the same. */
function moveOn(topic, order) {
  herald.publish(topic, order, { type: `order.${order.status}`, idempotencyKey: `${topic} ${order.status}` })
    .catch(({ message }) => say(message));
}

// Kept together, so that they agree: what is shown, and the place in the log up to which it was read.
addEventListener("pagehide", () => sessionStorage.setItem(who, JSON.stringify({ cursor: reader.cursor, orders })));
addEventListener("hashchange", () => location.reload()); // another link
Object.keys(orders).forEach(show);
follow(saved.cursor);
showState(herald, byId("state"));
