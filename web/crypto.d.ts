/**
 * Rooms that the server cannot read: section 9 of PROTOCOL.md, on WebCrypto alone. No DOM, no
 * dependency. What judges the messages of a room is in reader.js.
 *
 * An open room needs none of this. All it asks of a client is to show, in place of a message
 * that begins with "p1.", the line "encrypted; you have no secret".
 */

/** The two keys of a room. They last as long as the page: keep them over a reconnect. */
export interface RoomKeys {
  /** The prepared room name that the keys belong to. */
  readonly room: string;
  /** Sent at login: 43 characters of base64url. Tells nothing about `enc` or the secret. */
  readonly access: string;
  /** AES-256-GCM, not extractable. */
  readonly enc: CryptoKey;
}

export interface Secret {
  /** As it is derived from: in NFC, without outer white space. "" means that there is none. */
  secret: string;
  /** 26 characters of a–z and 2–7, as `makeSecret` makes them. */
  madeUp: boolean;
  /** Under 16 characters: the server's operator could guess it offline. Warn, and go on. */
  weak: boolean;
}

/** What an address's fragment says. `room` is prepared, `secret` is as in `Secret`. */
export type Link =
  /** No fragment: nobody was invited anywhere. */
  | { kind: "none" }
  /** `#room`: an open room. */
  | { kind: "open"; room: string }
  /** `#room/secret`. */
  | { kind: "private"; room: string; secret: string }
  /**
   * The secret, or the room, is empty or malformed. Say that the link is incomplete; never
   * join with it. `room` is "" when that is the part that cannot be read.
   */
  | { kind: "incomplete"; room: string };

/** What is sealed, and under what. */
export interface Outgoing {
  /** The sender's name as it asked for it (or its token's), never as the server answered it. */
  from: string;
  /** The idempotency key that the message is sent with, 16–64 characters. */
  key: string;
  text: string;
  /** From `newStream`: one for each page load and room. */
  stream: string;
  /** The message's number in the stream, from 1, without a hole. */
  n: number;
  /** The sender's clock, in milliseconds since 1970. */
  at: number;
}

/** What came out of a sealed message. */
export interface Opened {
  /** Absent: a message of a newer kind, to be shown as just that. */
  text?: string;
  /** `stream` and `n` come together; only a message of a newer kind may lack them, or `at`. */
  stream?: string;
  n?: number;
  /** The sender's clock, in milliseconds since 1970; always within the range of `Date`. */
  at?: number;
}

/**
 * Whether this page may encrypt. False on plain http other than localhost (not a secure context):
 * browsers give such a page no WebCrypto. `deriveKeys` then rejects.
 */
export function available(): boolean;

/** A name or room as the server prepares it (section 3): white space trimmed and collapsed, NFC. */
export function prepare(text: string): string;

/** A fresh secret: 130 random bits as 26 characters of a–z and 2–7. */
export function makeSecret(): string;

/** Prepares a secret that a person typed. */
export function checkSecret(text: string): Secret;

/**
 * The fragment, `#` included, that leads to a room. Without a secret (or an empty one) it is an
 * open room's.
 */
export function makeLink(room: string, secret?: string): string;

/** Reads a fragment (`location.hash`, with or without its `#`). Never throws. */
export function parseLink(hash: string): Link;

/**
 * PBKDF2 takes some tenths of a second: once a room, not once a connection. Prepares room and
 * secret itself.
 * @throws RangeError when room or secret is empty; Error when `available()` is false
 */
export function deriveKeys(room: string, secret: string): Promise<RoomKeys>;

/** A random name for a stream: 22 characters. */
export function newStream(): string;

/**
 * The sealed message, `p1.…`, to be sent with `key`. A retry sends the same bytes again: keep
 * what this returned rather than sealing twice.
 * @throws RangeError when `from` or `key` is empty or has a line feed, or `n` is no positive integer
 */
export function seal(keys: RoomKeys, message: Outgoing): Promise<string>;

/**
 * The size in bytes that `seal` makes of this text, to be held against `limits.message` before
 * sealing. It reckons with the widest `n`, so a text close to a step of 128 bytes may turn out
 * one step (171 bytes) smaller, never larger.
 */
export function sealedSize(text: string): number;

/**
 * Opens a sealed message under the name and key that the server claims for it; null when it
 * cannot be verified: no `p1.`, no key, does not open, or is not the JSON of section 9. Never throws.
 */
export function open(
  keys: RoomKeys,
  message: { message: string; from: string; key?: string },
): Promise<Opened | null>;
