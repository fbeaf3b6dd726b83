/**
 * A room's own messages on their way: in order, one in flight, the same bytes at each attempt, kept over a reload
 * (PROTOCOL.md, sections 3 and 6). Manual: parley.d.ts.
 */
import { ParleyError, backoff, problem } from "./emitter.js";

/** @import {OwnMessage, Receipt} from "./parley.js" */
/** @import {Room} from "./room.js" */
/**
 * `message`: as it goes on the wire; `first`: when it was sent first.
 * @typedef {{-readonly [K in keyof OwnMessage]: OwnMessage[K]} & {from: string, message?: string, first?: number,
 *   resolve?: (receipt: Receipt) => void, reject?: (error: ParleyError) => void}} Entry
 */

const LIMIT = 100;
/** A server remembers a key for 24 hours. */
const REMEMBERED = 23 * 3_600_000;
/** A reload frees its lock at once; a duplicated tab keeps it. */
const RELOAD = 300;
/** The sessions in use by this page. */
const mine = new Set();

/** 32 random characters; crypto.randomUUID is not there on plain http. */
export const random = () =>
  Array.from(crypto.getRandomValues(new Uint8Array(16)), (byte) => byte.toString(16).padStart(2, "0")).join("");

export class Outbox {
  /** @type {Entry[]} */ entries = [];
  /** All that were made here, to know one's own messages by. @type {Set<string>} */ keys = new Set();
  session = random();
  /** Whose the session is. @type {string | undefined} */ name;

  #place = "";
  /** @type {() => void} */ #release = () => {};
  /** @type {Entry | undefined} */ #flying;
  /** @type {ReturnType<typeof setTimeout> | undefined} */ #timer;
  #notBefore = 0;
  #tries = 0;
  #stream = random();
  #n = 0;

  /** @param {Room} room */
  constructor(room) {
    this.room = room;
  }

