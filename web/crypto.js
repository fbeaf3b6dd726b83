/**
 * Rooms that the server cannot read: section 9 of PROTOCOL.md, on WebCrypto alone.
 * What each function promises is in crypto.d.ts; here is how, and why.
 * @import * as T from "./crypto.js"
 */

const PREFIX = "p1.";
const IV = 12; // bytes
const TAG = 16; // bytes
const STEP = 128; // bytes: what the size of a message tells is rounded up to this
const MAX_TIME = 8.64e15; // milliseconds: the range of Date, so that a page can show every time
const ALPHABET = "abcdefghijklmnopqrstuvwxyz234567";
const MADE_UP = /^[a-z2-7]{26}$/;
const WEAK = 16; // characters

const encoder = new TextEncoder();
const decoder = new TextDecoder("utf-8", { fatal: true, ignoreBOM: true });

/** @type {typeof T.available} */
export function available() {
  return globalThis.crypto?.subtle !== undefined;
}

/**
 * Not trim() and \s: they take U+FEFF for white space, and miss U+0085.
 * @type {typeof T.prepare}
 */
export function prepare(text) {
  return text.replace(/\p{White_Space}+/gu, " ").replace(/^ | $/g, "").normalize("NFC");
}

/**
 * Unbiased, since 32 letters divide the 256 values of a byte.
 * @type {typeof T.makeSecret}
 */
export function makeSecret() {
  return Array.from(random(26), (byte) => ALPHABET[byte % ALPHABET.length]).join("");
}

/** @type {typeof T.checkSecret} */
export function checkSecret(text) {
  const secret = text.replace(/^\p{White_Space}+|\p{White_Space}+$/gu, "").normalize("NFC");
  return { secret, madeUp: MADE_UP.test(secret), weak: [...secret].length < WEAK };
}

/** @type {typeof T.makeLink} */
export function makeLink(room, secret = "") {
  const parts = [prepare(room), checkSecret(secret).secret];
  return "#" + parts.filter((part) => part !== "").map(escape).join("/");
}

