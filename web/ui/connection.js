/** How the connection stands: always in sight, in one of three words; times beside them are not read aloud. */
import { $ } from "./dom.js";

/** @import { Room, Socket } from "../parley.js" */

const line = $("connection");
const word = $("connection-word");
const detail = $("connection-detail");
const now = $("try-now");

/** @type {Socket | undefined} */
let socket;
/** @type {Room | undefined} */
let room;
/** @type {ReturnType<typeof setInterval> | undefined} */
let ticking;

/** @param {Socket} of */
export function attachConnection(of) {
  socket = of;
  room = undefined;
  for (const event of ["state", "rtt"]) of.on(event, draw);
  draw();
}

/** @param {Room} entered */
export function inRoom(entered) {
  room = entered;
  entered.on("resumed", draw);
  entered.on("end", draw);
  // The first round trip now, not with the next regular ping.
  entered.socket.probe();
  draw();
}

function draw() {
  if (!socket) return;
  const { state, retryAt } = socket.state;
  const there = state === "connected" && room?.joined === true;
  const offline = state === "closed" || (!there && !navigator.onLine);
  show(there ? "Connected" : offline ? "Offline" : "Reconnecting");
  const seconds = Math.ceil(((retryAt ?? 0) - Date.now()) / 1000);
  const waits = state === "reconnecting" && seconds > 0;
  if (there) detail.textContent = socket.rtt === undefined ? "" : `${Math.max(1, Math.round(socket.rtt))} ms`;
  else detail.textContent = waits && !offline ? `in ${seconds} s` : "";
  now.hidden = !waits;
  if (waits && ticking === undefined) ticking = setInterval(draw, 500);
  if (!waits) ticking = void clearInterval(ticking);
}

/** @param {string} text */
function show(text) {
  // Written only when it changes: it is a live region.
  if (word.textContent !== text) word.textContent = text;
  line.dataset.state = text.toLowerCase();
}

now.addEventListener("click", () => socket?.connect());
addEventListener("online", draw);
addEventListener("offline", () => {
  // The system says so; whether it is true of this connection is soon known.
  socket?.probe();
  draw();
});
