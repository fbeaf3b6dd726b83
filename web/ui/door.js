/** The join form: a private room of one's own is proposed; who was invited gives a name and is in. */
import { available, checkSecret, deriveKeys, makeSecret, parseLink, prepare } from "../crypto.js";
import { $, bdi, button, el } from "./dom.js";
import { address, forget, isRemembered, keepTabPlace, lastName, remembered, tabPlace } from "./stored.js";
import { freshRoom } from "./words.js";

/** @import { ParleyError } from "../parley.js" */
/** @import { Place } from "./stored.js" */

/** @type {HTMLInputElement} */
const name = $("name");
/** @type {HTMLInputElement} */
const room = $("room-name");
/** @type {HTMLInputElement} */
const secret = $("secret");
/** @type {HTMLInputElement} */
const rememberIt = $("remember");
const notice = $("form-alert");
const INSECURE =
  "This page came over plain http, and browsers encrypt only on https:// or http://localhost. So here you can only " +
  "enter open rooms, which anybody on the way can read. Ask whoever runs this server for its https:// address.";

const TAGLINE = "A room of your own to talk in. No account, and the server cannot read along.";
const TAGLINE_INVITED = "Give a name, and you are in. No account.";
const TAGLINE_INSECURE = "Rooms to talk in, without an account.";

/** The secret that was made up here: with it, the link has to be kept. */
let proposed = "";
/** Invited, or coming back: room and secret are settled and out of sight. */
let settled = false;
/** The link's secret is missing: no open room is entered in its place. */
let incomplete = false;
/** A room that has turned out to be private. @type {string | undefined} */
let locked;
/** The person has said whether to remember this room; what else they change does not unsay it. */
let decidedOn = false;
/** @type {{ place: Place, keys: ReturnType<typeof deriveKeys> } | undefined} */
let early;
/** @typedef {Place & { name: string, remember?: boolean }} Seat `remember`, once inside; undefined leaves it as it is */
/** @type {(seat: Seat) => void} */
let enter = () => {};

/** Where the form's button leads. @param {(seat: Seat) => void} then */
export const onEnter = (then) => void (enter = then);

/** A room of one's own. */
export function propose() {
  incomplete = false;
  proposed = available() ? makeSecret() : "";
  room.value = freshRoom();
  secret.value = proposed;
  show(false);
}

/**
 * What the address says. The secret is taken out of the address bar at once, and kept for this tab alone.
 * False: nobody is invited anywhere, or to where this tab is already.
 * @param {string} hash
 */
export function invitedBy(hash) {
  const link = parseLink(hash);
  if (link.kind === "none") return false;
  address();
  if (link.kind === "incomplete") {
    incomplete = true;
    keepTabPlace(null);
    room.value = link.room;
    secret.value = "";
    show(false);
    fail(secret, "This link is incomplete: the part with the secret is missing or damaged. Ask for the whole link.");
    return true;
  }
  const place = { room: link.room, secret: link.kind === "private" ? link.secret : "" };
  address(place);
  // A reload of the tab that is in an open room comes by its address: it goes straight back in, as any other.
  const { room: was, secret: its, joined } = tabPlace() ?? {};
  if (joined && was === place.room && its === place.secret) return false;
  keepTabPlace(place);
  invite(place);
  return true;
}

/** Asks for the name alone. @param {Place} place */
export function invite(place) {
  incomplete = false;
  proposed = place.uncopied ? place.secret : "";
  room.value = place.room;
  secret.value = place.secret;
  if (place.name) name.value = place.name;
  $("invited-how").textContent = place.joined || isRemembered(place) ? "Back to" : "You are invited to";
  show(true);
  if (!place.secret || !available()) return;
  early = { place, keys: deriveKeys(place.room, place.secret) };
  early.keys.catch(() => {}); // told when they are used
}

/** The keys that were derived while the name was typed, if they are this room's. @param {Place} place */
export const keysOf = ({ room: where, secret: its }) =>
  early && early.place.room === where && early.place.secret === its ? early.keys : undefined;

/** @param {boolean} decided */
function show(decided) {
  settled = decided;
  clear();
  busy(false);
  name.value ||= lastName();
  $("invited").hidden = !decided;
  $("tagline").textContent = decided ? TAGLINE_INVITED : available() ? TAGLINE : TAGLINE_INSECURE;
  $("invited-room").replaceChildren(bdi(room.value));
  $("room-field").hidden = decided;
  $("secret-field").hidden = decided;
  $("elsewhere").hidden = !decided && !incomplete;
  decidedOn = false;
  explain();
  drawRooms();
  if (!available()) {
    secret.disabled = true;
    secret.placeholder = "needs https://";
    alert(INSECURE);
  }
  $("door").hidden = false;
  // Where the next key press is of use: Enter is enough for who was here before.
  (name.value ? $("enter") : name).focus();
}

/** Says plainly who will be able to read, and whether the room is remembered. */
function explain() {
  const given = checkSecret(secret.value);
  const open = !given.secret && !incomplete && prepare(room.value) !== locked;
  const unable = given.secret !== "" && !available();
  $("privacy-icon").setAttribute("href", given.secret && !unable ? "#i-lock" : "#i-open");
  $("privacy").classList.toggle("open", open || unable);
  $("privacy-text").textContent = open
    ? "Open room: not encrypted. Whoever knows its name can enter, and the server can read it."
    : unable
      ? "This room is private. It cannot be opened on this page."
      : !given.secret
        ? "A private room opens with its secret only."
        : given.weak
          ? "Encrypted, but a secret this short can be guessed. Take 16 characters or more."
          : "Encrypted: only people with the secret can read. The server cannot.";
  if (!decidedOn) rememberIt.checked = isRemembered({ room: room.value, secret: secret.value });
}

