/** What the client's modules promise one another; no part of its API. */
import type {
  ConnectOptions,
  JoinOptions,
  Message,
  Missing,
  OwnMessage,
  ParleyError,
  Receipt,
  Room,
  Socket,
  User,
} from "./parley.js";
import type { Message as Judged, Payload, Update } from "./reader.js";

type Handler = (...args: any[]) => void;
type Mutable<T> = { -readonly [K in keyof T]: T[K] };
/** `error`: the one that the answer is, if it is one. */
export type Ack = (answer: any, error?: ParleyError) => unknown;
export type Timer = ReturnType<typeof setTimeout> | undefined;

export interface Base {
  /** `added` hears of each event that gets a handler. */
  emitter(added?: (event: string) => void): {
    on(event: string, handler: Handler, once?: boolean): () => void;
    once(event: string, handler: Handler): () => void;
    off(event?: string, handler?: Handler): void;
    fire(event: string, ...args: any[]): void;
  };
  /** Runs what is not ours; its exception is logged, and disturbs nobody. */
  quietly(run: () => unknown): void;
  /** Full jitter: a random part of a delay that grows from 0.5 s to 20 s; `tries` from 1. */
  backoff(tries: number): number;
  /** What only this client knows to have failed. */
  fault(code: string, what?: string, rest?: object): ParleyError;
  /** Milliseconds on a clock that nobody sets. */
  now(): number;
  utf8(text: string): Uint8Array<ArrayBuffer>;
}

/** The socket as its room sees it. */
export interface Wire extends Mutable<Socket> {
  room?: RoomInside;
  options: ConnectOptions;
  storage: Pick<Storage, "getItem" | "setItem" | "removeItem">;
  /** The server's clock less this one, in milliseconds. */
  skew: number;
  fire(event: string, ...args: any[]): void;
  /** With `ms` 0 the answer is awaited as long as the connection lasts. */
  emit(event: string, data?: any, ack?: Ack, ms?: number): void;
  /** Milliseconds until the rate limit has room for a frame that can wait. */
  wait(): number;
  /** Ends a connection that is no good; another one follows. */
  drop(reason: string): void;
  /** A timer that ends with the connection. */
  later(ms: number, run: () => unknown): void;
}

/** The room as the socket and the room's parts see it. */
export interface RoomInside extends Mutable<Room> {
  socket: Wire;
  options: JoinOptions;
  /** Out of the room until somebody acts. */
  stopped?: ParleyError;
  /** Left for good. */
  gone?: boolean;
  /** The connection was made for this room. */
  alone?: boolean;
  /** How texts become messages; nothing but a room's secret puts another one in place of `plain`. */
  codec: Codec;
  /** What tells one's own messages. */
  isOwn(userId: string, key?: string): boolean;
  fire(event: string, ...args: any[]): void;
  /** The first login, and all that it needs. */
  enter(): Promise<Room>;
  /** Logs in on a connection that has been welcomed. */
  login(): Promise<void>;
  receive(event: string, data: any): void;
  /** The connection has ended. */
  lost(again: boolean, code: number, reason: string): void;
  /** Somebody wants to go on after an end. */
  resume(): void;
  /** Lets go of the socket and of the session. */
  detach(): void;
  /** Asks as fast as the rate allows. */
  ask(event: string, data?: object): Promise<any>;
}

/** Between the texts that people write and the messages on the wire. */
export interface Codec {
  /** In a room with a secret: the prepared name of the room, and what opens its lock. */
  name?: string;
  access?: string;
  prepare(name: string): string;
  /** In bytes, of what `seal` will make of it. */
  size(text: string): number;
  seal(entry: { from: string; key: string; text: string; created: number }): string | Promise<string>;
  /** Null: it is not ours. */
  open(entry: { from: string; key: string; message: string }): string | null | Promise<string | null>;
  /** Makes the judge of a log's messages. */
  judge(): Judge;
}

/** reader.js's Reader, or what stands for it in an open room. */
export interface Judge {
  login(answer: { messages: Payload[]; seq: number; recovered?: boolean }, since?: number): Promise<Findings>;
  live(payload: Payload): Promise<Findings>;
  page(messages: Payload[], before?: number): Promise<Findings>;
}


export interface Inbox {
  /** The first handler of messages is there. */
  release(): void;
  login(answer: any, since?: number): void;
  live(payload: Payload): void;
  history: Room["history"];
}

export interface People {
  set(users: User[], count: number): void;
  receive(event: string, data: any): void;
  /** Tells the others, no more often than they need it. */
  say(typing: boolean): void;
  /** One's own message clears it for the others. */
  sent(): void;
  /** The connection has ended. */
  lost(): void;
}

/** `message`: as it goes on the wire; `first`: when it was sent first. */
export type Entry = Mutable<OwnMessage> & {
  from: string;
  message?: string;
  first?: number;
  resolve?: (receipt: Receipt) => void;
  reject?: (error: ParleyError) => void;
};

export interface Outbox {
  session: string;
  /** Whose the session is. */
  name: string;
  /** All that were made here. */
  keys: Set<string>;
  /** Finds what an earlier load of this tab left, unless another tab has its session. */
  open(): Promise<void>;
  /** A session of another name is another one. */
  become(name: string): Promise<void>;
  renew(): Promise<void>;
  /** Sends the next one, if it is time. */
  pump(): void;
  /** Lets another load of the tab have what is left. */
  close(): void;
  /** Nothing is sent any more. */
  clear(): void;
  send: Room["send"];
  retry: Room["retry"];
  discard: Room["discard"];
}

export type MakeInbox = (room: RoomInside) => Inbox;
export type MakeOutbox = (room: RoomInside) => Outbox;
export type MakeRoom = (socket: Wire, options: JoinOptions) => RoomInside;
export type MakePeople = (room: RoomInside) => People;
/** What a reader reports; the judge of an open room has more to say of less. */
export interface Findings extends Omit<Update, "messages"> {
  messages: (Omit<Judged, "verdict" | "outOfOrder" | "clock"> & { verdict: string; outOfOrder?: boolean; clock?: boolean })[];
}
export type Believe = (payloads: Payload[]) => Promise<Findings>;
export type { Message, Missing, User };
