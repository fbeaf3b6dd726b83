/** One connection that comes back by itself: sections 1, 2, 7 and 8 of PROTOCOL.md. Manual: parley.d.ts. */
import { Emitter, ParleyError, attempt, backoff, problem } from "./emitter.js";
import { Room } from "./room.js";

/** @import {ConnectOptions, ConnectionState, JoinOptions, Welcome} from "./parley.js" */
/** @typedef {ReturnType<typeof setTimeout>} Timer */
/** @typedef {(answer: any) => void} Ack */

const STABLE = 10_000;
const HANDSHAKE = 20_000;
const PATIENCE = 10_000; // for the answer to a regular ping
const VERDICT = 3_000; // for the answer to a probe
const WATCH = 2_000; // how often the clock is watched; a jump is twice that, late
const WAITING = 100;
/** The client's own events, which a server cannot send. */
const OWN = /^(connect|disconnect|reconnecting|state|rtt)$/;

/** @implements {InstanceType<typeof import("./parley.js").Socket>} */
export class Socket extends Emitter {
  /** @type {string} */ url;
  connected = false;
  /** @type {string | undefined} */ id;
  /** @type {ConnectionState} */ state = { state: "closed" };
  /** @type {Welcome | undefined} */ welcome;
  /** @type {number | undefined} */ rtt;
  /** @type {Room | undefined} */ room;
  /** How far the server's clock is ahead of this one, in milliseconds. */
  skew = 0;

  /** @type {WebSocket | undefined} */ #ws;
  #opened = false; // ever
  #attempt = 0;
  #notBefore = 0; // what a goodbye asked for
  #slot = 0; // when the rate allows the next frame
  #ackId = 0;
  /** @type {Map<number, {ack: Ack, timer?: Timer}>} */ #acks = new Map();
  /** @type {{ackId?: number}[]} */ #waiting = []; // frames, for the connection
  /** @type {Timer | undefined} */ #timer; // the handshake's end, the next attempt or "stable"
  /** @type {Timer | undefined} */ #beat;
  /** @type {Timer | undefined} */ #watch;
  /** @type {Timer | undefined} */ #verdict;
  #verdictAt = 0;
  /** @type {AbortController | undefined} */ #wakers;

  /** @param {string | URL} [url] @param {ConnectOptions} [options] */
  constructor(url = "ws", options = {}) {
    super();
    const at = new URL(url, globalThis.location?.href);
    at.protocol = at.protocol.replace("http", "ws");
    at.hash = "";
    this.url = at.href;
    this.options = options;
    this.storage = options.storage ?? (options.storage === null ? memory() : shared()) ?? memory();
    this.connect();
  }