/** @param {string} text */
function alert(text) {
  const said = el("p", "error", text);
  said.role = "alert";
  notice.replaceChildren(said);
}

/** A sentence at the field that it is about. @param {HTMLInputElement} field @param {string} text */
function fail(field, text) {
  const said = el("p", "error", text);
  said.role = "alert";
  said.id = `${field.id}-error`;
  field.closest(".field")?.append(said);
  field.setAttribute("aria-invalid", "true");
  field.setAttribute("aria-errormessage", said.id);
  /** @type {HTMLElement} */ (field.closest(".field")).hidden = false;
  field.focus();
}

function clear() {
  for (const said of document.querySelectorAll("#join .error")) said.remove();
  for (const field of [name, room, secret]) {
    field.removeAttribute("aria-invalid");
    field.removeAttribute("aria-errormessage");
  }
}

/** @param {boolean} joining */
export function busy(joining) {
  /** @type {HTMLButtonElement} */
  const join = $("enter");
  join.disabled = joining;
  join.textContent = joining ? "Joining…" : "Join";
  $("give-up").hidden = !joining;
  if (!joining && document.activeElement === document.body) join.focus(); // disabled, it had lost the focus
}

/** The server cannot be reached; the join goes on trying. */
export function unreachable() {
  if (!notice.hasChildNodes()) alert("The server cannot be reached. Still trying …");
}

/** "Ann" → "Ann 2" → "Ann 3" @param {string} taken */
export function nextName(taken) {
  const [, base, number] = /^(.*?)(?: (\d{1,4}))?$/su.exec(taken) ?? ["", taken, ""];
  const next = ` ${Number(number ?? 1) + 1}`;
  return [...base].slice(0, 32 - next.length).join("") + next;
}

/**
 * Tells what went wrong with a join, where it can be mended.
 * @param {Pick<ParleyError, "code" | "message" | "fields">} error
 * @param {Place} place
 */
export function refused(error, place) {
  clear();
  busy(false);
  switch (error.code) {
    case "aborted":
      return;
    case "name_taken": {
      const taken = name.value;
      name.value = nextName(taken);
      fail(name, `Somebody here is called ${taken} already. Join as ${name.value}, or choose another name.`);
      return name.select();
    }
    case "wrong_key":
      if (proposed && place.secret === proposed && !settled) {
        room.value = freshRoom();
        return fail(room, `The room ${place.room} exists already. Here is another one: join it, or choose a name of your own.`);
      }
      if (!place.secret) {
        locked = place.room;
        explain();
      }
      return fail(
        secret,
        place.secret
          ? "This secret does not open the room. Compare it with whoever invited you, or ask for the link again."
          : "This room is private and opens with its secret only. Ask for the whole invite link.",
      );
    case "room_full":
      return fail(room, "This room is full. Try again when somebody has left, or choose another room.");
    case "incomplete":
      return fail(secret, "The secret is missing or damaged. Ask for the whole link.");
    case "insecure":
      return alert(INSECURE);
    case "unauthorized":
      return alert("This server lets in only people with a valid token. Ask whoever runs it.");
    case "mismatch":
      return alert("The server answered with another name or room than was asked for. Nothing was sent; do not trust it.");
    case "timeout":
    case "disconnected":
      return alert("The server cannot be reached. Check your connection, then try again.");
    case "invalid": {
      const { name: ofName, room: ofRoom } = error.fields ?? {};
      if (ofName) fail(name, `This name does not do: it ${ofName}`);
      if (ofRoom) fail(room, `This room name does not do: it ${ofRoom}`);
      if (ofName || ofRoom) return;
    }
  }
  alert(`The server did not let you in: ${error.message}`);
}

/** @param {HTMLInputElement} field @param {number} most @param {string} what */
function checked(field, most, what) {
  const value = prepare(field.value);
  const length = [...value].length;
  if (!length) fail(field, `Give ${what}.`);
  else if (length > most) fail(field, `This is ${length - most} characters too long: ${most} at most.`);
  else return value;
  return "";
}

$("join").addEventListener("submit", (event) => {
  event.preventDefault();
  clear();
  const given = checkSecret(secret.value).secret;
  if (given && !available()) return alert(INSECURE);
  if (incomplete && !given) {
    return fail(secret, "This link is incomplete. Give the secret, ask for the whole link, or start a room of your own.");
  }
  // The last field first, so that the first bad one has the focus.
  const where = checked(room, 64, "the room a name");
  const who = checked(name, 32, "a name to be called by");
  if (!where || !who) return;
  const uncopied = given !== "" && given === proposed;
  busy(true);
  enter({ room: where, secret: given, name: who, uncopied, remember: rememberIt.checked });
});

for (const field of [room, secret]) field.addEventListener("input", explain);
rememberIt.addEventListener("change", () => (decidedOn = true));
$("fresh").addEventListener("click", () => {
  propose();
  room.focus();
});
$("elsewhere").addEventListener("click", () => {
  keepTabPlace(null);
  address();
  propose();
});

function drawRooms() {
  const places = remembered();
  $("remembered").hidden = !places.length;
  $("rooms").replaceChildren(
    ...places.map((place) => {
      const open = button("", () => invite(place), "place");
      open.append(bdi(place.room), el("span", "how", place.secret ? "private" : "open, not encrypted"));
      const away = button("Forget", () => {
        forget(place);
        drawRooms();
      }, "quiet");
      away.setAttribute("aria-label", `Forget ${place.room}`);
      return el("li", "", open, away);
    }),
  );
}