/** @param {string} part */
function escape(part) {
  // Messengers take these for markup, or for the end of the sentence that the link stands in.
  return encodeURIComponent(whole(part)).replace(/[!'()*._~]/g, (c) => "%" + c.charCodeAt(0).toString(16));
}

/** @type {typeof T.parseLink} */
export function parseLink(hash) {
  const fragment = hash.replace(/^#/, "");
  if (fragment === "") return { kind: "none" };
  const parts = fragment.split("/").map(unescape);
  const room = prepare(parts[0] ?? "");
  if (room === "" || parts.length > 2) return { kind: "incomplete", room };
  if (parts.length === 1) {
    // An invitation whose slash was escaped on its way: as a room's name the server would read the secret.
    if (/(\/|%2f)[a-z2-7]{26}$/i.test(room)) return { kind: "incomplete", room: "" };
    return { kind: "open", room };
  }
  const { secret } = checkSecret(parts[1] ?? "");
  return secret === "" ? { kind: "incomplete", room } : { kind: "private", room, secret };
}

/** @param {string} part */
function unescape(part) {
  try {
    return decodeURIComponent(part);
  } catch {
    return ""; // malformed means what empty means: the link is incomplete
  }
}

/**
 * WebCrypto cannot hand PBKDF2's result to HKDF unseen: the master is in memory for a moment, and wiped.
 * @type {typeof T.deriveKeys}
 */
export async function deriveKeys(room, secret) {
  const prepared = prepare(room);
  const password = encoder.encode(checkSecret(secret).secret);
  if (prepared === "" || password.length === 0) throw new RangeError("a room and a secret are needed");
  if (!available()) throw new Error("encryption needs a secure context: https, or localhost");
  const { subtle } = crypto;
  const typed = await subtle.importKey("raw", password, "PBKDF2", false, ["deriveBits"]);
  const salt = encoder.encode("parley/v1/" + prepared);
  const pbkdf2 = { name: "PBKDF2", hash: "SHA-256", salt, iterations: 600_000 };
  const bits = await subtle.deriveBits(pbkdf2, typed, 256);
  const master = await subtle.importKey("raw", bits, "HKDF", false, ["deriveBits", "deriveKey"]);
  for (const bytes of [password, new Uint8Array(bits)]) bytes.fill(0);
  const hkdf = (/** @type {string} */ info) =>
    ({ name: "HKDF", hash: "SHA-256", salt: new Uint8Array(0), info: encoder.encode("parley/v1/" + info) });
  const aes = { name: "AES-GCM", length: 256 };
  const enc = await subtle.deriveKey(hkdf("encrypt"), master, aes, false, ["encrypt", "decrypt"]);
  const access = await subtle.deriveBits(hkdf("access"), master, 256);
  return Object.freeze({ room: prepared, access: toBase64(new Uint8Array(access)), enc });
}

/** @type {typeof T.newStream} */
export function newStream() {
  return toBase64(random(16));
}

/** @type {typeof T.seal} */
export async function seal(keys, { from, key, text, stream, n, at }) {
  const name = prepare(from);
  if (name === "" || key === "" || (name + key).includes("\n")) throw new RangeError("from or key");
  if (!isNumber(n) || !isTime(at)) throw new RangeError("n or at");
  const iv = random(IV);
  const algorithm = { name: "AES-GCM", iv, additionalData: boundTo(keys.room, name, key) };
  const sealed = new Uint8Array(await crypto.subtle.encrypt(algorithm, keys.enc, plaintext(text, stream, n, at)));
  const bytes = new Uint8Array(IV + sealed.length);
  bytes.set(iv);
  bytes.set(sealed, IV);
  return PREFIX + toBase64(bytes);
}

/** @type {typeof T.sealedSize} */
export function sealedSize(text) {
  const widest = plaintext(text, "-".repeat(22), Number.MAX_SAFE_INTEGER, -MAX_TIME);
  return PREFIX.length + Math.ceil(((IV + widest.length + TAG) * 4) / 3);
}

/** @type {typeof T.open} */
export async function open(keys, { message, from, key }) {
  try {
    // No name has a line feed; with one, the bytes that are bound could be cut into name and key in two ways.
    if (!message.startsWith(PREFIX) || !key || from.includes("\n")) return null;
    const bytes = fromBase64(message.slice(PREFIX.length));
    if (bytes === null) return null;
    const algorithm = { name: "AES-GCM", iv: bytes.subarray(0, IV), additionalData: boundTo(keys.room, from, key) };
    const plain = await crypto.subtle.decrypt(algorithm, keys.enc, bytes.subarray(IV));
    return read(JSON.parse(decoder.decode(plain)));
  } catch {
    return null; // for the reader one case: which step failed would tell nobody anything
  }
}

/**
 * The JSON that was sealed; null when it is not that of section 9.
 * @param {unknown} json
 * @returns {T.Opened | null}
 */
function read(json) {
  if (json === null || typeof json !== "object" || Array.isArray(json)) return null;
  const { t: text, s: stream, n, d: at } = /** @type {Record<string, unknown>} */ (json);
  const counted = typeof stream === "string" && isNumber(n);
  if (text === undefined) return { ...(counted && { stream, n }), ...(isTime(at) && { at }) };
  return typeof text === "string" && counted && isTime(at) ? { text, stream, n, at } : null;
}

/** @param {unknown} n @returns {n is number} */
const isNumber = (n) => typeof n === "number" && Number.isSafeInteger(n) && n > 0;

/** @param {unknown} at @returns {at is number} */
const isTime = (at) => typeof at === "number" && Math.abs(at) <= MAX_TIME;

/** @type {(text: string, stream: string, n: number, at: number) => Uint8Array<ArrayBuffer>} */
function plaintext(text, stream, n, at) {
  const json = encoder.encode(JSON.stringify({ t: whole(text), s: stream, n, d: at }));
  const padded = new Uint8Array(Math.ceil(json.length / STEP) * STEP).fill(0x20);
  padded.set(json);
  return padded;
}

/**
 * A text cut within an emoji ends in half a character, which JSON parsers elsewhere refuse.
 * @param {string} text
 */
const whole = (text) => text.replace(/\p{Cs}/gu, "\ufffd");

/** @type {(room: string, from: string, key: string) => Uint8Array<ArrayBuffer>} */
const boundTo = (room, from, key) => encoder.encode(room + "\n" + from + "\n" + key);

/** @param {number} length */
const random = (length) => crypto.getRandomValues(new Uint8Array(length));

/** @param {Uint8Array} bytes */
function toBase64(bytes) {
  const binary = Array.from(bytes, (byte) => String.fromCharCode(byte)).join("");
  return btoa(binary).replaceAll("+", "-").replaceAll("/", "_").replaceAll("=", "");
}

/**
 * Null unless it is exactly what toBase64 makes: atob alone would let white space pass, and
 * bits that do not count, so that a message could be altered and still open.
 * @param {string} text
 */
function fromBase64(text) {
  const binary = atob(text.replaceAll("-", "+").replaceAll("_", "/"));
  const bytes = Uint8Array.from(binary, (c) => c.charCodeAt(0));
  return toBase64(bytes) === text ? bytes : null;
}
