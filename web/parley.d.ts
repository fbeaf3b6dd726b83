/**
 * Parley's client for browsers, Node, Deno and Bun: a socket that comes back by itself, and rooms on top of it.
 *
 * ```js
 * import { join } from "./parley.js";
 *
 * const room = await join({ name: "Ann", room: "lobby" });
 * room.on("message", (m) => console.log(m.from, m.text));
 * room.on("users", (users, count) => console.log(count, "here"));
 * const { seq, durability } = await room.send("hello");
 * ```
 *
 * The wire below it is PROTOCOL.md; "section" in these notes means a section of that page.
 * All numbers of time are milliseconds. `at` strings are RFC 3339 in UTC, by the server's clock.
 */

import type { RoomKeys } from "./crypto.js";

/**
 * Opens a connection and keeps it open; see {@link Socket}. Returns at once. `url`: that of the server (`https://chat.example`,
 * `wss://` alike; one that ends in `/` gets `ws` added), or of its endpoint; by default `ws` next to the page.
 */
export function connect(url?: string | URL, options?: ConnectOptions): Socket;

/** `connect(options.url, options).join(options)`. When the join fails the connection is closed too. */
export function join(options: JoinOptions & ConnectOptions & { url?: string | URL }): Promise<Room>;

/** What a refused request, join or send rejects with. */
export class ParleyError extends Error {
  constructor(code: string, message: string, rest?: object);
  /**
   * The server's code (section 2), or one of the client's own:
   *
   * | code | meaning |
   * | --- | --- |
   * | `timeout` | no answer in time |
   * | `disconnected` | the connection ended before the answer; what was asked may or may not have been done |
   * | `closed` | the connection was closed for good; `closeCode` says why (section 8) |
   * | `taken_over` | another connection became this user (4501); `socket.connect()` takes it back |
   * | `removed` | removed by a person (4503) |
   * | `mismatch` | in a room with a secret the server answered with another name or room than was asked for |
   * | `incomplete` | an empty or malformed secret was given; such a join never opens an open room |
   * | `insecure` | no WebCrypto here: the page is not a secure context (plain http on a LAN address) |
   * | `too_long` | the message would exceed `limits.message`; nothing was sent |
   * | `outbox_full` | 100 messages are waiting already |
   * | `discarded`, `left` | the message was discarded, or the room left, before it was sent |
   * | `aborted` | the join was called off |
   */
  code: string;
  /** With `invalid`: a sentence for each bad field. */
  fields?: Record<string, string>;
  /** With `rate_limited`: milliseconds to wait. */
  retryAfter?: number;
  /** With `closed`, `taken_over`, `removed`: the WebSocket close code. */
  closeCode?: number;
}

export interface ConnectOptions {
  /** The WebSocket class to use where there is no global one (Node 20: that of the package `ws`). */
  WebSocket?: new (url: string, protocols?: string | string[]) => any;
  /** How long `emit` with an ack and `emitWithAck` wait for the answer; 20 s by default. */
  ackTimeout?: number;
  /**
   * Where sessions and unsent messages survive a reload; `sessionStorage` by default, memory where there is none,
   * `null` for memory. In a room with a secret only ciphertext is stored; in an open one the text.
   */
  storage?: Pick<Storage, "getItem" | "setItem" | "removeItem"> | null;
  /** Tells a reload from a duplicated tab; `navigator.locks` by default. */
  locks?: Pick<LockManager, "request"> | null;
}

export interface JoinOptions {
  /** 1–32 characters. Where a token has a `name`, that one counts and this may be left out. */
  name?: string;
  /** 1–64 characters. */
  room: string;
  /** The room's secret: messages are sealed and opened here, and the server never sees them (section 9). Absent: an open room. */
  secret?: string;
  /** In place of the secret: the keys that crypto.js's `deriveKeys` made of it, or will have made; so that it can be done early. */
  keys?: RoomKeys | Promise<RoomKeys>;
  /** A token, or a function that gets a fresh one: called for each connection, and before the token's `exp` to renew it. */
  token?: string | (() => string | Promise<string>);
  /**
   * How long to try until the join rejects with `timeout`; 20 s by default, 0 for no limit. While the server cannot be
   * reached the socket tells of it (`reconnecting`, `state`).
   */
  timeout?: number;
  /** Calls the join off. */
  signal?: AbortSignal;
}

