// Says in words what a client's connection is doing. All examples show it.

const TRANSPORTS = { websocket: "WebSocket", sse: "Server-Sent Events", longpoll: "long-poll", shortpoll: "polls" };
const ROLES = {
  alone: "this tab has a connection of its own",
  leader: "this tab has the connection",
  follower: "another tab has the connection",
};

function words({ name, transport, role, retryAt, error }) {
  switch (name) {
    case "live": return `Live by ${TRANSPORTS[transport]}; ${ROLES[role]}`;
    case "connecting": return `Connecting by ${TRANSPORTS[transport] ?? "…"}`;
    case "waiting": return `Cut off; the next try is at ${new Date(retryAt).toLocaleTimeString()}`;
    case "refused": return `Refused: ${error?.message ?? "the server said no"}`;
    default: return "Not connected";
  }
}

/** Keeps an element's text at what the client is doing; its `data-name` and `data-role` are for the style. */
export function showState(herald, element) {
  const show = () => {
    element.textContent = words(herald.state);
    Object.assign(element.dataset, { name: herald.state.name, role: herald.state.role });
  };
  herald.addEventListener("state", show);
  show();
}
