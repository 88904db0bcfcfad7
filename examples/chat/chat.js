// A chat. A room is a topic: who enters reads all that Herald keeps of it, and then what is said.

import { server } from "./config.js";
import { Herald } from "./herald.js";
import { showState } from "./state.js";

const MESSAGES_MAX = 500; // on the page; older ones leave it
const byId = (id) => document.getElementById(id);
const herald = new Herald(server);
let subscription = null;
let topic = "";
let sending = Promise.resolve(); // one message goes out after another, so that they keep their order

/** Adds a line to a list. What others wrote is text and never markup, whatever they published. */
function addLine(list, parts, kind = "") {
  const isAtEnd = list.scrollHeight - list.scrollTop - list.clientHeight < 50;
  const line = document.createElement("li");
  line.className = kind;
  for (const [tag, text] of parts) line.appendChild(document.createElement(tag)).textContent = text;
  list.append(line);
  if (list.children.length > MESSAGES_MAX) list.firstElementChild.remove();
  if (isAtEnd) list.scrollTop = list.scrollHeight;
  return line;
}

function enter(room) {
  subscription?.close();
  byId("messages").replaceChildren();
  topic = `chat/${room}`;
  const note = (text) => addLine(byId("messages"), [["span", text]], "note");
  subscription = herald.subscribe(topic, ({ data, time }) => {
    const at = new Date(time).toLocaleTimeString();
    addLine(byId("messages"), [["b", data?.name ?? "?"], ["span", data?.text ?? "?"], ["time", at]]);
  }, { after: "earliest" });
  subscription.addEventListener("gap", () => note("Some messages are no longer kept."));
  subscription.addEventListener("reset", () => note("The server has begun anew. What was said before is gone."));
  subscription.addEventListener("refused", ({ detail }) => note(`You may not be here: ${detail.message}`));
}

/** Publishes a line of the outbox behind those before it. Its key stays the same, so nothing is ever said twice. */
function send(line, to, message, key) {
  const publish = () => herald.publish(to, message, { idempotencyKey: key });
  sending = sending.then(publish).then(() => line.remove(), (error) => {
    const again = line.appendChild(document.createElement("button"));
    again.textContent = `Not sent (${error.message}). Send again`;
    again.onclick = () => { again.remove(); send(line, to, message, key); };
  });
}

byId("enter").addEventListener("submit", (event) => {
  event.preventDefault();
  location.hash = byId("room").value; // an address to send to others
  enter(byId("room").value);
  byId("say").hidden = false;
  byId("text").focus();
});

byId("say").addEventListener("submit", (event) => {
  event.preventDefault();
  const message = { name: byId("name").value, text: byId("text").value };
  send(addLine(byId("outbox"), [["span", `${message.text} …`]]), topic, message, crypto.randomUUID());
  byId("text").value = "";
});

byId("room").value = location.hash.slice(1) || "lobby";
showState(herald, byId("state"));