/** Takes the handler away again. */
export type Unsubscribe = () => void;

/**
 * Events: an exception in a handler is logged on the console and disturbs nobody else.
 * A handler added twice for one event is called once.
 */
export interface Emitter<Events extends Record<string, any[]>> {
  on<E extends keyof Events & string>(event: E, handler: (...args: Events[E]) => void): Unsubscribe;
  /** For one time only. */
  once<E extends keyof Events & string>(event: E, handler: (...args: Events[E]) => void): Unsubscribe;
  /** Removes one handler, all of an event, or all. */
  off<E extends keyof Events & string>(event?: E, handler?: (...args: Events[E]) => void): void;
}

/** How the connection stands. */
export interface ConnectionState {
  /**
   * `connecting`: for the first time, or after `connect()`. `connected`: welcomed by the server.
   * `reconnecting`: it was lost and comes back, at `retryAt`. `closed`: it stays closed until `connect()`.
   */
  state: "connecting" | "connected" | "reconnecting" | "closed";
  /** With `reconnecting`: when (on this machine's clock, as `Date.now()`) the next attempt is made. */
  retryAt?: number;
  /** With `reconnecting`: which attempt that will be, from 1. Also set while it is `connecting` again. */
  attempt?: number;
  /** With `closed`, and `reconnecting`: the close code (section 8; 1006: none came) and the server's reason. */
  code?: number;
  reason?: string;
}

/** What the server says first (section 4, `welcome`). */
export interface Welcome {
  id: string;
  version: string;
  now: string;
  pingInterval: number;
  limits: { message: number; history: number; rate: number };
  auth: "none" | "token";
}

export interface SocketEvents extends Record<string, any[]> {
  /** Connected and welcomed; also after each reconnection. */
  connect: [welcome: Welcome];
  /** A connection that was open has ended. `code` as in section 8; `again`: it comes back by itself. */
  disconnect: [info: { code: number; reason: string; again: boolean }];
  /** The next attempt, counted from 1, is made in `delay` milliseconds. */
  reconnecting: [info: { attempt: number; delay: number }];
  /** At each change. */
  state: [state: ConnectionState];
  /** A round trip was measured. */
  rtt: [milliseconds: number];
  /** Every event that the server sends, under its own name, with its data (section 4): `users`, `goodbye`, `error`, … */
  [event: string]: any[];
}

/**
 * One connection, which is in one room at a time.
 *
 * It reconnects by itself: after a random part of a delay that grows from 0.5 s to 20 s and is reset by 10 s of stable
 * connection; as section 8's table says for each close code; after `reconnectIn` where the server gave one; at once when
 * the machine wakes up, comes online, or the page is shown again. It sends `ping` on its own clock and drops a
 * connection that does not answer.
 */
export interface Socket extends Emitter<SocketEvents> {
  readonly url: string;
  /** Welcomed by the server, and not ended since. */
  readonly connected: boolean;
  /** The connection's id; in a room, the user's. Undefined before the first `welcome`. */
  readonly id?: string;
  readonly state: ConnectionState;
  readonly welcome?: Welcome;
  /** The last round trip that was measured; undefined before the first. */
  readonly rtt?: number;
  /** The room that this socket is in or joining. */
  readonly room?: Room;

  /**
   * Sends an event, with data or without. Before the connection stands it waits for it (at most 100 do). `ack` gets the
   * answer's data as it is, or `{error, code}` when none comes; and the error that it is, if it is one.
   */
  emit(event: string, ack: (answer: any, error?: ParleyError) => void): void;
  emit(event: string, data?: unknown, ack?: (answer: any, error?: ParleyError) => void): void;
  /** Sends an event and resolves with the answer's data; rejects with {@link ParleyError}. */
  emitWithAck(event: string, data?: unknown): Promise<any>;
  /** The same two with a timeout of their own. */
  timeout(milliseconds: number): Pick<Socket, "emit" | "emitWithAck">;

