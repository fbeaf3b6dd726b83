/**
 * The stretches of the log that are not loaded: what is older than the first line, and what more was missed than a
 * login brings. Each is a line of the log, and is filled from below as the reader comes near.
 */
import { button, el } from "./dom.js";

/** @import { Entry } from "./entries.js" */
/** @import { Log } from "./log.js" */

/**
 * Everything above `after` and below `before`; `after` is -1 where it goes to the beginning of the log.
 * @typedef {Entry & { after: number, before: number, busy: boolean }} Hole
 */

const PAGE = 100;

export class Holes {
  /** @type {Hole[]} */
  list = [];

  /** @param {Log} log */
  constructor(log) {
    this.log = log;
    const nearby = { root: log.element, rootMargin: "800px 0px" };
    this.watcher = new IntersectionObserver((seen) => this.reached(seen), nearby);
  }

  /** There are messages older than this one. @param {number} seq */
  above(seq) {
    if (!this.list.some((hole) => hole.after < 0)) this.add(-1, seq);
  }

  /** @param {number} after @param {number} before */
  add(after, before) {
    const element = el("div", "notice hole", button("Load earlier messages", () => void this.fill(hole)));
    /** @type {Hole} */
    const hole = { era: this.log.era, seq: after, side: 2, element, after, before, busy: false };
    this.list.push(hole);
    this.log.change(() => this.log.entries.add(hole), true);
    this.watcher.observe(element);
  }

  /** Looks again which are near: after a time in which nothing could be loaded. */
  watch() {
    this.watcher.disconnect();
    for (const { element } of this.list) this.watcher.observe(element);
  }

  close() {
    this.watcher.disconnect();
    this.list = [];
  }

  /** @param {IntersectionObserverEntry[]} seen */
  reached(seen) {
    for (const { isIntersecting, target } of seen) {
      const hole = this.list.find((h) => h.element === target);
      if (isIntersecting && hole) void this.fill(hole);
    }
  }

  /** Loads the newest page of it; when the reader is still near then, the next one. @param {Hole} hole */
  async fill(hole) {
    const { log } = this;
    const { room } = log;
    if (hole.busy || !room?.joined) return;
    hole.busy = true;
    hole.element.classList.add("busy");
    this.watcher.unobserve(hole.element);
    try {
      const page = await room.history({ before: hole.before, limit: PAGE });
      if (!this.list.includes(hole)) return;
      const messages = page.messages.filter((m) => m.seq > hole.after);
      log.change(() => log.put(messages), true);
      log.judged([], room.missing);
      hole.before = messages[0]?.seq ?? hole.before;
      if (!page.more || messages.length < page.messages.length) {
        this.forget(hole);
        log.change(() => this.shut(hole, hole.after < 0 ? "This is the beginning of what is kept." : ""), true);
      } else {
        this.watcher.observe(hole.element);
      }
    } catch {
      // Refused, or the connection went: the button tries again, and so does the next connection.
    } finally {
      hole.busy = false;
      hole.element.classList.remove("busy");
    }
  }

  /** @param {Entry} entry that is no hole any more, if it was one */
  forget(entry) {
    this.list = this.list.filter((hole) => hole !== entry);
  }

  /** @param {Hole} hole @param {string} text what stays in its place */
  shut(hole, text) {
    this.watcher.unobserve(hole.element);
    if (text) this.log.entries.redraw(hole, el("p", "notice", text));
    else this.log.entries.remove(hole);
  }

  /** @param {string} text */
  shutAll(text) {
    for (const hole of this.list.splice(0)) this.shut(hole, text);
  }
}
