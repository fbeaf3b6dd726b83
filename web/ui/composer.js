/** The message box: sends, counts down, tells the others that one is typing, keeps a draft over a reload. */
import { $, bdi, el } from "./dom.js";
import { draft, keepDraft } from "./stored.js";

/** @import { ParleyError, Room } from "../parley.js" */

/** From here on, in bytes, it counts down. */
const COUNTDOWN = 2000;

/** @type {HTMLTextAreaElement} */
const box = $("message");
const left = $("left");
const typing = $("typing");
const grows = CSS.supports("field-sizing", "content");

/** @type {Room | undefined} */
let room;
let onSend = () => {};

/** @param {Room} entered @param {() => void} sent called when a message was taken from the box */
export function attachComposer(entered, sent) {
  room = entered;
  onSend = sent;
  box.value = draft();
  enableComposer(true);
  changed();
  drawTypists();
  entered.on("typing", drawTypists);
}

/** @param {boolean} on */
export function enableComposer(on) {
  box.disabled = !on;
  /** @type {HTMLButtonElement} */ ($("send")).disabled = !on;
}

export function emptyComposer() {
  room = undefined;
  box.value = "";
  keepDraft("");
  fail("");
}

function drawTypists() {
  const typists = room?.typists ?? [];
  const names = typists.slice(0, 2).flatMap(({ name }, i) => [i ? " and " : "", bdi(name)]);
  if (typists.length > 2) typing.replaceChildren(`${typists.length} people are typing…`);
  else typing.replaceChildren(...names, ["", " is typing…", " are typing…"][typists.length]);
}

function changed() {
  keepDraft(box.value);
  if (!grows) box.rows = Math.min(8, box.value.split("\n").length);
  const rest = room?.left(box.value) ?? COUNTDOWN;
  const over = rest < 0;
  if (over) fail(`This message is ${(-rest).toLocaleString()} bytes too long.`);
  else fail("");
  if (!over && rest < COUNTDOWN) left.textContent = `${rest.toLocaleString()} bytes left`;
}

/** @param {string} text "" when all is well */
function fail(text) {
  box.setAttribute("aria-invalid", String(text !== ""));
  const alert = left.querySelector("[role=alert]");
  // The same element, so that a screen reader hears of it once and not at each key.
  if (text && alert) alert.textContent = text;
  else left.replaceChildren(...(text ? [Object.assign(el("span", "error", text), { role: "alert" })] : []));
}

function send() {
  const text = box.value.trim();
  if (!room || box.disabled || !text || room.left(text) < 0) return;
  const sending = room.send(text);
  sending.catch((/** @type {ParleyError} */ error) => {
    if (error.code !== "too_long" && error.code !== "outbox_full") return;
    if (!box.value) box.value = text;
    changed();
    fail(error.code === "outbox_full" ? "A hundred messages are waiting already: this one was not taken." : error.message);
  });
  box.value = "";
  changed();
  onSend();
}

box.addEventListener("input", () => {
  changed();
  room?.typing(box.value !== "");
});
box.addEventListener("keydown", (event) => {
  // 229: Safari's way of saying that this Enter ended the composition of a letter.
  if (event.key !== "Enter" || event.shiftKey || event.isComposing || event.keyCode === 229) return;
  event.preventDefault();
  send();
});
$("composer").addEventListener("submit", (event) => {
  event.preventDefault();
  send();
  box.focus();
});
