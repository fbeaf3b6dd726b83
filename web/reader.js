/**
 * The judge of a private room's messages: the table "Reading" in section 9 of PROTOCOL.md.
 * What Reader promises, and what it does not, is in reader.d.ts.
 *
 * What is known is a set of messages, each at its `seq`, and a set of stretches of `seq` that were
 * loaded without a gap. Every verdict and mark is a function of these two sets, so the order in which
 * they grew cannot matter; the code below only avoids computing all of them anew each time.
 */
import { open } from "./crypto.js";

/**
 * @import {Opened, RoomKeys} from "./crypto.js"
 * @import * as T from "./reader.js"
 *
 * @typedef {T.Judged & {from: string, names: string[], stream?: string, n: number}} Entry
 *   `names`: what no other message may share, its (from, key) and (s, n)
 * @typedef {{order: Entry[], clean: boolean, marks: Map<string, T.Missing>}} Stream
 *   `order`: for each number the entry with the lowest seq, by number;
 *   `clean`: no number is missing, and seq grows with the numbers
 * @typedef {{after: number, before: number}} Stretch both ends exclusive
 */

const CLOCKS = 5 * 60_000; // milliseconds that two clocks may be apart

/** @implements {T.Reader} */
export class Reader {
  #keys;
  #limit;
  #turn = Promise.resolve(nothing());
  #ids = 0;
  #end = -1; // the seq up to which the newest stretch is loaded
  /** @type {Entry[]} */
  #entries = [];
  /** @type {Map<string, Entry[]>} by each of their names; an unverified one by its seq */
  #named = new Map();
  /** @type {Map<string, Stream>} */
  #streams = new Map();
  /** @type {Stretch[]} disjoint, ascending */
  #stretches = [];

  /**
   * @param {RoomKeys} keys
   * @param {number} [limit]
   */
  constructor(keys, limit = 20_000) {
    this.#keys = keys;
    this.#limit = limit;
  }