  /** Measures a round trip now; a connection that gives no sign of life in 3 s is dropped and made again. While waiting to reconnect: tries at once. */
  probe(): void;
  /** Starts again what has stopped: a closed connection, a waiting reconnection, the room's login after its `end`. */
  connect(): void;
  /** Closes for good; the user leaves the room at once. `connect()` opens again. */
  disconnect(): void;

  /**
   * Enters a room. Resolves when the server has let this user in. The messages of before (up to 50) come as
   * `message` events like all later ones, from the moment on when the first `message` handler is there: add handlers
   * directly after the `await` (at most 1000 are held).
   *
   * Rejects with {@link ParleyError}: `name_taken`, `wrong_key`, `room_full`, `invalid` (see `fields`),
   * `unauthorized`, `mismatch`, `incomplete`, `insecure`, `timeout`, `aborted`, or `already_logged_in` when this
   * socket is in a room that was not left.
   */
  join(options: JoinOptions): Promise<Room>;
}

export interface User {
  id: string;
  name: string;
  room: string;
}

/** A message of the room: opened and judged. The same object is given again when its marks change. */
export interface Message {
  /** Its place in the room's order; grows, may skip. */
  seq: number;
  /** When the server took it. */
  at: string;
  from: string;
  userId: string;
  key?: string;
  /** Null where it cannot be shown: see `mark`. */
  text: string | null;
  /** Sent by this user: the same `userId`, or a `key` that this page or tab made. */
  own: boolean;
  /** It came while connected; false for those of before the join, of a catch-up and of `history`. */
  live: boolean;
  /**
   * What is wrong with it (section 9's table):
   * `unverified`: in a room with a secret, not sealed with it: never show it as text of that person.
   * `repeated`: it was there before, at another place. `newer`: a message of a newer kind.
   * `encrypted`: in an open room: encrypted, and there is no secret here.
   */
  mark?: "unverified" | "repeated" | "newer" | "encrypted";
  /** Its sender wrote it before one that stands above it. */
  outOfOrder?: boolean;
  /** The sender's clock, in milliseconds; only where it is more than 5 minutes from `at`: show both. */
  sentAt?: number;
}

/** "A message of `from` is missing here": between the messages `after` and `before` (their `seq`). */
export interface Missing {
  from: string;
  after: number;
  before: number;
  /** How many. */
  count: number;
}

/** A message of one's own on its way. */
export interface OwnMessage {
  readonly key: string;
  /** Null only after a reload, if it could not be opened. */
  readonly text: string | null;
  /** When it was written, by this machine's clock. */
  readonly created: number;
  /**
   * `queued`: waits for the connection or for its turn. `sending`: on the wire. `sent`: the server keeps it.
   * `failed`: refused; `retry` or `discard` it. `ask`: first sent more than 23 hours ago or under another name, so
   * that sending it again could make it appear twice: the person decides, `retry` or `discard`.
   */
  readonly state: "queued" | "sending" | "sent" | "failed" | "ask";
  /** With `failed`: why. */
  readonly error?: ParleyError;
  /** With `sent`. */
  readonly receipt?: Receipt;
}

/** The server's word that it keeps a message. */
export interface Receipt {
  seq: number;
  at: string;
  /** `memory`: lost if the server dies; `disk`: flushed; `replicated`: stored by the cluster. */
  durability: "memory" | "disk" | "replicated";
  /** It was there already, from an earlier attempt. */
  duplicate?: boolean;
}

export interface Gap {
  /**
   * `too_many`: more was missed than a login gives. `history({ after: gap.after - 1, limit: 200 })` begins with it (the
   * one before it tells the judge that the pages join up); go on from the newest that you got, up to `before`.
   * `expired`: gone.
   */
  reason: "too_many" | "expired";
  /** What is missing has a `seq` above this … */
  after: number;
  /** … and below this; null: up to now. */
  before: number | null;
  /** The server counts in another log than before: nothing below this line compares with what is above it. */
  newLog: boolean;
}

