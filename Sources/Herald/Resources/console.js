// The console: which of its areas is shown, and what concerns all of them.
//
// An area is a section of the page and a module. It is told when it is shown and hidden; its place is the address'
// fragment, with parameters behind a question mark: #tail?filter=orders/**

import { byId, write } from "./console/dom.js";
import { Lab } from "./console/lab.js";
import { Overview } from "./console/overview.js";
import { PublishArea } from "./console/publish.js";
import { access, isMultiplexed, protocol } from "./console/server.js";
import { Tail } from "./console/tail.js";

const running = (name) => (isRunning) => byId(`go-${name}`).classList.toggle("running", isRunning);

const tail = new Tail({ onChange: running("tail") });
const areas = {
  overview: new Overview(),
  publish: new PublishArea(),
  tail,
  lab: new Lab({ onChange: running("lab"), onRoomNeeded: () => tail.pause() }),
};
let shown = null;

/** Shows the area that the address names. */
function go() {
  const [, name, query] = /^#?([^?]*)\??(.*)$/.exec(location.hash);
  const next = name in areas ? name : "overview";
  if (next !== shown) {
    areas[shown]?.hide();
    for (const each of Object.keys(areas)) {
      byId(each).hidden = each !== next;
      if (each === next) byId(`go-${each}`).setAttribute("aria-current", "page");
      else byId(`go-${each}`).removeAttribute("aria-current");
    }
    document.title = `${areas[next].title} · Herald`;
    if (shown) scrollTo(0, 0);
  }
  shown = next;
  areas[next].show(Object.fromEntries(new URLSearchParams(query)));
}

// MARK: The token

const tokenForm = byId("access");

access.addEventListener("needed", ({ detail }) => {
  write(byId("access-why"), detail);
  if (!tokenForm.hidden) return;
  tokenForm.hidden = false;
  // Who is typing goes on, and does not type into the token's field.
  if (!document.activeElement.matches("input, textarea, select")) byId("access-token").focus();
});
access.addEventListener("changed", showToken);
tokenForm.addEventListener("submit", (event) => {
  event.preventDefault();
  const token = byId("access-token").value.trim();
  byId("access-token").value = "";
  tokenForm.hidden = true;
  access.set(token, byId("access-keep").checked);
});
byId("access-close").addEventListener("click", () => { tokenForm.hidden = true; });
byId("access-forget").addEventListener("click", () => access.set(null, false));

function showToken() {
  byId("access-forget").hidden = !access.token;
}

// MARK: Start

write(byId("protocol"), isMultiplexed() ? "HTTP/2" : protocol() ? "HTTP/1.1" : "");
showToken();
addEventListener("hashchange", go);
go();
document.body.dataset.ready = "true"; // all that is in the page answers
