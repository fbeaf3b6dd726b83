/** A room over a connection that comes and goes: login, resume, renewal (section 3 of PROTOCOL.md). Manual: parley.d.ts. */
import { Emitter, ParleyError, backoff, problem } from "./emitter.js";
import { Inbox } from "./inbox.js";
import { Outbox } from "./outbox.js";
import { People } from "./people.js";

/** @import {JoinOptions, User} from "./parley.js" */
/** @import {RoomKeys} from "./crypto.js" */
/** @import {Socket} from "./socket.js" */
/** @typedef {{name?: string, exp?: number}} Claims */

const CODES = new Map([[4401, "unauthorized"], [4501, "taken_over"], [4503, "removed"]]);

/** @implements {InstanceType<typeof import("./parley.js").Room>} */
export class Room extends Emitter {
  /** @type {User} */ user = { id: "", name: "", room: "" };
  /** @type {string} */ name;
  more = false;
  locked = false;
  joined = false;
  /** Out of the room until somebody acts. @type {ParleyError | undefined} */ stopped;
  gone = false; // for good
  alone = false; // the connection was made for this room
  /** @type {RoomKeys | undefined} */ keys;
  /** @type {typeof import("./crypto.js") | undefined} */ crypto;

  #inbox = new Inbox(this);
  #outbox = new Outbox(this);
  #people = new People(this);
  #ready = false; // keys and session are there
  #entered = false; // the first login has succeeded
  /** This connection's login. @type {object | undefined} */ #turn;
  #tries = 0;
  /** Those that end with the connection. @type {Set<ReturnType<typeof setTimeout>>} */ #timers = new Set();
  /** @type {(error?: ParleyError) => void} */ #settle = () => {};

  /** @param {Socket} socket @param {JoinOptions} options */
  constructor(socket, options) {
    super();
    this.socket = socket;
    this.options = options;
    this.name = options.room;
  }