export interface RoomEvents extends Record<string, any[]> {
  /** In the order of `seq`, each once. */
  message: [message: Message];
  /** Everybody here, oldest first, and how many; after each change. In a large room the list may be shorter for a while. */
  users: [users: User[], count: number];
  /** Somebody else came or went. Not told in large rooms. */
  joined: [user: User];
  left: [user: User];
  /** Who is typing now, but for yourself; told at each change, and cleared by itself. */
  typing: [users: { id: string; name: string }[]];
  /** A message of one's own has changed its state; and all that are not sent, in order. Those of before a reload are in `room.outbox` after the join. */
  outbox: [changed: OwnMessage, all: OwnMessage[]];
  /** Judgements have changed: these messages (the same objects, new marks), and the whole list of what is missing. */
  marks: [changed: Message[], missing: Missing[]];
  /** How the connection stands, at each change; the same as the socket's `state`. Logged in again is told by `resumed`. */
  state: [state: ConnectionState];
  /** Messages were missed that a catch-up does not bring; comes before the messages that follow the gap. */
  gap: [gap: Gap];
  /** In the room again after a lost connection. `resumed`: still the same user for the others; `recovered`: nothing was missed. */
  resumed: [info: { resumed: boolean; recovered: boolean }];
  /** `locked` has changed: with a secret and false, anybody may enter (they still cannot read). */
  locked: [locked: boolean];
  /** Out of the room, and the client stays away until a person acts: `socket.connect()` tries again, or join anew. */
  end: [error: ParleyError];
}

/** A room that this user is in, from `join` to `leave` or `end`; lost connections in between are mended by themselves. */
export interface Room extends Emitter<RoomEvents> {
  readonly socket: Socket;
  /** Who you are. `user.name` and `user.room` are the prepared ones (section 3). */
  readonly user: User;
  /** The prepared name of the room. */
  readonly name: string;
  readonly users: User[];
  readonly count: number;
  /** Names the log that `seq` counts in. */
  readonly epoch: string;
  /** The newest `seq` that was taken in. */
  readonly seq: number;
  /** At the join: there are messages older than the first one given; see `history`. */
  readonly more: boolean;
  /** Only those with the secret can enter. The server's word. */
  readonly locked: boolean;
  /** Joined with a secret: only those with the secret can read. */
  readonly encrypted: boolean;
  /** Logged in right now. False while the connection is being mended. */
  readonly joined: boolean;
  /** Own messages that are not sent yet, in order. */
  readonly outbox: OwnMessage[];
  /** What is missing, where; see `marks`. */
  readonly missing: Missing[];
  /** Who is typing now, but for yourself. */
  readonly typists: { id: string; name: string }[];

  /**
   * Sends a message; while offline it waits, and survives a reload. Resolves when the server keeps it. `message` is
   * there at once, to be shown with its state. Rejects with {@link ParleyError}: `too_long`, `outbox_full`, a refusal
   * of the server's, `discarded`, `left`. An unhandled rejection is not an error: `outbox` tells of it as well.
   */
  send(text: string): Promise<Receipt> & { readonly message: OwnMessage };
  /** How many bytes are left of `limits.message` when this text is sent, sealing included; negative: too long. */
  left(text: string): number;
  /** Sends a `failed` or `ask` one (again); resolves like `send`. */
  retry(key: string): Promise<Receipt>;
  /** Forgets one that is not sent. One that is `sending` may arrive nevertheless. False: there is none such. */
  discard(key: string): boolean;

  /**
   * A page of older (`before`) or newer (`after`) messages, oldest first; `limit` 1–200, default 50.
   * Messages that were given before are the same objects. `more`: there are further ones in that direction.
   */
  history(page?: { before?: number; after?: number; limit?: number }): Promise<{ messages: Message[]; more: boolean }>;
  /** A page of the people, in order of arrival; `limit` 1–200, default 100. `users` gets the first 2,000 by itself, in its time. */
  listUsers(page?: { offset?: number; limit?: number }): Promise<{ users: User[]; count: number }>;
  /** Call it at each key press with true: the others are told every 3 s at most. False, or a message sent, clears it. */
  typing(typing: boolean): void;
  /** Leaves at once. Unsent messages are dropped: look at `outbox` first. Resolves when the server has done it, or is not there. */
  leave(): Promise<void>;
}
