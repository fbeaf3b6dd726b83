/**
 * The messages of a room: those of the server's log in the order of `seq`, one's own that wait below them, and
 * between them what came, went or is missing.
 */
import { el } from "./dom.js";
import { Entries } from "./entries.js";
import { Holes } from "./holes.js";
import { Comings, messageLine, missingLine, outboxLine } from "./line.js";

/** @import { Gap, Message, Missing, OwnMessage, Room, User } from "../parley.js" */
/** @import { Entry } from "./entries.js" */
/** @import { View } from "./view.js" */

/** Lines kept while the reader is at the newest end, and in any case; older ones are loaded again when scrolled to. */
const KEPT = 1500;
const MOST = 6000;

export class Log {
  element;
  pending = el("div", "outbox");
  entries;
  holes;
  era = 0;
  epoch = "";
  /** @type {Map<Message, Entry>} */
  shown = new Map();
  /** @type {Map<string, Entry>} */
  missing = new Map();
  /** Own messages that wait, by key. @type {Map<string, HTMLElement>} */
  waiting = new Map();
  /** To which the next coming or going is added. @type {Comings | undefined} */
  comings;
  /** Received, and not drawn yet. @type {Message[]} */
  queue = [];
  flushed = 0;
  /** The newest `seq` that is shown. */
  newest = 0;
  /** The first one that came while the tab was out of sight, or the connection gone. @type {Message | undefined} */
  unread;
  /** The tab was looked at since. */
  looked = true;
  /** The next one that is not live was missed. */
  missed = false;
  /** @type {Room | undefined} */
  room;
  /** @type {(() => void)[]} */
  subscribed = [];

  /** An empty log, in place of the one before. @param {View} view */
  constructor(view) {
    this.view = view;
    this.element = view.log;
    const nothing = el("div", "empty", el("p", "", "Nothing has been said here yet."), el("p", "", "Whoever opens the invite link can join in."));
    this.element.replaceChildren(nothing, this.pending);
    this.entries = new Entries(this.element, this.pending);
    this.holes = new Holes(this);
    view.toEnd();
  }

  /** @param {Room} room */
  attach(room) {
    this.room = room;
    this.epoch = room.epoch;
    this.subscribed = [
      room.on("message", (m) => this.receive(m)),
      room.on("marks", (changed, missing) => this.judged(changed, missing)),
      room.on("gap", (gap) => this.gap(gap)),
      room.on("outbox", (changed) => this.own(changed)),
      room.on("joined", (user) => this.notice("came", user)),
      room.on("left", (user) => this.notice("went", user)),
      room.on("resumed", () => {
        this.missed = this.looked;
        this.holes.watch();
      }),
    ];
    const looked = () => {
      this.looked = true;
      this.view.stop = null;
    };
    document.addEventListener("visibilitychange", looked);
    this.subscribed.push(() => document.removeEventListener("visibilitychange", looked));
    for (const m of room.outbox) this.own(m);
  }

  /** The room was left; what comes late is not drawn. */
  close() {
    this.room = undefined;
    this.holes.close();
    for (const unsubscribe of this.subscribed) unsubscribe();
  }

  /** Something of one's own was sent: to the newest end, and nothing is unread any more. */
  toEnd() {
    this.change(() => this.entries.divide(undefined), true);
    this.view.toEnd();
  }

  /** Many may come in a burst: they are drawn together, 30 times a second at the most. @param {Message} m */
  receive(m) {
    if (!m.own && (m.live ? document.hidden && this.looked : this.missed)) {
      this.unread = m;
      this.looked = !document.hidden;
      this.missed = false;
    }
    this.queue.push(m);
    if (this.queue.length > 1) return;
    const rest = this.flushed + 33 - performance.now();
    if (rest > 0) setTimeout(() => this.flush(), rest);
    else queueMicrotask(() => this.flush());
  }

  flush() {
    const messages = this.queue.splice(0);
    if (!messages.length || !this.room) return;
    const first = this.newest === 0 && this.era === 0;
    this.flushed = performance.now();
    this.change(() => this.put(messages), !messages[0].live);
    this.view.added(messages.filter((m) => m.live && !m.own).length);
    if (this.entries.list.length > (this.view.stuck ? KEPT * 1.3 : MOST)) this.trim();
    if (first && this.room.more) this.holes.above(messages[0].seq);
  }

