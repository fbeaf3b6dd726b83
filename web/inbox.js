/** The messages of a room: judged, in order, each handed over once (sections 3, 6 and 9 of PROTOCOL.md). */
import { utf8 } from "./base.js";

/** @typedef {import("./internal.js").Message} Message */

const HELD = 1000; // events
const KNOWN = 20_000; // messages

/** @type {import("./internal.js").MakeInbox} */
export const makeInbox = (room) => {
  /** @type {Map<number, Message>} */
  const known = new Map();
  /** @type {Map<string, import("./internal.js").Missing>} */
  const missing = new Map();
  let reader = room.codec.judge();
  /** What is handed over, one after the other. */
  let chain = Promise.resolve();
  /** Waits for the first handler. @type {[string, ...any[]][] | undefined} */
  let held = [];

  /** @param {string} event @param {any[]} args */
  const give = (event, ...args) => {
    if (!held) return room.gone || room.fire(event, ...args);
    held.push([event, ...args]);
    if (held.length > HELD) held.shift();
  };

  /** @template T @param {Promise<T>} promise @param {(value: T) => void} use */
  const queue = (promise, use) => (chain = chain.then(() => promise).then(use).catch(console.error));

  /** @param {import("./internal.js").Findings} update @param {boolean} live @param {boolean} [tell] */
  const take = (update, live, tell = true) => {
    for (const { id, verdict, outOfOrder, clock, sentAt, ...claimed } of update.messages) {
      if (known.has(id)) continue;
      const own = room.isOwn(claimed.userId, claimed.key);
      const message = { text: null, ...claimed, own, live, sentAt: clock ? sentAt : undefined };
      known.set(id, mark(message, verdict, outOfOrder));
      const [oldest] = known.keys();
      if (known.size > KNOWN) known.delete(oldest);
      if (tell) give("message", known.get(id));
    }
    const changed = update.changed.flatMap(({ id, verdict, outOfOrder }) => {
      const message = known.get(id);
      return message ? mark(message, verdict, outOfOrder) : [];
    });
    for (const one of update.missing) missing.set(one.id, one);
    for (const id of update.found) missing.delete(id);
    room.missing = [...missing.values()];
    if (changed.length || update.missing.length || update.found.length) give("marks", changed, room.missing);
  };

  return {
    release() {
      for (const [event, ...args] of held ?? []) room.fire(event, ...args);
      held = undefined;
    },

    login(answer, since) {
      const { epoch, seq, gap } = answer;
      const newLog = epoch !== room.epoch;
      if (newLog) reader = room.codec.judge();
      Object.assign(room, { epoch, seq });
      queue(reader.login(answer, since), (update) => {
        if (newLog) {
          known.clear();
          missing.clear();
        }
        if (gap) give("gap", { ...gap, newLog });
        take(update, false);
      });
    },

    live(payload) {
      if (payload.seq <= room.seq) return;
      room.seq = payload.seq; // before any handler is called
      queue(reader.live(payload), (update) => take(update, true));
    },

    async history(page) {
      const { messages, more } = await room.ask("history", page);
      await queue(reader.page(messages, page?.before), (update) => take(update, false, false));
      const wanted = new Set(messages.map((/** @type {Message} */ { seq }) => seq));
      return { messages: [...known.values()].filter(({ seq }) => wanted.has(seq)).sort((a, b) => a.seq - b.seq), more };
    },
  };
};

/** @param {Message} message @param {string} verdict @param {boolean} [outOfOrder] */
const mark = (message, verdict, outOfOrder) => {
  const fine = verdict === "ok";
  return Object.assign(message, {
    mark: fine ? undefined : verdict,
    text: fine ? message.text : null,
    outOfOrder: outOfOrder || undefined,
  });
};

/** @type {import("./internal.js").Believe} */
const believe = async (payloads) => ({
  messages: payloads.map(({ message, ...rest }) => {
    const verdict = message.startsWith("p1.") ? "encrypted" : "ok";
    return { ...rest, id: rest.seq, text: message, verdict };
  }),
  changed: [],
  missing: [],
  found: [],
});

/** An open room takes the server's word. @type {import("./internal.js").Codec} */
export const plain = {
  prepare: (name) => name,
  size: (text) => utf8(text).length,
  seal: ({ text }) => text,
  open: ({ message }) => message,
  judge: () => ({
    login: ({ messages }) => believe(messages),
    live: (payload) => believe([payload]),
    page: believe,
  }),
};