  /** @type {T.Reader["login"]} */
  login({ messages, seq, recovered }, since) {
    return this.#add(messages, (range) => {
      if (recovered && since !== undefined) range.after = Math.min(range.after, since);
      if (Number.isSafeInteger(seq)) range.before = Math.max(range.before, seq + 1);
      this.#end = range.before - 1;
    });
  }

  /** @type {T.Reader["live"]} */
  live(payload) {
    return this.#add([payload], (range) => {
      if (this.#end >= 0) range.after = Math.min(range.after, this.#end);
      range.before = Math.max(range.before, this.#end + 1); // only a server that cheats sends a lower seq
      this.#end = range.before - 1;
    });
  }

  /** @type {T.Reader["page"]} */
  page(messages, before) {
    return this.#add(messages, (range) => {
      // Past the newest seq nothing is known: what comes there may be lost to a later gap.
      if (before !== undefined && before <= this.#end + 1) range.before = Math.max(range.before, before);
    });
  }

  /**
   * Opens at once, and judges when the earlier calls are done.
   * @param {T.Payload[]} messages
   * @param {(range: Stretch) => void} widen told from the first to the last of the messages, makes it what was loaded
   * @returns {Promise<T.Update>}
   */
  #add(messages, widen) {
    const payloads = Array.isArray(messages) ? messages.filter(isPayload) : [];
    const opening = Promise.all(payloads.map((payload) => open(this.#keys, payload)));
    return (this.#turn = this.#turn.then(async () => this.#judge(payloads, await opening, widen)));
  }

  /**
   * @param {T.Payload[]} payloads
   * @param {(Opened | null)[]} opened
   * @param {(range: Stretch) => void} widen
   * @returns {T.Update}
   */
  #judge(payloads, opened, widen) {
    const fresh = /** @type {Map<Entry, number>} */ (new Map());
    const changed = /** @type {Set<Entry>} */ (new Set());
    const doubtful = /** @type {Set<Stream>} */ (new Set());
    const range = { after: Infinity, before: -Infinity };
    payloads.forEach((payload, i) => {
      range.after = Math.min(range.after, payload.seq - 1);
      range.before = Math.max(range.before, payload.seq + 1);
      const entry = this.#entry(payload, opened[i] ?? null);
      if (this.#insert(entry, changed, doubtful)) fresh.set(entry, i);
    });
    widen(range);
    if (this.#join(range)) for (const stream of this.#streams.values()) if (!stream.clean) doubtful.add(stream);
    const update = nothing();
    for (const stream of doubtful) this.#review(stream, changed, update);
    for (const [entry, i] of fresh) update.messages.push(describe(entry, payloads[i], opened[i] ?? null));
    update.messages.sort((a, b) => a.seq - b.seq || a.id - b.id);
    for (const entry of changed) if (!fresh.has(entry)) update.changed.push(judged(entry));
    if (this.#entries.length > this.#limit) this.#forget();
    return update;
  }

  /**
   * @param {T.Payload} payload
   * @param {Opened | null} opened
   * @returns {Entry}
   */
  #entry({ seq, from, key }, opened) {
    const { text, stream, n = 0 } = opened ?? {};
    const verdict = opened === null ? "unverified" : text === undefined ? "newer" : "ok";
    // An unverified message has no identity: one mark stands for all that a server puts at one seq.
    const names = opened === null ? [`?${seq}`] : [`k${from}\n${key}`];
    if (stream !== undefined) names.push(`n${n}/${stream}`);
    return { id: ++this.#ids, seq, verdict, outOfOrder: false, from, names, stream, n };
  }

  /**
   * @param {Entry} entry
   * @param {Set<Entry>} changed takes those that are judged otherwise for it
   * @param {Set<Stream>} doubtful takes its stream, if that must be reviewed
   * @returns {boolean} false: known already
   */
  #insert(entry, changed, doubtful) {
    const twins = entry.names.flatMap((name) => this.#named.get(name) ?? []);
    if (twins.some((twin) => twin.seq === entry.seq)) return false;
    for (const twin of twins) {
      const later = twin.seq < entry.seq ? entry : twin;
      if (later.verdict === "repeated") continue;
      later.verdict = "repeated";
      later.outOfOrder = false;
      changed.add(later);
    }
    this.#keep(entry);
    if (entry.stream !== undefined) this.#number(entry, entry.stream, doubtful);
    return true;
  }

  /** @param {Entry} entry */
  #keep(entry) {
    this.#entries.push(entry);
    for (const name of entry.names) {
      const named = this.#named.get(name);
      if (named) named.push(entry);
      else this.#named.set(name, [entry]);
    }
  }

  /**
   * @param {Entry} entry
   * @param {string} name
   * @param {Set<Stream>} doubtful
   */
  #number(entry, name, doubtful) {
    let stream = this.#streams.get(name);
    if (!stream) this.#streams.set(name, (stream = { order: [], clean: true, marks: new Map() }));
    const { order } = stream;
    const next = follows(order.at(-1), entry);
    const at = next ? order.length : search(order, (other) => other.n >= entry.n);
    const known = order[at];
    if (known?.n !== entry.n) order.splice(at, 0, entry);
    else if (entry.seq < known.seq) order[at] = entry;
    else return;
    if (!next || !stream.clean) doubtful.add(stream);
  }

  /**
   * Adds a stretch to those that it overlaps or touches.
   * @param {Stretch} range
   * @returns {boolean} two that were apart have become one, so that messages may be missing between them
   */
  #join({ after, before }) {
    if (!(after < before - 1)) return false;
    const from = search(this.#stretches, (s) => s.before > after);
    const to = search(this.#stretches, (s) => s.after >= before);
    const joined = this.#stretches.slice(from, to);
    after = Math.min(after, joined[0]?.after ?? after);
    before = Math.max(before, joined.at(-1)?.before ?? before);
    this.#stretches.splice(from, joined.length, { after, before });
    return joined.length > 1;
  }

  /**
   * Judges the order of one stream, and what is missing in it.
   * @param {Stream} stream
   * @param {Set<Entry>} changed
   * @param {T.Update} update
   */
  #review(stream, changed, update) {
    const { order, marks } = stream;
    let lowest = Infinity; // seq of those with a higher number
    for (const entry of order.toReversed()) {
      if (lowest < entry.seq && entry.verdict !== "repeated" && !entry.outOfOrder) {
        entry.outOfOrder = true;
        changed.add(entry);
      }
      lowest = Math.min(lowest, entry.seq);
    }
    stream.marks = this.#missing(order);
    for (const [id, mark] of stream.marks) {
      const old = marks.get(id);
      if (!old || old.last !== mark.last || old.after !== mark.after || old.before !== mark.before) update.missing.push(mark);
    }
    for (const id of marks.keys()) if (!stream.marks.has(id)) update.found.push(id);
    stream.clean = order.every((entry, i) => follows(order[i - 1], entry));
  }

  /**
   * A number is missing where a stretch has one below it and one above it, and no message at hand
   * has it, in this stretch or elsewhere.
   * @param {Entry[]} order of one stream
   */
  #missing(order) {
    /** @type {Map<string, T.Missing>} */
    const marks = new Map();
    /** @type {Map<number, number>} stretch → where in `order` its last one so far is */
    const previous = new Map();
    order.forEach((high, j) => {
      const stretch = search(this.#stretches, (s) => s.before > high.seq);
      const i = previous.get(stretch) ?? j;
      previous.set(stretch, j);
      const low = order[i];
      if (high.n - low.n === j - i) return;
      for (let k = i + 1; k <= j; k++) {
        const first = order[k - 1].n + 1;
        const last = order[k].n - 1;
        if (last < first) continue;
        const [after, before] = low.seq < high.seq ? [low.seq, high.seq] : [high.seq, low.seq];
        const id = `${first}/${high.stream}`;
        marks.set(id, { id, from: high.from, after, before, first, last, count: last - first + 1 });
      }
    });
    return marks;
  }

  /** Drops a quarter of what is known, and reports nothing: what the page shows stays true. */
  #forget() {
    this.#entries.sort((a, b) => a.seq - b.seq);
    const kept = this.#entries.splice(0).slice(-Math.ceil(this.#limit * 0.75));
    const floor = kept[0].seq - 1;
    this.#named.clear();
    this.#streams.clear();
    this.#stretches = this.#stretches.filter((s) => s.before > floor + 1);
    this.#stretches[0].after = Math.max(this.#stretches[0].after, floor);
    const streams = /** @type {Set<Stream>} */ (new Set());
    for (const entry of kept) {
      this.#keep(entry);
      if (entry.stream !== undefined) this.#number(entry, entry.stream, streams);
    }
    for (const stream of streams) this.#review(stream, new Set(), nothing());
  }
}

/** @type {(low: Entry | undefined, high: Entry) => boolean} */
const follows = (low, high) => !low || (low.n + 1 === high.n && low.seq < high.seq);

/**
 * The index of the first item that passes, in a list where all after it pass too.
 * @template T
 * @param {T[]} list
 * @param {(item: T) => boolean} passes
 */
function search(list, passes) {
  let low = 0;
  let high = list.length;
  while (low < high) {
    const middle = (low + high) >> 1;
    if (passes(list[middle])) high = middle;
    else low = middle + 1;
  }
  return low;
}

/**
 * What has no place in the room's order cannot be shown in it: the same as one withheld.
 * @param {Partial<T.Payload> | null} payload
 */
const isPayload = (payload) =>
  Number.isSafeInteger(payload?.seq) && typeof payload?.from === "string" && typeof payload.message === "string";

/** @type {() => T.Update} */
const nothing = () => ({ messages: [], changed: [], missing: [], found: [] });

/** @type {(entry: Entry) => T.Judged} */
const judged = ({ id, seq, verdict, outOfOrder }) => ({ id, seq, verdict, outOfOrder });

/** @type {(entry: Entry, payload: T.Payload, opened: Opened | null) => T.Message} */
function describe(entry, { from, userId, at, key }, opened) {
  const { text, at: sentAt } = (entry.verdict !== "repeated" && opened) || {};
  const clock = sentAt !== undefined && !(Math.abs(sentAt - Date.parse(at)) <= CLOCKS);
  return { ...judged(entry), from, userId, at, key, text, sentAt, clock };
}
