/** From the door into a room, and out again; what is in the room has its own files. */
import { connect } from "../parley.js";
import { arrived, entitle } from "./away.js";
import { banner, unbanner } from "./banner.js";
import { attachComposer, emptyComposer, enableComposer } from "./composer.js";
import { attachConnection, inRoom } from "./connection.js";
import { $, button } from "./dom.js";
import { busy, invite, keysOf, nextName, propose, refused, unreachable } from "./door.js";
import { attachInvite, mayLeave } from "./invite.js";
import { Log } from "./log.js";
import { attachPeople, showPeopleWhereWide } from "./people.js";
import { address, forget, keepName, keepTabPlace, remember } from "./stored.js";
import { View } from "./view.js";

/** @import { ParleyError, Room, Socket } from "../parley.js" */
/** @import { Seat } from "./door.js" */

const view = new View($("log"));
let log = new Log(view);
/** @type {Socket | undefined} */
let socket;
/** @type {Room | undefined} */
let room;
/** @type {AbortController | undefined} */
let joining;

/**
 * Joins from the form, which shows what goes wrong.
 * @param {Seat} place
 * @param {number} [timeout] milliseconds; 0 tries on until somebody leaves
 */
export async function join(place, timeout) {
  joining = new AbortController();
  const { signal } = joining;
  const mine = connect();
  socket = mine;
  attachConnection(mine);
  mine.on("reconnecting", () => room ?? (signal.aborted || unreachable()));
  try {
    const { room: where, secret, name } = place;
    const entered = await mine.join({ room: where, name, secret: secret || undefined, keys: keysOf(place), timeout, signal });
    const seat = { ...place, room: entered.name, name: entered.user.name, joined: true, remember: undefined };
    if (place.remember !== undefined) (place.remember ? remember : forget)(seat);
    enter(entered, seat);
  } catch (error) {
    mine.disconnect();
    if (socket !== mine) return;
    if (!$("room").hidden) invite(place);
    toDoor();
    refused(/** @type {ParleyError} */ (error), place);
  }
}

/** After a reload, straight back in. @param {Seat} place */
export function rejoin(place) {
  preview(place);
  return join(place, 0);
}

/** Whether nothing would be lost by going away, or the person does not mind. */
export const mayGo = () => mayLeave(room?.outbox.length ?? 0);

/** What is known of a room before the server has answered. @param {Seat} place */
function preview(place) {
  log.close();
  log = new Log(view);
  unbanner();
  $("room-title").textContent = place.room;
  $("sealed").classList.toggle("open", !place.secret);
  $("sealed-icon").setAttribute("href", place.secret ? "#i-lock" : "#i-open");
  $("sealed-text").textContent = place.secret ? "Encrypted" : "Open, not encrypted";
  entitle(place.room);
  enableComposer(false);
  $("door").hidden = true;
  $("room").hidden = false;
  showPeopleWhereWide();
}

/** @param {Room} entered @param {Seat} place */
function enter(entered, place) {
  preview(place);
  room = entered;
  keepTabPlace(place);
  keepName(place.name);
  address(place);
  attachInvite(place);
  attachPeople(entered);
  inRoom(entered);
  attachComposer(entered, () => log.toEnd());
  entered.on("locked", () => unlocked(entered));
  unlocked(entered);
  entered.on("resumed", () => {
    unbanner("end");
    enableComposer(true);
  });
  entered.on("end", (error) => ended(error, place));
  log.attach(entered);
  let caughtUp = false; // from now on what is not live was missed
  entered.once("resumed", () => (caughtUp = true));
  entered.on("message", (m) => {
    if ((m.live || caughtUp) && !m.own) arrived(m, entered.name);
  });
  $("message").focus();
}

/** @param {Room} entered */
function unlocked(entered) {
  unbanner("unlocked");
  if (!entered.encrypted || entered.locked) return;
  const text =
    "This room has no lock: anybody may enter it. What you write stays encrypted, and only people with the secret can read it.";
  banner("unlocked", "alert", text);
}

/** Out of the room, until the person acts. @param {ParleyError} error @param {Seat} place */
function ended(error, place) {
  if (!room) return;
  enableComposer(false);
  const again = () => socket?.connect();
  const back = button("Back to the start", () => void leave(), "quiet");
  if (error.code === "taken_over") {
    banner("end", "alert", "This conversation was opened in another place. ", button("Use here", again));
  } else if (error.code === "name_taken") {
    const name = nextName(place.name);
    const rename = () => {
      socket?.disconnect();
      void rejoin({ ...place, name });
    };
    banner("end", "alert", `Somebody else is called ${place.name} here now. `, button(`Join as ${name}`, rename), back);
  } else if (error.code === "removed") {
    banner("end", "alert", "You were removed from this room. ", button("Try again", again), back);
  } else {
    banner("end", "alert", `You are out of the room: ${error.message} `, button("Try again", again), back);
  }
}

function toDoor() {
  room = undefined;
  entitle("");
  $("room").hidden = true;
  $("door").hidden = false;
}

async function leave() {
  if (!(await mayGo())) return;
  const left = room;
  const was = socket;
  socket = undefined;
  joining?.abort();
  keepTabPlace(null);
  address();
  toDoor();
  emptyComposer();
  attachInvite(undefined);
  log.close();
  log = new Log(view);
  propose();
  await left?.leave();
  was?.disconnect();
}

$("leave").addEventListener("click", () => void leave());
$("give-up").addEventListener("click", () => {
  joining?.abort();
  socket?.disconnect();
  busy(false);
});
