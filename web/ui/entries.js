/**
 * What stands in the log, in its order: by era (another epoch starts a new one), then `seq`, then what belongs
 * before or after the message with that `seq`. The DOM follows the list.
 */
import { el } from "./dom.js";
import { dayName } from "./line.js";

/** @import { Message } from "../parley.js" */

/**
 * @typedef {object} Entry
 * @property {number} era
 * @property {number} seq
 * @property {number} side what order it has among those of one seq: a message 0, before it below 0, after it above
 * @property {HTMLElement} element
 * @property {Message} [message]
 */

/** Lines of one person closer than this stand under one name. */
const TOGETHER = 5 * 60_000;

/** @param {Entry} a @param {Entry} b */
const order = (a, b) => a.era - b.era || a.seq - b.seq || a.side - b.side;

export class Entries {
  /** @param {HTMLElement} log @param {Node} end what stays below all of them */
  constructor(log, end) {
    this.log = log;
    this.end = end;
    /** @type {Entry[]} */
    this.list = [];
    /** From this index on grouping and days are to be looked at again. */
    this.dirty = 0;
    /** @type {Entry | undefined} */
    this.unread = undefined;
  }

  /** @param {Entry} entry */
  add(entry) {
    let i = this.list.length;
    if (i && order(this.list[i - 1], entry) > 0) {
      let low = 0;
      while (low < i) {
        const middle = (low + i) >> 1;
        if (order(this.list[middle], entry) <= 0) low = middle + 1;
        else i = middle;
      }
    }
    this.log.insertBefore(entry.element, this.list[i]?.element ?? this.end);
    this.list.splice(i, 0, entry);
    this.dirty = Math.min(this.dirty, i);
  }

  /** @param {Entry} entry */
  remove(entry) {
    const i = this.list.indexOf(entry);
    if (i < 0) return;
    this.list.splice(i, 1);
    entry.element.remove();
    this.dirty = Math.min(this.dirty, i);
  }

  /** Takes away the oldest, so that so many are left; gives what it took. @param {number} left */
  trim(left) {
    const gone = this.list.splice(0, Math.max(0, this.list.length - left));
    for (const entry of gone) entry.element.remove();
    if (gone.length) this.dirty = 0;
    return gone;
  }

  /** @param {Entry} entry @param {HTMLElement} element */
  redraw(entry, element) {
    entry.element.replaceWith(element);
    entry.element = element;
    this.dirty = Math.min(this.dirty, this.list.indexOf(entry));
  }

  /** The unread divider stands above this one. @param {Entry | undefined} entry */
  divide(entry) {
    for (const e of [this.unread, entry]) if (e) this.dirty = Math.min(this.dirty, Math.max(0, this.list.indexOf(e)));
    this.unread = entry;
  }

  /** Draws names, days and the unread divider where they belong, as far as something has changed. */
  settle() {
    const from = Math.max(0, this.dirty - 1);
    let before = this.messageBefore(from);
    for (let i = from; i < this.list.length; i++) {
      const entry = this.list[i];
      const m = entry.message;
      if (!m) continue;
      const at = new Date(m.at);
      const last = before && new Date(before.message?.at ?? 0);
      const newDay = last?.toDateString() !== at.toDateString();
      const unread = entry === this.unread;
      const together =
        !newDay &&
        !unread &&
        !m.mark &&
        this.list[i - 1] === before &&
        before?.message?.from === m.from &&
        before.message.own === m.own &&
        Math.abs(at.getTime() - (last?.getTime() ?? 0)) < TOGETHER;
      entry.element.classList.toggle("together", together);
      above(entry.element, "day", newDay ? dayName(at) : "");
      above(entry.element, "unread", unread ? "New" : "");
      before = entry;
    }
    this.dirty = this.list.length;
  }

  /** Whether a message of one's own that is written now would stand under the name of the last one. */
  endsWithOwn() {
    const m = this.list.at(-1)?.message;
    return m?.own === true && !m.mark && Math.abs(Date.now() - Date.parse(m.at)) < TOGETHER;
  }

  /** @param {number} i */
  messageBefore(i) {
    while (--i >= 0) if (this.list[i].message) return this.list[i];
    return undefined;
  }
}

/**
 * Has, or has not, a separator at the top of a line.
 * @param {HTMLElement} line @param {string} kind @param {string} text "" takes it away
 */
function above(line, kind, text) {
  const there = line.querySelector(`:scope > .${kind}`);
  if (!text) there?.remove();
  else if (there) there.textContent = text;
  else line.prepend(el("p", kind, text));
}
