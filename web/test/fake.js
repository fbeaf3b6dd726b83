/** A clock, a network and a machine for the client's tests: nothing in them waits for real time. */
import { mock } from "node:test";
import { connect } from "../parley.js";

/** @typedef {{at: number, id: number, run: () => void, every?: number}} Alarm */

/** Lets everything that is ready happen: promises, and what real work (WebCrypto) they wait for is asked by `until`. */
export const settled = async () => {
  for (let i = 0; i < 5; i++) await new Promise((resolve) => setImmediate(resolve));
};

/** Timers and Date.now under the test's control; Math.random gives `random`. Restored by `t`'s end. */
export class Clock {
  now = Date.parse("2026-11-23T19:00:00.000Z");
  random = 0.5;
  #passed = 0; // what nobody can set
  /** @type {Map<number, Alarm>} */ #alarms = new Map();
  #last = 0;

  /** @param {import("node:test").TestContext} t */
  constructor(t) {
    /** @param {Function} run @param {number} [ms] @param {any[]} args */
    const set = (run, ms = 0, ...args) => {
      const id = ++this.#last;
      this.#alarms.set(id, { at: this.now + ms, id, run: () => run(...args) });
      return id;
    };
    /** @param {Function} run @param {number} ms @param {any[]} args */
    const repeat = (run, ms, ...args) => {
      const id = set(run, ms, ...args);
      /** @type {Alarm} */ (this.#alarms.get(id)).every = ms;
      return id;
    };
    const clear = (/** @type {any} */ id) => void this.#alarms.delete(id);
    const replaced = { setTimeout: set, clearTimeout: clear, setInterval: repeat, clearInterval: clear };
    for (const [name, fake] of Object.entries(replaced)) mock.method(globalThis, /** @type {any} */ (name), /** @type {any} */ (fake));
    mock.method(Date, "now", () => this.now);
    mock.method(performance, "now", () => this.#passed);
    mock.method(Math, "random", () => this.random);
    t.after(() => mock.restoreAll());
  }

  /** How many timers are set. */
  get pending() {
    return this.#alarms.size;
  }

  /** Runs what is due within `ms`, in order. @param {number} ms */
  async advance(ms) {
    const end = this.now + ms;
    for (;;) {
      await settled();
      const [next] = [...this.#alarms.values()].sort((a, b) => a.at - b.at || a.id - b.id);
      if (!next || next.at > end) break;
      this.#pass(next.at);
      if (next.every) next.at += next.every;
      else this.#alarms.delete(next.id);
      next.run();
    }
    this.#pass(end);
    await settled();
  }

  /** @param {number} at */
  #pass(at) {
    this.#passed += at - this.now;
    this.now = at;
  }

  /** The machine slept, or somebody set its clock: time passes and no timer runs. @param {number} ms */
  jump(ms) {
    this.now += ms;
    for (const alarm of this.#alarms.values()) alarm.at += ms;
  }
}

/** One connection, from the server's end. */
export class FakeWebSocket {
  readyState = 0;
  /** @type {any[]} */ frames = []; // all that the client sent
  #read = 0;
  /** @type {number | undefined} */ closedWith; // by the client
  /** @type {any} */ onopen;
  /** @type {any} */ onclose;
  /** @type {any} */ onmessage;
  /** @type {any} */ onerror;

  /** @param {string} url @param {string} protocol */
  constructor(url, protocol) {
    this.url = url;
    this.protocol = protocol;
  }

  /** Does it answer pings by itself? */
  alive() {
    return true;
  }

  /** @param {string} text */
  send(text) {
    if (this.readyState !== 1) throw new Error("not open");
    const frame = JSON.parse(text);
    this.frames.push(frame);
    if (frame.event === "ping" && this.alive()) queueMicrotask(() => this.ack(frame, { id: "conn", at: "…" }));
  }

  /** @param {number} [code] */
  close(code) {
    this.closedWith = code;
    this.readyState = 2;
  }

  open() {
    this.readyState = 1;
    this.onopen?.({});
  }

  /** The server's end, or the network's, ends it. @param {number} code @param {string} [reason] */
  end(code, reason = "") {
    this.readyState = 3;
    if (code === 1006) this.onerror?.({});
    this.onclose?.({ code, reason });
  }

  /** @param {string} text */
  raw(text) {
    this.onmessage?.({ data: text });
  }

  /** @param {string} event @param {any} [data] */
  say(event, data) {
    this.raw(JSON.stringify({ event, data }));
  }

  /** @param {any} frame what is answered @param {any} data */
  ack(frame, data) {
    this.raw(JSON.stringify({ event: "ack", ackId: frame.ackId, data }));
  }

  /** What the client sent since this was asked last; `ping` is left out unless asked for. @param {boolean} [pings] */
  news(pings = false) {
    const news = this.frames.slice(this.#read);
    this.#read = this.frames.length;
    return news.filter(({ event }) => pings || event !== "ping");
  }

  /** The news, which must be one frame of this event. @param {string} event */
  one(event) {
    const news = this.news();
    if (news.length !== 1 || news[0].event !== event) throw new Error(`expected one ${event}: ${JSON.stringify(news)}`);
    return news[0];
  }
}

export const WELCOME = {
  id: "conn",
  version: "parley.v1",
  now: "2026-11-23T19:00:00.000Z",
  pingInterval: 25_000,
  limits: { message: 16_384, history: 10_000, rate: 0 },
  auth: "none",
};

export const ANN = { id: "ann", name: "Ann", room: "lobby" };
export const BEN = { id: "ben", name: "Ben", room: "lobby" };

/** The answer to a login. @param {object} [rest] */
export const entered = (rest) => ({
  user: ANN,
  users: [ANN],
  count: 1,
  epoch: "e1",
  seq: 100,
  messages: [],
  more: false,
  locked: false,
  resumed: false,
  ...rest,
});

/** A `roomMessage` payload. @param {number} seq @param {object} [rest] */
export const said = (seq, rest) => ({
  message: `text ${seq}`,
  from: "Ben",
  userId: "ben",
  seq,
  at: "2026-11-23T19:00:00.000Z",
  ...rest,
});

/** A Storage. */
export class FakeStorage {
  /** @type {Map<string, string>} */ map = new Map();
  getItem = (/** @type {string} */ key) => this.map.get(key) ?? null;
  setItem = (/** @type {string} */ key, /** @type {string} */ value) => void this.map.set(key, value);
  removeItem = (/** @type {string} */ key) => void this.map.delete(key);
  /** As a duplicated tab gets it. */
  copy() {
    const copy = new FakeStorage();
    copy.map = new Map(this.map);
    return copy;
  }
}

/** Web Locks of one browser: who waits for one that is held is refused at once. */
export class FakeLocks {
  /** @type {Set<string>} */ held = new Set();
  request = /** @type {any} */ (async (/** @type {string} */ name, /** @type {any} */ _, /** @type {any} */ use) => {
    if (this.held.has(name)) throw new DOMException("held", "AbortError");
    this.held.add(name);
    await use({ name });
    this.held.delete(name);
  });
}

/** A world with one client in it. */
export class World {
  /** The newest login, as it was sent. @type {any} */ login;
  /** @type {FakeWebSocket[]} */ sockets = [];
  /** Its server answers pings. */ alive = true;

  /** @param {import("node:test").TestContext} t @param {import("../parley.js").ConnectOptions} [options] */
  constructor(t, options) {
    this.clock = new Clock(t);
    const { sockets } = this;
    const alive = () => this.alive;
    this.options = {
      WebSocket: class extends FakeWebSocket {
        /** @param {string} url @param {any} protocol */
        constructor(url, protocol) {
          super(url, protocol);
          sockets.push(this);
          this.alive = alive;
        }
      },
      ...options,
    };
    this.socket = connect("http://chat.test/x/ws", this.options);
    /** @type {any[]} */
    this.told = []; // the socket's own events
    this.listen(this.socket, ["connect", "disconnect", "reconnecting", "state", "rtt"], this.told);
  }

  /** @param {any} emitter @param {string[]} events @param {any[]} into */
  listen(emitter, events, into) {
    for (const event of events) emitter.on(event, (/** @type {any[]} */ ...args) => into.push([event, ...structured(args)]));
  }

  /** The newest connection, from the server's end. */
  get ws() {
    return /** @type {FakeWebSocket} */ (this.sockets.at(-1));
  }

  /** What the client sends now, which must be one frame of this event. @param {string} event */
  async one(event) {
    await settled();
    return this.ws.one(event);
  }

  /** @param {object} [welcome] */
  async welcome(welcome) {
    this.ws.open();
    this.ws.say("welcome", { ...WELCOME, now: new Date(this.clock.now).toISOString(), ...welcome });
    await settled();
  }

  /**
   * Joins, with the server's part played.
   * @param {{options?: object, answer?: object, welcome?: object}} [how]
   */
  async join({ options, answer, welcome } = {}) {
    const joining = this.socket.join({ name: "Ann", room: "lobby", ...options });
    joining.catch(() => {});
    await settled();
    if (!this.socket.connected) await this.welcome(welcome);
    await until(() => (this.login = this.ws.news().find(({ event }) => event === "login")));
    this.ws.ack(this.login, entered(answer));
    this.room = await joining;
    return this.room;
  }

  /** The connection is lost and comes back; answers the login that follows. @param {object} [answer] @param {number} [code] */
  async comeBack(answer, code = 1006) {
    this.ws.end(code);
    await this.clock.advance(20_000);
    await this.welcome();
    this.login = this.ws.one("login");
    this.ws.ack(this.login, entered({ resumed: true, recovered: true, ...answer }));
    await settled();
  }
}

/** Waits for real work, of WebCrypto say, by turns of the event loop. @param {() => unknown} done */
export async function until(done) {
  for (const start = process.hrtime.bigint(); !done(); ) {
    if (process.hrtime.bigint() - start > 60_000_000_000n) throw new Error("never happened");
    await new Promise((resolve) => setImmediate(resolve));
  }
}

/** What an event carried, as it was then. @param {any[]} args */
const structured = (args) => args.map((arg) => (arg instanceof Error ? arg : JSON.parse(JSON.stringify(arg ?? null))));
