/**
 * A room's own messages on their way: in order, one in flight, the same bytes at each attempt, kept over a reload
 * (sections 3 and 6 of PROTOCOL.md).
 */
import { backoff, fault, now, utf8 } from "./base.js";

/** @typedef {import("./internal.js").Entry} Entry */

const LIMIT = 100;
const KEPT = ["session", "name", "entries", "key", "from", "created", "first", "message"]; // never the text
const REMEMBERED = 23 * 3_600_000; // a server knows a key for 24 hours

/** 32 characters; crypto.randomUUID is not there on plain http. */
const random = () => btoa(String.fromCharCode(...crypto.getRandomValues(new Uint8Array(24))));

/** @param {string} code */
const unsent = (code) => fault(code, "not sent");

/** @type {import("./internal.js").MakeOutbox} */
export const makeOutbox = (room) => {
  const { socket } = room;
  const { storage, options } = socket;
  const { locks = globalThis.navigator?.locks } = options;
  /** @type {Entry[]} */
  const entries = (room.outbox = []);
  /** @type {Entry | undefined} */
  let flying;
  /** @type {ReturnType<typeof setTimeout> | undefined} */
  let timer;
  let place = ""; // in the storage
  let release = () => {}; // the session's lock
  let notBefore = 0;
  let tries = 0;

  /** @param {Entry} entry @param {Entry["state"]} state */
  const change = (entry, state) => {
    entry.state = state;
    room.fire("outbox", entry, entries);
  };

  /** @param {Entry} entry @param {any} error */
  const fail = (entry, error) => {
    entry.error = error;
    entry.reject?.(error);
    change(entry, "failed");
  };

  const save = () => {
    if (room.gone) return; // the place may be another's already
    const { session, name } = box;
    const sealed = entries.filter(({ message }) => message !== undefined);
    try {
      storage.setItem(place, JSON.stringify({ session, name, entries: sealed }, KEPT));
    } catch {} // full: then this page alone has them
  };

  const load = () => {
    try {
      return JSON.parse(/** @type {string} */ (storage.getItem(place)));
    } catch {}
  };

  /** Makes a session this page's own: a reload frees its lock at once, a duplicated tab keeps it. @param {string} session */
  const claim = (session) => !locks || new Promise((resolve) => {
    locks.request(`parley ${session}`, { signal: AbortSignal.timeout(1_000) }, () => {
      resolve(true);
      return new Promise((done) => (release = () => done(0)));
    }).catch(() => resolve(false));
  });

  /** @param {string} key */
  const remove = (key) => {
    const entry = entries.find((one) => one.key === key);
    if (entry) entries.splice(entries.indexOf(entry), 1);
    save();
    return entry;
  };

  /** Settled with the message; unhandled, a rejection is no error. @param {Entry} entry */
  const promise = (entry) => {
    const { resolve: before } = entry;
    /** @type {Promise<import("./parley.js").Receipt>} */
    const settled = new Promise((resolve, reject) => {
      entry.resolve = (receipt) => (before?.(receipt), resolve(receipt));
      entry.reject = reject;
    });
    settled.catch(() => {});
    return settled;
  };

  /** @param {Entry} entry */
  const seal = async (entry) => {
    const { text, message } = entry;
    try {
      if (text === null && message === undefined) throw unsent("unverified");
      entry.message ??= await room.codec.seal({ ...entry, text: text ?? "" });
      save();
      box.pump();
    } catch (error) {
      fail(entry, error);
    }
  };

  /** @param {Entry} entry @param {any} answer @param {import("./parley.js").ParleyError} [error] */
  const answered = (entry, answer, error) => {
    const { code = "" } = error ?? {};
    flying = undefined;
    tries = code === "unavailable" ? tries + 1 : 0;
    if (tries) notBefore = now() + backoff(tries);
    if (!entries.includes(entry)) {
      // discarded meanwhile
    } else if (!error) {
      remove(entry.key);
      entry.receipt = answer;
      entry.resolve?.(answer);
      change(entry, "sent");
    } else if (/disconnected|rate_limited|unavailable|not_logged_in/.test(code)) {
      change(entry, "queued");
      if (code === "not_logged_in") socket.drop(code);
    } else fail(entry, error);
    box.pump();
  };

  /** @type {import("./internal.js").Outbox} */
  const box = {
    session: random(),
    name: "",
    keys: new Set(),

    async open() {
      place = `parley ${socket.url} ${room.codec.access?.slice(0, 12)} ${room.name}`;
      for (let kept; (kept = load())?.session; place += "+") {
        if (!(await claim(kept.session))) continue;
        Object.assign(box, { session: kept.session, name: kept.name });
        for (const entry of kept.entries) {
          box.keys.add(entry.key);
          entries.push({ ...entry, text: await room.codec.open(entry), state: "queued" });
        }
        return;
      }
      await claim(box.session);
    },

    async become(name) {
      if (box.name && box.name !== name) await box.renew();
      box.name = name;
      save();
    },

    async renew() {
      release();
      await claim((box.session = random()));
    },

    send(text) {
      text = new TextDecoder().decode(utf8(text)); // half a surrogate pair is no UTF-8
      /** @type {Entry} */
      const entry = { key: random(), text, created: Date.now(), from: box.name, state: "queued" };
      const message = promise(entry);
      const code = room.gone ? "left" : room.left(text) < 0 ? "too_long" : entries.length < LIMIT ? "" : "outbox_full";
      if (code) fail(entry, unsent(code));
      else {
        entries.push(entry);
        box.keys.add(entry.key);
        change(entry, "queued");
        seal(entry);
      }
      return Object.assign(message, { message: entry });
    },

    async retry(key) {
      const entry = entries.find((one) => one.key === key && /failed|ask/.test(one.state));
      if (!entry) throw unsent("invalid");
      const sent = promise(entry);
      entry.error = entry.first = undefined;
      if (entry.from !== box.name) {
        entries.push(.../** @type {Entry[]} */ ([remove(key)])); // its number will be a new one
        Object.assign(entry, { from: box.name, message: undefined });
      }
      change(entry, "queued");
      seal(entry);
      return sent;
    },

    discard(key) {
      const entry = remove(key);
      if (entry) fail(entry, unsent("discarded"));
      return Boolean(entry);
    },

    clear() {
      for (const entry of entries.splice(0)) fail(entry, unsent("left"));
      storage.removeItem(place);
    },

    close() {
      clearTimeout(timer);
      release();
    },

    pump() {
      clearTimeout(timer);
      if (!room.joined || flying) return;
      for (const entry of entries) {
        const { from, first, state } = entry;
        const unsure = from !== box.name || (first && Date.now() - first > REMEMBERED);
        if (state === "queued" && unsure) change(entry, "ask");
      }
      const entry = entries.find(({ state }) => state === "queued");
      if (entry?.message === undefined) return; // none, or it is being sealed
      const wait = Math.max(socket.wait(), notBefore - now());
      if (wait > 0) {
        timer = setTimeout(box.pump, wait);
        return;
      }
      flying = entry;
      entry.first ??= Date.now();
      save();
      const { message, key } = entry;
      socket.emit("roomMessage", { message, key }, (answer, error) => answered(entry, answer, error), 0);
      change(entry, "sending");
    },
  };
  return box;
};