  /** @param {Message[]} messages */
  put(messages) {
    for (const m of messages) {
      if (this.shown.has(m)) continue;
      const entry = { era: this.era, seq: m.seq, side: 0, element: messageLine(m), message: m };
      this.entries.add(entry);
      this.shown.set(m, entry);
      if (m.seq > this.newest) {
        this.newest = m.seq;
        this.comings = undefined;
      }
      if (m.own && m.key) this.settled(m.key);
      if (m === this.unread) {
        this.entries.divide(entry);
        if (document.hidden) this.view.stop = entry.element;
      }
    }
  }

  /**
   * Changes the log under the reader's eyes.
   * @param {() => void} change
   * @param {boolean} quiet not to be read aloud: it was there before
   */
  change(change, quiet) {
    if (quiet) this.element.setAttribute("aria-live", "off");
    this.view.keep(() => {
      change();
      this.entries.settle();
      this.gather();
    });
    if (quiet) setTimeout(() => this.element.removeAttribute("aria-live"), 100);
  }

  /** @param {Message[]} changed @param {Missing[]} missing */
  judged(changed, missing) {
    this.change(() => {
      for (const m of changed) {
        const entry = this.shown.get(m);
        if (entry) this.entries.redraw(entry, messageLine(m));
      }
      const stays = new Set();
      const oldest = this.entries.list.find((entry) => entry.message)?.seq ?? 0;
      for (const { from, after, before, count } of missing) {
        if (before < oldest) continue; // shown when what stands below it is
        const id = `${before} ${after} ${count} ${from}`;
        stays.add(id);
        if (this.missing.has(id)) continue;
        const entry = { era: this.era, seq: before, side: -1, element: missingLine(from, count) };
        this.missing.set(id, entry);
        this.entries.add(entry);
      }
      for (const [id, entry] of this.missing) {
        if (stays.has(id)) continue;
        this.missing.delete(id);
        this.entries.remove(entry);
      }
    }, false);
  }

  /** @param {"came" | "went"} how @param {User} user */
  notice(how, user) {
    this.flush();
    this.change(() => {
      if (!this.comings) {
        this.comings = new Comings();
        this.entries.add({ era: this.era, seq: this.newest, side: 1, element: this.comings.element });
      }
      this.comings.add(how, user);
    }, false);
  }

  /** One of one's own has changed its state. @param {OwnMessage} m */
  own(m) {
    const room = this.room;
    if (!room) return;
    const there = this.waiting.get(m.key);
    const waits = room.outbox.some((other) => other.key === m.key);
    // Sent, and its line comes by the log: until then this one stays.
    const comes = m.state === "sent" && !!there && (m.receipt?.seq ?? 0) > this.newest && !m.receipt?.duplicate;
    if (!waits && !comes) return this.settled(m.key);
    const line = outboxLine(m, room.user.name, {
      retry: (key) => void room.retry(key).catch(() => {}),
      discard: (key) => room.discard(key),
    });
    this.view.keep(() => {
      if (there) there.replaceWith(line);
      else this.pending.append(line);
      this.gather();
    });
    this.waiting.set(m.key, line);
  }

  /** Those that wait stand under one name, as they will when they are sent. */
  gather() {
    let together = this.entries.endsWithOwn();
    for (const line of this.pending.children) {
      line.classList.toggle("together", together);
      together = true;
    }
  }

  /** @param {string} key */
  settled(key) {
    const line = this.waiting.get(key);
    this.waiting.delete(key);
    if (!line) return;
    this.view.keep(() => {
      line.remove();
      this.gather();
    });
  }

  /** Another log has begun, whose numbers do not compare with the old one's. */
  newEra() {
    this.era++;
    this.newest = 0;
    this.comings = undefined;
    this.missing.clear();
    this.holes.shutAll("What was here before is no longer kept.");
  }

  /** @param {Gap} gap */
  gap({ reason, after, before }) {
    this.flush();
    const era = this.era;
    if (this.room && this.room.epoch !== this.epoch) {
      this.epoch = this.room.epoch;
      this.newEra();
    }
    if (reason === "too_many" && before !== null) return this.holes.add(after, before);
    const element = el("p", "notice missing", "Messages may be missing here. The server no longer has what came in between.");
    this.change(() => this.entries.add({ era, seq: after, side: 2, element }), false);
  }

  trim() {
    this.view.keep(() => {
      for (const entry of this.entries.trim(this.view.stuck ? KEPT : MOST)) {
        if (entry.message) this.shown.delete(entry.message);
        this.holes.forget(entry);
        for (const [id, mark] of this.missing) if (mark === entry) this.missing.delete(id);
      }
      this.entries.settle();
    });
    const oldest = this.entries.list.find((entry) => entry.message);
    if (oldest?.era === this.era) this.holes.above(oldest.seq);
  }
}
