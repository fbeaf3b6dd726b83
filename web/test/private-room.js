// For the tests of the reader: members who seal messages, and a page that shows what the reader says.
import assert from "node:assert/strict";
import { deriveKeys, newStream, seal } from "../crypto.js";

/**
 * @import {RoomKeys} from "../crypto.js"
 * @import {Message, Missing, Payload, Update} from "../reader.js"
 * @typedef {{message: string, from: string, userId: string, key: string, at: string}} Sealed a payload that has no place yet
 */

export const NOON = Date.parse("2026-11-23T12:00:00.000Z");
export const keys = await deriveKeys("lobby", "correct horse battery staple");

let made = 0;

/** A member's page: seals one message after the other in its stream. */
export class Member {
  n = 0;
  stream = newStream();

  /**
   * @param {string} from
   * @param {RoomKeys} [room]
   */
  constructor(from, room = keys) {
    this.from = from;
    this.room = room;
  }

  /**
   * @param {string} text
   * @param {{n?: number, key?: string, at?: number}} [forged]
   * @returns {Promise<Sealed>}
   */
  async write(text, { n = ++this.n, key = `key-${String(++made).padStart(16, "0")}`, at = NOON } = {}) {
    const message = await seal(this.room, { from: this.from, key, text, stream: this.stream, n, at });
    return { message, from: this.from, userId: "id of " + this.from, key, at: new Date(NOON).toISOString() };
  }
}

/**
 * @param {Sealed} sealed
 * @param {number} seq
 * @param {Partial<Payload>} [altered]
 * @returns {Payload & Sealed}
 */
export function put(sealed, seq, altered = {}) {
  return /** @type {Payload & Sealed} */ ({ ...sealed, seq, ...altered });
}

/** A page: keeps what the reader reported, and checks that it reports sensibly. */
export class Page {
  /** @type {Map<number, Message>} */
  rows = new Map();
  /** @type {Map<string, Missing>} */
  marks = new Map();

  /** @param {Update} update */
  apply(update) {
    assert.deepEqual(update.messages, update.messages.toSorted((a, b) => a.seq - b.seq));
    for (const message of update.messages) {
      assert.ok(!this.rows.has(message.id), "a message is new only once");
      this.rows.set(message.id, { ...message });
    }
    for (const judged of update.changed) {
      const row = this.rows.get(judged.id);
      assert.ok(row, "only what was reported changes");
      assert.notDeepEqual({ ...row, ...judged }, row, "a change changes something");
      Object.assign(row, judged, judged.verdict === "repeated" && { text: undefined });
    }
    for (const mark of update.missing) {
      assert.notDeepEqual(this.marks.get(mark.id), mark, "a mark is new or moved");
      assert.equal(mark.count, mark.last - mark.first + 1);
      assert.ok(mark.after < mark.before);
      this.marks.set(mark.id, mark);
    }
    for (const id of update.found) assert.ok(this.marks.delete(id), "only what was missing is found");
    for (const row of this.rows.values()) assert.equal(row.text !== undefined, row.verdict === "ok");
  }

  /** What a person sees, a line for each message and mark. */
  lines() {
    const lines = [...this.rows.values()].map((m) => {
      const what = m.verdict === "ok" ? m.text : `(${m.verdict})`;
      const notes = [m.outOfOrder && "(out of order)", m.clock && "(clock)"].filter(Boolean);
      return { at: m.seq, line: [`${m.seq} ${m.from}:`, what, ...notes].join(" ") };
    });
    for (const m of this.marks.values()) {
      lines.push({ at: m.before - 0.5, line: `- missing: ${m.count} of ${m.from} after ${m.after}` });
    }
    return lines.sort((a, b) => a.at - b.at).map(({ line }) => line);
  }
}
