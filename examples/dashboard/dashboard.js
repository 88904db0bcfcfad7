// A dashboard: the newest value of each topic that matches, and how it came to it in the last minute.

import { server } from "./config.js";
import { Herald } from "./herald.js";
import { showState } from "./state.js";

const WINDOW_MS = 60_000; // what a line shows
const POINTS_MAX = 120; // of a line, however much is published
const STALE_MS = 5_000; // an older value is marked
const FORGET_MS = 600_000; // a topic that was quiet for so long leaves the page
const DRAW_MS = 500; // events only change numbers; the page is drawn twice a second, however many come
const metrics = new Map(); // by topic: { element, points }, the points oldest first and at least one
const herald = new Herald(server); // all tabs of this page share one connection

const fromTemplate = (id) => document.getElementById(id).content.firstElementChild.cloneNode(true);

function cardOf(machine) {
  const list = document.getElementById("machines");
  const known = [...list.children].find((card) => card.dataset.machine === machine);
  if (known) return known;
  const card = fromTemplate("machine");
  card.dataset.machine = card.querySelector("h2").textContent = machine;
  list.insertBefore(card, [...list.children].find((other) => other.dataset.machine > machine) ?? null);
  return card;
}

function addMetric(topic) {
  const [, machine, name] = topic.split("/");
  const element = cardOf(machine).appendChild(fromTemplate("metric"));
  element.querySelector(".name").textContent = name;
  const metric = { element, points: [] };
  metrics.set(topic, metric);
  return metric;
}

function forget(topic, element) {
  metrics.delete(topic);
  const isLast = element.parentElement.querySelectorAll(".metric").length === 1;
  (isLast ? element.parentElement : element).remove();
}

function draw({ element, points }, topic) {
  const now = Date.now();
  const { at, value } = points.at(-1);
  const age = now - at;
  element.classList.toggle("stale", age > STALE_MS);
  element.querySelector(".value").textContent = `${value.toFixed(0)} %`;
  element.querySelector(".age").textContent = age > STALE_MS ? `no news for ${Math.round(age / 1000)} s` : "";
  const line = points.map((point) => `${60 - (now - point.at) / 1000},${100 - point.value}`);
  element.querySelector("polyline").setAttribute("points", line.join(" "));
  if (age > FORGET_MS) forget(topic, element);
}

const subscription = herald.subscribe(["metrics/*/cpu", "metrics/*/memory"], ({ topic, data, time }) => {
  if (typeof data !== "number") return; // whoever may publish may publish anything
  const { points } = metrics.get(topic) ?? addMetric(topic);
  const at = Date.parse(time);
  points.push({ at, value: Math.min(100, Math.max(0, data)) });
  while (points.length > POINTS_MAX || points[0].at < at - WINDOW_MS) points.shift();
}, { after: "earliest" });

// The newest values come in any case. But no line is drawn over what is missing: each begins anew.
for (const name of ["gap", "reset"]) {
  subscription.addEventListener(name, () => metrics.forEach(({ points }) => points.splice(0, points.length - 1)));
}

setInterval(() => metrics.forEach(draw), DRAW_MS);
showState(herald, document.getElementById("state"));