  get users() { return this.#people.users; }
  get count() { return this.#people.count; }
  get typists() { return this.#people.typists; }
  get epoch() { return this.#inbox.epoch; }
  get seq() { return this.#inbox.seq; }
  get missing() { return [...this.#inbox.missing.values()]; }
  get outbox() { return [...this.#outbox.entries]; }
  get encrypted() { return Boolean(this.keys); }

  /** @param {string} event @param {(...args: any[]) => void} handler @param {boolean} [once] */
  on(event, handler, once) {
    if (event === "message") queueMicrotask(() => this.#inbox.release());
    return super.on(event, handler, once);
  }

  /** @param {string} text */
  send(text) { return this.#outbox.send(text); }
  /** @param {string} key */
  retry(key) { return this.#outbox.retry(key); }
  /** @param {string} key */
  discard(key) { return this.#outbox.discard(key); }
  /** @param {{before?: number, after?: number, limit?: number}} [page] */
  history(page = {}) { return this.#inbox.history(page); }
  /** @param {{offset?: number, limit?: number}} [page] */
  listUsers(page = {}) { return this.ask("users", page); }

  /** @param {string} text */
  left(text) {
    const size = this.crypto ? this.crypto.sealedSize(text) : new TextEncoder().encode(text).length;
    return (this.socket.welcome?.limits.message ?? Infinity) - size;
  }

  /** @param {boolean} typing */
  typing(typing) {
    if (this.joined && this.#people.say(typing)) this.socket.send("typing", { typing });
  }

  async leave() {
    const { joined, socket } = this;
    if (this.gone) return;
    this.detach();
    this.#outbox.clear();
    if (joined) await socket.emitWithAck("logout").catch(() => {});
    if (this.alone) socket.disconnect();
  }

  // What follows is for the socket and the room's parts.

  /** The first login, and all that it needs. @returns {Promise<Room>} */
  enter() {
    return new Promise((resolve, reject) => {
      const { timeout = 20_000, signal } = this.options;
      const end = (/** @type {string} */ code) => this.#stop(new ParleyError(code, `The join was given up: ${code}.`));
      const abort = () => end("aborted");
      const timer = timeout ? setTimeout(() => end("timeout"), timeout) : undefined;
      this.#settle = (error) => {
        clearTimeout(timer);
        signal?.removeEventListener("abort", abort);
        if (!error) return resolve(this);
        this.detach();
        reject(error);
      };
      signal?.addEventListener("abort", abort);
      if (signal?.aborted) return abort();
      this.#prepare().then(() => {
        if (this.gone) return this.#outbox.close();
        this.#ready = true;
        this.login();
      }, (error) => this.#stop(error));
    });
  }

  async #prepare() {
    const { room, secret } = this.options;
    if (secret !== undefined) {
      const [crypto, { Reader }] = await Promise.all([import("./crypto.js"), import("./reader.js")]);
      if (!crypto.checkSecret(secret).secret) throw new ParleyError("incomplete", "The secret is incomplete.");
      if (!crypto.available()) throw new ParleyError("insecure", "Encryption needs a secure context: https, or localhost.");
      const keys = (this.keys = await crypto.deriveKeys(room, secret));
      this.crypto = crypto;
      this.name = keys.room;
      this.#inbox.judge = () => new Reader(keys);
    }
    await this.#outbox.open();
  }

  /** Logs in on a connection that has been welcomed. */
  async login() {
    const { socket, options } = this;
    if (!this.#ready || this.stopped || !socket.connected || this.#turn) return;
    const turn = (this.#turn = {});
    try {
      const token = await (typeof options.token === "function" ? options.token() : options.token);
      const claims = read(token);
      const name = claims.name ?? options.name ?? "";
      await this.#outbox.become(this.crypto ? this.crypto.prepare(name) : name);
      if (turn !== this.#turn) return;
      const since = this.#entered ? this.seq : undefined;
      const data = { ...this.#identity(), token, since, epoch: this.epoch || undefined };
      socket.send("login", data, (answer) => turn === this.#turn && this.#answered(answer, since, claims), 0);
    } catch (error) {
      if (turn === this.#turn) this.#refused(/** @type {ParleyError} */ (error), this.#entered);
    }
  }

  #identity() {
    const { name, session } = this.#outbox;
    return { name, room: this.name, access: this.keys?.access, session };
  }

  /** @param {any} answer @param {number | undefined} since @param {Claims} claims */
  #answered(answer, since, claims) {
    const error = problem(answer);
    if (error) {
      const later = /^(rate_limited|unavailable)$/.test(error.code) || (this.#entered && error.code === "room_full");
      return this.#refused(error, later);
    }
    const { user, users, count, locked, resumed, recovered } = answer;
    if (this.keys && (user.name !== this.#outbox.name || user.room !== this.name)) {
      return this.#stop(new ParleyError("mismatch", "The server answered with another name or room."));
    }
    const { locked: before } = this;
    this.#tries = 0;
    this.joined = true;
    this.user = user;
    this.locked = locked;
    this.socket.id = user.id;
    this.#inbox.login(answer, since);
    if (this.#entered) {
      this.fire("resumed", { resumed, recovered });
      if (locked !== before) this.fire("locked", locked);
    } else {
      this.#entered = true;
      this.more = answer.more;
      this.#settle();
    }
    this.#people.set(users, count);
    this.#renew(claims);
    this.#outbox.pump();
  }

  /** @param {ParleyError} error @param {boolean} again */
  #refused(error, again) {
    if (again) {
      const wait = error.code === "rate_limited" ? this.socket.wait() : backoff(++this.#tries);
      this.later(wait, () => {
        this.#turn = undefined;
        this.login();
      });
    } else {
      this.#turn = undefined; // nothing that #stop would have to leave
      this.#stop(error);
    }
  }

  /** Gets a fresh token before this one ends. @param {Claims} claims */
  #renew(claims) {
    const { token } = this.options;
    if (typeof token !== "function" || !claims.exp) return;
    const turn = this.#turn;
    const left = claims.exp * 1000 - Date.now() - this.socket.skew;
    this.later(Math.max(5_000, left > 120_000 ? left - 60_000 : left / 2), async () => {
      try {
        const fresh = await token();
        await this.ask("login", { ...this.#identity(), token: fresh });
        claims = read(fresh);
      } catch {} // tried again while the old one lasts; then 4401 decides
      if (turn === this.#turn) this.#renew(claims);
    });
  }

  /** @param {string} event @param {any} data */
  receive(event, data) {
    if (!this.joined) return;
    if (event === "roomMessage") {
      this.#people.quiet(data.userId);
      this.#inbox.live(data);
    } else if (event === "notification") {
      if (data.kind === "left") this.#people.quiet(data.user.id);
      this.fire(data.kind === "left" ? "left" : "joined", data.user);
    } else if (event === "users") this.#people.set(data, data.length);
    else if (event === "presence") this.#people.presence(data);
    else if (event === "typing") this.#people.heard(data);
  }

  /** The connection has ended. @param {boolean} again @param {number} code @param {string} reason */
  lost(again, code, reason) {
    this.#idle();
    if (code === 4503) this.#outbox.renew();
    if (again || this.stopped) return;
    this.#stop(new ParleyError(CODES.get(code) ?? "closed", reason || "The connection was closed.", { closeCode: code }));
  }

  /** Somebody wants to go on after an end. */
  resume() {
    this.stopped = undefined;
    this.login();
  }

  /** Lets go of the socket and of the session. */
  detach() {
    this.gone = true;
    this.#idle();
    this.#outbox.close();
    if (this.socket.room === this) this.socket.room = undefined;
  }

  /** @param {ParleyError} error */
  #stop(error) {
    if (this.#turn && this.socket.connected) this.socket.send("logout", undefined, () => {}); // its login may yet succeed
    this.#idle();
    this.stopped = error;
    this.#entered ? this.fire("end", error) : this.#settle(error);
  }

  #idle() {
    this.joined = false;
    this.#turn = undefined;
    for (const timer of this.#timers) clearTimeout(timer);
    this.#timers.clear();
    this.#people.lost();
  }

  /** Within this connection. @param {number} ms @param {() => unknown} run */
  later(ms, run) {
    const timer = setTimeout(() => {
      this.#timers.delete(timer);
      run();
    }, Math.min(ms, 2 ** 31 - 1));
    this.#timers.add(timer);
  }

  /** Asks as fast as the rate allows. @param {string} event @param {object} data @returns {Promise<any>} */
  async ask(event, data) {
    for (;;) {
      const wait = this.socket.wait();
      if (wait) await new Promise((resolve) => setTimeout(resolve, wait));
      if (!this.joined) throw new ParleyError("disconnected", "Not connected.");
      try {
        return await this.socket.emitWithAck(event, data);
      } catch (error) {
        if (/** @type {ParleyError} */ (error).code !== "rate_limited") throw error;
      }
    }
  }

  /** @param {string} userId @param {string} [key] */
  isOwn(userId, key = "") { return userId === this.user.id || this.#outbox.keys.has(key); }

  /** A message was sent: the others see no typing any more. */
  quiet() { this.#people.sent(); }
}

/** What a token (JWT) says; the server alone judges it. @param {string} [token] @returns {Claims} */
function read(token) {
  try {
    const body = (token ?? "").split(".")[1].replace(/-/g, "+").replace(/_/g, "/");
    return JSON.parse(new TextDecoder().decode(Uint8Array.from(atob(body), (c) => c.charCodeAt(0))));
  } catch {
    return {};
  }
}
