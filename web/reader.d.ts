/**
 * The judge of a private room's messages: the table "Reading" in section 9 of PROTOCOL.md.
 */
import type { RoomKeys } from "./crypto.js";

/** A `roomMessage` payload (section 4), as the server claims it. */
export interface Payload {
  message: string;
  from: string;
  userId: string;
  seq: number;
  at: string;
  key?: string;
}

/**
 * - `ok`: opened; `text` is what its sender wrote.
 * - `newer`: opened, but of a kind that this client does not know ("a message of a newer kind").
 * - `repeated`: the same message stands at a lower `seq`; its text is not shown again.
 * - `unverified`: show the claimed name and "could not be verified".
 */
export type Verdict = "ok" | "newer" | "repeated" | "unverified";

export interface Judged {
  /** Names this message in `changed`. A server that cheats may put two at one `seq`. */
  id: number;
  seq: number;
  verdict: Verdict;
  /** A message of the same stream with a higher number stands at a lower `seq`: "out of order". */
  outOfOrder: boolean;
}

export interface Message extends Judged {
  /** Claimed; true unless the verdict is `unverified`. */
  from: string;
  /** The server's word. */
  userId: string;
  /** The server's clock, RFC 3339. */
  at: string;
  key?: string;
  /** Only with the verdict `ok`. */
  text?: string;
  /** The sender's clock, in milliseconds since 1970. Absent when unverified or repeated. */
  sentAt?: number;
  /** The two clocks are more than 5 minutes apart: show both times. */
  clock: boolean;
}

/** "A message of Ann is missing here": numbers first … last of a stream, all of them. */
export interface Missing {
  /** Names the mark in `found`; a mark with an id that is known replaces that one. */
  id: string;
  from: string;
  /** The mark stands between these two `seq`, which are those of messages at hand. */
  after: number;
  before: number;
  first: number;
  last: number;
  count: number;
}

/** What one call added to, or changed in, what was reported before. All lists may be empty. */
export interface Update {
  /** New ones, by `seq`. What was known at the same `seq` is not among them. */
  messages: Message[];
  /** Earlier ones that are judged otherwise now. When one turned `repeated`, take away its text. */
  changed: Judged[];
  /** Marks that are new or moved. */
  missing: Missing[];
  /** The ids of marks that are gone: what was missing has arrived. */
  found: string[];
}

/**
 * One Reader judges one room within one `epoch`. Feed it everything, in any order of arrival:
 * judgement goes by `seq` alone, so that a page of history that arrives late may change what was
 * said earlier. Calls may overlap; their updates come in the order of the calls, and no call rejects.
 *
 * **Another epoch**: make a new Reader, and show where it begins. Nothing is carried over, since
 * `seq` of two logs cannot be compared, and since an honest server that was restored from a
 * backup shows known messages again. What a server can gain by changing the epoch is one repetition of what
 * it has kept, below a visible break.
 *
 * **A reload** starts with nothing known: judged is what the page has loaded since.
 *
 * **Streams** are told apart by `s` alone. It is inside what is sealed, so a server cannot lend it
 * to another name; a member who forges it could forge the name as well.
 *
 * **Memory**: past `limit` messages the quarter with the lowest `seq` is forgotten (20,000 take
 * about 14 MB; no text is kept). A forgotten message that is shown again counts as new; its sender's clock
 * still tells its age.
 */
export class Reader {
  constructor(keys: RoomKeys, limit?: number);

  /**
   * The answer to a login, with the `since` that was sent with it, if any. An answer without
   * `recovered` true begins a new stretch: nothing is said to be missing in the gap.
   */
  login(
    answer: { messages: Payload[]; seq: number; recovered?: boolean },
    since?: number,
  ): Promise<Update>;

  /** A `roomMessage` event, in the order in which its connection brought them, after `login`. */
  live(payload: Payload): Promise<Update>;

  /**
   * The `messages` of an answer to `history`, with the `before` that was asked for, if any: a `seq` that
   * was there then. It joins up with what is known above it. A page asked for with `after` joins up with what is known
   * only if it brings a known message again: ask with `after` one less than a known `seq`
   * (retention may have dropped what came next, and `history` does not tell).
   */
  page(messages: Payload[], before?: number): Promise<Update>;
}