  connect() {
    this.#notBefore = 0;
    this.room?.resume();
    if (this.state.state === "closed") {
      this.#attempt = 0;
      this.#wakers = new AbortController();
      for (const event of ["online", "pageshow", "visibilitychange"]) {
        globalThis.addEventListener?.(event, this.#wake, { signal: this.#wakers.signal });
      }
      let last = Date.now();
      this.#watch = setInterval(() => {
        const passed = Date.now() - last;
        last += passed;
        if (passed < 0 || passed > 3 * WATCH) this.probe();
      }, WATCH);
      this.#open();
    } else if (this.state.state === "reconnecting") this.#open();
  }

  disconnect() {
    this.#ended(this.#ws, 1000, "");
  }

  probe() {
    if (this.connected) this.#ping(VERDICT);
    else if (this.state.state === "reconnecting" && Date.now() >= this.#notBefore) this.#open();
  }

  /** @param {{type: string}} event */
  #wake = ({ type }) => {
    if (type === "online" || globalThis.document?.visibilityState !== "hidden") this.probe();
  };

  /** @param {string} event @param {any} [data] @param {Ack} [ack] */
  emit(event, data, ack) {
    this.send(event, data, ack);
  }

  /** @param {string} event @param {any} [data] @param {number} [ms] @returns {Promise<any>} */
  emitWithAck(event, data, ms) {
    return new Promise((resolve, reject) => {
      this.send(event, data, (answer) => {
        const error = problem(answer);
        error ? reject(error) : resolve(answer);
      }, ms);
    });
  }

  /** @param {number} ms */
  timeout(ms) {
    return {
      /** @param {string} event @param {any} [data] @param {Ack} [ack] */
      emit: (event, data, ack) => this.send(event, data, ack, ms),
      /** @param {string} event @param {any} [data] */
      emitWithAck: (event, data) => this.emitWithAck(event, data, ms),
    };
  }

  /** @param {JoinOptions} options */
  async join(options) {
    if (this.room && !this.room.stopped) {
      throw new ParleyError("already_logged_in", "This connection is in a room already.");
    }
    this.room?.detach();
    this.room = new Room(this, options);
    if (this.state.state === "closed") this.connect();
    return this.room.enter();
  }

  /** `ms` 0: wait as long as the connection lasts. @param {string} event @param {any} [data] @param {Ack} [ack] @param {number} [ms] */
  send(event, data, ack, ms = this.options.ackTimeout ?? 20_000) {
    const ackId = ack && ++this.#ackId;
    const frame = { event, data, ackId };
    if (ack && ackId) {
      const timer = ms ? setTimeout(() => this.#answer(ackId, failure("timeout", "No answer in time.")), ms) : undefined;
      this.#acks.set(ackId, { ack, timer });
    }
    if (this.connected) this.#transmit(frame);
    else if (this.state.state !== "closed" && this.#waiting.length < WAITING) this.#waiting.push(frame);
    else if (ackId) this.#answer(ackId, failure("disconnected", "Not connected."));
  }

  /** Milliseconds until the rate limit has room for a frame that can wait. */
  wait() {
    return Math.max(0, this.#slot - Date.now());
  }

  /** Ends a connection that is no good; another one follows. @param {string} reason */
  drop(reason) {
    this.#ended(this.#ws, 1006, reason);
  }

  /** @param {object} frame */
  #transmit(frame) {
    const rate = this.welcome?.limits.rate;
    if (rate) this.#slot = Math.max(Date.now(), this.#slot) + 1000 / rate;
    this.#ws?.send(JSON.stringify(frame));
  }

  /** @param {number} ackId @param {any} data */
  #answer(ackId, data) {
    const waiting = this.#acks.get(ackId);
    if (!waiting) return;
    this.#acks.delete(ackId);
    clearTimeout(waiting.timer);
    if (data?.code === "rate_limited") this.#slot = Math.max(this.#slot, Date.now() + (data.retryAfter || 1000));
    attempt(() => waiting.ack(data));
  }

  /** @param {ConnectionState} state */
  #become(state) {
    this.state = state;
    this.fire("state", state);
  }

  #open() {
    clearTimeout(this.#timer);
    /** @type {WebSocket} */
    const ws = new (this.options.WebSocket ?? WebSocket)(this.url, "parley.v1");
    this.#ws = ws;
    this.#timer = setTimeout(() => this.#ended(ws, 1006, "no answer"), HANDSHAKE);
    ws.onopen = () => (this.#opened = true);
    ws.onerror = () => {}; // its close event follows
    ws.onclose = ({ code, reason }) => this.#ended(ws, code, reason);
    ws.onmessage = ({ data }) => ws === this.#ws && attempt(() => this.#receive(data));
    this.#become({ state: "connecting", attempt: this.#attempt || undefined });
  }

  /** @param {string} text */
  #receive(text) {
    clearTimeout(this.#verdict);
    this.#verdict = undefined;
    const { event, data, ackId } = JSON.parse(text);
    if (event === "ack") return this.#answer(ackId, data);
    if (event === "welcome") this.#welcomed(data);
    if (event === "goodbye") this.#notBefore = Date.now() + data.reconnectIn;
    this.room?.receive(event, data);
    if (!OWN.test(event)) this.fire(event, data);
  }

  /** @param {Welcome} welcome */
  #welcomed(welcome) {
    this.welcome = welcome;
    this.id = welcome.id;
    this.skew = Date.parse(welcome.now) - Date.now();
    this.connected = true;
    this.#notBefore = this.#slot = 0;
    clearTimeout(this.#timer);
    this.#timer = setTimeout(() => (this.#attempt = 0), STABLE);
    clearInterval(this.#beat);
    this.#beat = setInterval(() => this.#ping(PATIENCE), Math.max(1000, welcome.pingInterval || 25_000));
    this.#become({ state: "connected" });
    this.room?.login();
    for (const frame of this.#waiting.splice(0)) if (!frame.ackId || this.#acks.has(frame.ackId)) this.#transmit(frame);
    this.fire("connect", welcome);
  }

  /** Asks for a sign of life, any frame, within `patience`. @param {number} patience */
  #ping(patience) {
    const sent = Date.now();
    const ws = this.#ws;
    if (!this.#verdict || sent + patience < this.#verdictAt) {
      clearTimeout(this.#verdict);
      this.#verdictAt = sent + patience;
      this.#verdict = setTimeout(() => this.#ended(ws, 1006, "no sign of life"), patience);
    }
    this.send("ping", undefined, (answer) => {
      if (problem(answer)) return;
      this.rtt = Math.max(0, Date.now() - sent);
      this.fire("rtt", this.rtt);
    });
  }

  /** @param {WebSocket | undefined} ws @param {number} code @param {string} reason */
  #ended(ws, code, reason) {
    if (ws !== this.#ws || this.state.state === "closed") return;
    const was = this.connected;
    const again = this.#comesBack(code);
    this.#ws = undefined;
    this.connected = false;
    clearTimeout(this.#timer);
    clearTimeout(this.#verdict);
    this.#verdict = undefined;
    clearInterval(this.#beat);
    if (ws && ws.readyState < 2) ws.close(again ? 4000 : 1000); // 1000 would give up the place in the room
    if (!this.#opened && again && !this.#attempt) {
      console.warn(`parley: cannot reach ${this.url}: is it up, and does it allow this page (--allow-origin ${globalThis.location?.origin ?? "…"})?`);
    }
    if (again) {
      const count = ++this.#attempt;
      const rest = this.#notBefore - Date.now();
      const delay = rest > 0 ? rest : backoff(count);
      this.#timer = setTimeout(() => this.#open(), delay);
      this.#become({ state: "reconnecting", retryAt: Date.now() + delay, attempt: count, code, reason });
      this.fire("reconnecting", { attempt: count, delay });
    } else {
      clearInterval(this.#watch);
      this.#wakers?.abort();
      this.#waiting = [];
      this.#become({ state: "closed", code, reason });
    }
    this.room?.lost(again, code, reason);
    if (was || !again) {
      for (const ackId of [...this.#acks.keys()]) this.#answer(ackId, failure("disconnected", "The connection ended."));
    }
    if (was) this.fire("disconnect", { code, reason, again });
  }

  /** Section 8. @param {number} code */
  #comesBack(code) {
    if (code === 1000 || code === 1005 || code >= 4500) return false;
    if (code === 4401) return typeof this.room?.options.token === "function";
    return code !== 4408 || Boolean(this.room && !this.room.stopped);
  }
}

/** @param {string} code @param {string} error */
const failure = (code, error) => ({ code, error });

/** What a reload leaves alone; a browser may forbid the access. */
function shared() {
  try {
    return globalThis.sessionStorage;
  } catch {
    return undefined;
  }
}

/** @returns {NonNullable<ConnectOptions["storage"]>} */
function memory() {
  /** @type {Map<string, string>} */
  const map = new Map();
  return {
    getItem: (key) => map.get(key) ?? null,
    setItem: (key, value) => void map.set(key, value),
    removeItem: (key) => void map.delete(key),
  };
}
