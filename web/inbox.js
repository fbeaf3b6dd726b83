/** The messages of a room: judged, in order, each handed over once (sections 3, 6 and 9 of PROTOCOL.md). */

/** @import {Gap, Message, Missing} from "./parley.js" */
/** @import {Payload, Reader, Update} from "./reader.js" */
/** @import {Room} from "./room.js" */
/** @typedef {Pick<Reader, "login" | "live" | "page">} Judge */

const HELD = 1000; // events
const KNOWN = 20_000; // messages

export class Inbox {
  /** The cursor: goes on before a handler is called. */
  seq = 0;
  epoch = "";
  /** @type {Map<string, Missing>} */ missing = new Map();
  /** Makes the judge of a log. @type {() => Judge} */ judge = () => open;

  #room;
  #reader = this.judge();
  /** @type {Map<number, Message>} */ #known = new Map();
  /** What is handed over, one after the other. */
  #chain = Promise.resolve();
  /** Waits for the first handler. @type {[string, ...any[]][] | undefined} */ #held = [];

  /** @param {Room} room */
  constructor(room) {
    this.#room = room;
  }

  /** @param {any} answer to a login @param {number} [since] */
  login(answer, since) {
    const { epoch, seq, gap } = answer;
    const newLog = epoch !== this.epoch;
    if (newLog) this.#reader = this.judge();
    this.epoch = epoch;
    this.seq = seq;
    this.#queue(this.#reader.login(answer, since), (update) => {
      if (newLog) {
        this.#known.clear();
        this.missing.clear();
      }
      if (gap) this.#give("gap", { ...gap, newLog, fill: () => this.#fill(gap) });
      this.#take(update, false, true);
    });
  }

  /** @param {Payload} payload */
  live(payload) {
    if (payload.seq <= this.seq) return;
    this.seq = payload.seq;
    this.#queue(this.#reader.live(payload), (update) => this.#take(update, true, true));
  }

  /** @param {{before?: number, after?: number, limit?: number}} page @returns {Promise<{messages: Message[], more: boolean}>} */
  async history(page) {
    const { messages, more } = await this.#room.ask("history", page);
    await this.#queue(this.#reader.page(messages, page.before), (update) => this.#take(update, false, false));
    const wanted = new Set(messages.map((/** @type {Payload} */ { seq }) => seq));
    const found = [...this.#known.values()].filter(({ seq }) => wanted.has(seq));
    return { messages: found.sort((a, b) => a.seq - b.seq), more };
  }

  /** The first handler of messages is there. */
  release() {
    for (const [event, ...args] of this.#held?.splice(0) ?? []) this.#room.fire(event, ...args);
    this.#held = undefined;
  }

  /** @param {Pick<Gap, "reason" | "after" | "before">} gap */
  async #fill({ reason, after, before }) {
    /** @type {Message[]} */
    const filled = [];
    for (let next = after, more = reason === "too_many"; more; ) {
      // From one that is known, so that the judge sees the pages join up.
      const page = await this.history({ after: Math.max(0, next - 1), limit: 200 });
      const inside = page.messages.filter(({ seq }) => seq > next && (before === null || seq < before));
      filled.push(...inside);
      more = page.more && inside.length > 0;
      next = inside.at(-1)?.seq ?? next;
    }
    return filled;
  }

  /** @param {Update} update @param {boolean} live @param {boolean} tell */
  #take({ messages, changed, missing, found }, live, tell) {
    for (const { id, seq, at, from, userId, key, text, ...judged } of messages) {
      if (this.#known.has(id)) continue;
      const own = this.#room.isOwn(userId, key);
      /** @type {Message} */
      const message = { seq, at, from, userId, key, text: text ?? null, own, live };
      if (judged.clock) message.sentAt = judged.sentAt;
      mark(message, judged);
      this.#known.set(id, message);
      for (const [oldest] of this.#known) if (this.#known.size > KNOWN) this.#known.delete(oldest); else break;
      if (tell) this.#give("message", message);
    }
    const marked = changed.flatMap((judged) => mark(this.#known.get(judged.id), judged) ?? []);
    for (const mark of missing) this.missing.set(mark.id, mark);
    for (const id of found) this.missing.delete(id);
    if (marked.length || missing.length || found.length) this.#give("marks", marked, [...this.missing.values()]);
  }

  /** @template T @param {Promise<T>} promise @param {(value: T) => void} use */
  #queue(promise, use) {
    return (this.#chain = this.#chain.then(() => promise).then(use));
  }

  /** @param {string} event @param {any[]} args */
  #give(event, ...args) {
    if (this.#room.gone) return;
    if (!this.#held) return this.#room.fire(event, ...args);
    this.#held.push([event, ...args]);
    if (this.#held.length > HELD) this.#held.shift();
  }
}

/** @param {Message | undefined} message @param {{verdict: string, outOfOrder: boolean}} judged */
function mark(message, { verdict, outOfOrder }) {
  if (!message) return undefined;
  if (outOfOrder) message.outOfOrder = true;
  else delete message.outOfOrder;
  if (verdict === "ok") delete message.mark;
  else Object.assign(message, { mark: verdict, text: null });
  return message;
}

/** The judge of an open room believes everything. @param {Payload[]} payloads @returns {Promise<any>} */
const believe = async (payloads) => ({
  messages: payloads.map((payload) => ({
    ...payload,
    id: payload.seq,
    text: payload.message,
    verdict: payload.message.startsWith("p1.") ? "encrypted" : "ok",
  })),
  changed: [],
  missing: [],
  found: [],
});

/** @type {Judge} */
const open = {
  login: ({ messages }) => believe(messages),
  live: (payload) => believe([payload]),
  page: (messages) => believe(messages),
};
