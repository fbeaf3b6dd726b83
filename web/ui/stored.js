/**
 * What the page keeps between loads: for this tab (sessionStorage) the room that a reload returns to, on this
 * device (localStorage) the name, the settings and, only where asked for, rooms with their secrets.
 * Browsers may refuse storage; then nothing is kept and the page works all the same.
 */

/**
 * A room, and how one got there.
 * @typedef {object} Place
 * @property {string} room
 * @property {string} secret "" is an open room
 * @property {string} [name] under which this tab is in the room
 * @property {boolean} [joined] a reload goes straight back in
 * @property {boolean} [uncopied] the secret was made up here, and the link has not left this page yet
 */

// Two servers under one origin, at different paths, have rooms of their own.
const base = new URL(".", location.href);
const TAB = `parley.tab ${base.pathname}`;
const ROOMS = `parley.rooms ${base.pathname}`;

/** @param {() => Storage} storage @param {string} key */
function read(storage, key) {
  try {
    return JSON.parse(storage().getItem(key) ?? "null");
  } catch {
    return null;
  }
}

/** @param {() => Storage} storage @param {string} key @param {unknown} value null forgets */
function write(storage, key, value) {
  try {
    if (value === null) storage().removeItem(key);
    else storage().setItem(key, JSON.stringify(value));
  } catch {
    // Refused or full: not kept.
  }
}

const tab = () => sessionStorage;
const device = () => localStorage;

/** @returns {Place | null} */
export const tabPlace = () => read(tab, TAB);
/** @param {Place | null} place */
export const keepTabPlace = (place) => write(tab, TAB, place);

/** @returns {string} */
export const draft = () => read(tab, `${TAB} draft`) ?? "";
/** @param {string} text */
export const keepDraft = (text) => write(tab, `${TAB} draft`, text || null);

/** @returns {string} */
export const lastName = () => read(device, "parley.name") ?? "";
/** @param {string} name */
export const keepName = (name) => write(device, "parley.name", name);

/** @param {"sound" | "desktop"} name @returns {boolean} */
export const setting = (name) => read(device, `parley.${name}`) === true;
/** @param {"sound" | "desktop"} name @param {boolean} on */
export const keepSetting = (name, on) => write(device, `parley.${name}`, on || null);

/** Newest first. @returns {Place[]} */
export const remembered = () => read(device, ROOMS) ?? [];

/** @param {Place} place */
export const isRemembered = ({ room, secret }) =>
  remembered().some((other) => other.room === room && other.secret === secret);

/** At most 50; the oldest goes. @param {Place} place */
export function remember({ room, secret }) {
  const others = remembered().filter((other) => other.room !== room || other.secret !== secret);
  write(device, ROOMS, [{ room, secret }, ...others].slice(0, 50));
}

/** @param {Place} place */
export function forget({ room, secret }) {
  const others = remembered().filter((other) => other.room !== room || other.secret !== secret);
  write(device, ROOMS, others.length ? others : null);
}

/**
 * What stands in the address bar: never a secret. An open room's name is none, and stays for a reload or a bookmark.
 * @param {Place} [place]
 */
export function address(place) {
  const open = place && !place.secret ? `#${encodeURIComponent(place.room)}` : "";
  history.replaceState(null, "", location.pathname + location.search + open);
}
