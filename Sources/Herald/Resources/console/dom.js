// What all areas of the page need: elements, words, numbers and times as text.
// Nothing received is ever made into markup: only textContent is written.

export const byId = (id) => document.getElementById(id);

/** Makes an element. Its text is text, whatever it looks like. */
export function node(tag, className, text, ...children) {
  const element = document.createElement(tag);
  if (className) element.className = className;
  if (text !== undefined) element.textContent = text;
  element.append(...children);
  return element;
}

/** Writes a text unless it stands there already: what does not change is not laid out again. */
export function write(element, text) {
  if (element.textContent !== text) element.textContent = text;
}

/** A copy of what a template holds, and its parts by their `data-part`. */
export function instance(templateId) {
  const element = byId(templateId).content.firstElementChild.cloneNode(true);
  const parts = {};
  for (const part of element.querySelectorAll("[data-part]")) parts[part.dataset.part] = part;
  return { element, parts };
}

export const words = (text) => text.split(/[\s,]+/).filter(Boolean);

export const prefersStillness = matchMedia("(prefers-reduced-motion: reduce)");

// MARK: Numbers

const integer = new Intl.NumberFormat("en");

export const count = (number) => integer.format(number);

/** "1 event", "1,200 events". */
export const counted = (number, noun) => `${count(number)} ${noun}${number === 1 ? "" : "s"}`;

/** A number in at most four digits: 0.04, 7.2, 431, 12.3k, 5.1M. */
export function short(number) {
  if (number === 0) return "0";
  if (number < 0.1) return number.toFixed(2);
  if (number < 99.95) return number.toFixed(1).replace(/\.0$/, "");
  if (number < 9999.5) return integer.format(Math.round(number));
  for (const [size, letter] of [[1e9, "G"], [1e6, "M"], [1e3, "k"]]) {
    if (number >= size) return `${(number / size).toFixed(1).replace(/\.0$/, "")}${letter}`;
  }
  return String(number);
}

export function bytes(number) {
  if (number < 999.5) return `${Math.round(number)} B`;
  for (const [size, unit] of [[1024 ** 3, "GiB"], [1024 ** 2, "MiB"], [1024, "KiB"]]) {
    if (number >= 0.97 * size) return `${(number / size).toFixed(number < 99.5 * size ? 1 : 0)} ${unit}`;
  }
  return `${Math.round(number)} B`;
}

/** A time between two moments, as exact as it is worth being: 0.8 ms, 42 ms, 1.3 s. */
export function milliseconds(ms) {
  if (ms < 9.95) return `${Math.max(0, ms).toFixed(1)} ms`;
  if (ms < 999.5) return `${Math.round(ms)} ms`;
  return `${(ms / 1000).toFixed(ms < 99_500 ? 1 : 0)} s`;
}

/** A long time: "3 d 4 h", "12 min 5 s". */
export function duration(seconds) {
  const units = [[86_400, "d"], [3600, "h"], [60, "min"], [1, "s"]];
  const first = units.findIndex(([size]) => seconds >= size);
  if (first < 0) return "0 s";
  const [[size, unit], next] = [units[first], units[first + 1]];
  const rest = next ? Math.floor((seconds % size) / next[0]) : 0;
  return `${Math.floor(seconds / size)} ${unit}${rest ? ` ${rest} ${next[1]}` : ""}`;
}

export function timeOfDay(date, withMilliseconds = false) {
  if (Number.isNaN(date.getTime())) return "";
  const text = date.toTimeString().slice(0, 8);
  return withMilliseconds ? `${text}.${String(date.getMilliseconds()).padStart(3, "0")}` : text;
}

/** Letters that nobody else has drawn. Without HTTPS, and beyond loopback, browsers have no crypto.randomUUID. */
export function randomName() {
  return [...crypto.getRandomValues(new Uint8Array(4))].map((byte) => byte.toString(16).padStart(2, "0")).join("");
}

// MARK: Clipboard

/** Copies a text. Gives whether it could: without HTTPS, and beyond loopback, browsers have no clipboard for pages. */
export async function copy(text) {
  try {
    await navigator.clipboard.writeText(text);
    return true;
  } catch {
    const field = node("textarea", "off-screen", undefined);
    field.value = text;
    const focused = document.activeElement;
    document.body.append(field);
    field.select();
    const isCopied = document.execCommand("copy");
    field.remove();
    focused?.focus();
    return isCopied;
  }
}