  /** Finds what an earlier load of this tab left, unless another tab or socket has its session. */
  async open() {
    const { socket, keys, crypto, name } = this.room;
    this.#place = `parley ${socket.url} ${keys?.access.slice(0, 12) ?? ""} ${name}`;
    for (let kept; (kept = this.#load()); this.#place += "+") {
      if (!(await this.#claim(kept.session))) continue;
      this.session = kept.session;
      this.name = kept.name;
      for (const entry of kept.entries) {
        entry.text = keys && crypto ? ((await crypto.open(keys, entry))?.text ?? null) : entry.message;
        entry.state = "queued";
        this.keys.add(entry.key);
        this.entries.push(entry);
      }
      return;
    }
    await this.#claim(this.session);
  }

  /** A session of another name is another one. @param {string} name */
  async become(name) {
    if (this.name !== undefined && this.name !== name) await this.renew();
    this.name = name;
    this.#save();
  }

  async renew() {
    this.#release();
    await this.#claim((this.session = random()));
  }

  /** @param {string} text */
  send(text) {
    /** @type {Entry} */
    const entry = { key: random(), text: wellFormed(text), created: Date.now(), from: this.name ?? "", state: "queued" };
    const promise = this.#promise(entry);
    const error =
      this.room.left(text) < 0 ? new ParleyError("too_long", "The message is too long.")
      : this.entries.length >= LIMIT ? new ParleyError("outbox_full", "Too many messages are waiting.")
      : this.room.gone ? gone("left")
      : undefined;
    if (error) this.#fail(entry, error);
    else {
      this.entries.push(entry);
      this.keys.add(entry.key);
      this.#change(entry, "queued");
      this.#seal(entry);
    }
    return Object.assign(promise, { message: entry });
  }

  /** @param {string} key @returns {Promise<Receipt>} */
  async retry(key) {
    const entry = this.entries.find((e) => e.key === key && (e.state === "failed" || e.state === "ask"));
    if (!entry) throw new ParleyError("invalid", "There is no such message to be sent again.");
    const promise = this.#promise(entry);
    entry.error = entry.first = undefined;
    this.#change(entry, "queued");
    if (entry.from !== this.name) {
      this.entries.push(...this.entries.splice(this.entries.indexOf(entry), 1)); // a new number in the stream: after the others
      entry.from = this.name ?? "";
      entry.message = undefined;
    }
    this.#seal(entry);
    return promise;
  }

  /** @param {string} key */
  discard(key) {
    const entry = this.#remove(key);
    if (!entry) return false;
    this.#fail(entry, gone("discarded"));
    return true;
  }

  /** The room was left: nothing is sent any more. */
  clear() {
    for (const entry of this.entries.splice(0)) this.#fail(entry, gone("left"));
    this.room.socket.storage.removeItem(this.#place);
    this.close();
  }

  /** Lets another load of the tab have what is left. */
  close() {
    clearTimeout(this.#timer);
    this.#release();
  }

  /** Sends the next one, if it is time. */
  pump() {
    const { room } = this;
    clearTimeout(this.#timer);
    if (!room.joined || this.#flying) return;
    for (const entry of this.entries) {
      const old = entry.first && Date.now() - entry.first > REMEMBERED;
      if (entry.state === "queued" && (old || entry.from !== this.name)) this.#change(entry, "ask");
    }
    const entry = this.entries.find(({ state }) => state === "queued");
    if (!entry?.message) return; // none, or it is being sealed
    const wait = Math.max(room.socket.wait(), this.#notBefore - Date.now());
    if (wait > 0) {
      this.#timer = setTimeout(() => this.pump(), wait);
      return;
    }
    this.#flying = entry;
    entry.first ??= Date.now();
    this.#save();
    const { message, key } = entry;
    room.socket.send("roomMessage", { message, key }, (answer) => this.#answered(entry, answer), 0);
    room.quiet();
    this.#change(entry, "sending");
  }

  /** @param {Entry} entry @param {any} answer */
  #answered(entry, answer) {
    const error = problem(answer);
    this.#flying = undefined;
    if (error?.code === "unavailable") this.#notBefore = Date.now() + backoff(++this.#tries);
    else this.#tries = 0;
    if (!this.entries.includes(entry)) {
      // discarded meanwhile
    } else if (!error) {
      this.#remove(entry.key);
      entry.receipt = answer;
      entry.resolve?.(answer);
      this.#change(entry, "sent");
    } else if (/disconnected|rate_limited|unavailable|not_logged_in/.test(error.code)) {
      this.#change(entry, "queued");
      if (error.code === "not_logged_in") this.room.socket.drop(error.message);
    } else this.#fail(entry, error);
    this.pump();
  }

  /** @param {Entry} entry */
  async #seal(entry) {
    const { keys, crypto } = this.room;
    const { from, key, text, created: at } = entry;
    if (keys && crypto && !entry.message) {
      if (text === null) return this.#fail(entry, new ParleyError("unverified", "The text cannot be read any more."));
      const n = ++this.#n; // taken at once: in the order of sending
      entry.message = await crypto.seal(keys, { from, key, text, stream: this.#stream, n, at });
    }
    entry.message ??= text ?? "";
    this.#save();
    this.pump();
  }

  /** @param {string} key */
  #remove(key) {
    const entry = this.entries.find((e) => e.key === key);
    if (entry) this.entries.splice(this.entries.indexOf(entry), 1);
    this.#save();
    return entry;
  }

  /** @param {Entry} entry @param {Entry["state"]} state */
  #change(entry, state) {
    entry.state = state;
    this.room.fire("outbox", entry, [...this.entries]);
  }

  /** @param {Entry} entry @param {ParleyError} error */
  #fail(entry, error) {
    entry.error = error;
    entry.reject?.(error);
    this.#change(entry, "failed");
  }

  /** Settled with the message; an unhandled rejection is no error. @param {Entry} entry @returns {Promise<Receipt>} */
  #promise(entry) {
    const { resolve: before } = entry;
    /** @type {Promise<Receipt>} */
    const promise = new Promise((resolve, reject) => {
      entry.resolve = (receipt) => (before?.(receipt), resolve(receipt));
      entry.reject = reject;
    });
    promise.catch(() => {});
    return promise;
  }

  #load() {
    try {
      return JSON.parse(this.room.socket.storage.getItem(this.#place) ?? "null");
    } catch {
      return null;
    }
  }

  #save() {
    const { session, name } = this;
    const entries = this.entries.filter((e) => e.message)
      .map(({ key, from, created, first, message }) => ({ key, from, created, first, message }));
    try {
      this.room.socket.storage.setItem(this.#place, JSON.stringify({ session, name, entries }));
    } catch {} // full: then this page is all that has them
  }

  /** Makes the session this page's own. @param {string} session @returns {Promise<boolean>} */
  async #claim(session) {
    if (mine.has(session)) return false;
    mine.add(session);
    const free = (this.#release = () => mine.delete(session));
    const { locks = globalThis.navigator?.locks } = this.room.socket.options;
    return !locks || new Promise((resolve) => {
      locks.request(`parley ${session}`, { signal: AbortSignal.timeout(RELOAD) }, () => {
        resolve(true);
        return new Promise((done) => (this.#release = () => (free(), done(0))));
      }).catch(() => (free(), resolve(false)));
    });
  }
}

/** Half a surrogate pair cannot be sent as UTF-8. @param {string} text */
const wellFormed = (text) => new TextDecoder().decode(new TextEncoder().encode(text));

/** @param {string} code */
const gone = (code) => new ParleyError(code, `The message was not sent: ${code}.`);
