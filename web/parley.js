/** A connection that comes back by itself: sections 1, 2, 7 and 8 of PROTOCOL.md. Its manual is parley.d.ts. */
import { ParleyError, backoff, emitter, fault, now, quietly } from "./base.js";
import { makeRoom } from "./room.js";

export { ParleyError };

const OWN = /^(connect|disconnect|reconnecting|state|rtt)$/; // a server cannot send these
const WATCH = 2_000; // how often the clock is watched

/** @type {typeof import("./parley.js").connect} */
export const connect = (url = "ws", options = {}) => {
  const { ackTimeout = 20_000 } = options;
  const address = new URL(url, globalThis.location?.href);
  address.protocol = address.protocol.replace("http", "ws");
  address.hash = "";
  address.pathname = address.pathname.replace(/\/$/, "/ws");
  /** @type {WebSocket | undefined} */
  let ws;
  let heard = 0; // frames
  let attempt = 0;
  let notBefore = 0; // as a goodbye asked for
  let slot = 0; // when the rate allows the next frame
  let lastId = 0;
  /** @type {Map<number, {ack: import("./internal.js").Ack, timer: any}>} */
  const acks = new Map();
  /** @type {{ackId?: number}[]} */
  let waiting = []; // for the connection
  /** Those that end with the connection, or the wait for it. @type {Set<import("./internal.js").Timer>} */
  const timers = new Set();
  /** @type {import("./internal.js").Timer} */
  let watch;

  /** @param {import("./parley.js").ConnectionState} state */
  const become = (state) => {
    socket.state = state;
    socket.fire("state", state);
    socket.room?.fire("state", state);
  };

  /** @param {object} frame */
  const transmit = (frame) => {
    const rate = socket.welcome?.limits.rate;
    if (rate) slot = Math.max(now(), slot) + 1000 / rate;
    ws?.send(JSON.stringify(frame));
  };

  /** @param {number} id @param {any} data */
  const answer = (id, data) => {
    const { ack, timer } = acks.get(id) ?? {};
    acks.delete(id);
    clearTimeout(timer);
    if (data?.code === "rate_limited") slot = Math.max(slot, now() + (data.retryAfter || 1000));
    const error = data?.error && data.code ? new ParleyError(data.code, data.error, data) : undefined;
    if (ack) quietly(() => ack(data, error));
  };

  /** @param {number} id @param {string} code */
  const fail = (id, code) => answer(id, { code, error: "no answer" });

  /** @type {import("./internal.js").Wire["emit"]} */
  const emit = (event, data, ack, ms = ackTimeout) => {
    if (typeof data === "function") return emit(event, undefined, data, ms);
    const ackId = ack && ++lastId;
    const frame = { event, data, ackId };
    if (ackId) acks.set(ackId, { ack, timer: ms && setTimeout(fail, ms, ackId, "timeout") });
    if (socket.connected) transmit(frame);
    else if (socket.state.state !== "closed" && waiting.length < 100) waiting.push(frame);
    else if (ackId) fail(ackId, "disconnected");
  };

  /** @param {string} event @param {any} [data] @param {number} [ms] @returns {Promise<any>} */
  const emitWithAck = (event, data, ms) => new Promise((resolve, reject) => {
    emit(event, data, (it, error) => (error ? reject(error) : resolve(it)), ms);
  });

  const stopTimers = () => {
    for (const timer of timers) clearTimeout(timer);
    timers.clear();
  };

  const open = () => {
    stopTimers();
    /** @type {WebSocket} */
    const mine = (ws = new (options.WebSocket ?? WebSocket)(socket.url, "parley.v1"));
    if (socket.state.state === "closed") awake(true); // not before: there may be no WebSocket to be had
    mine.onerror = () => {}; // its close follows
    mine.onclose = ({ code, reason }) => mine === ws && ended(code || 1006, reason); // Deno: 0
    mine.onmessage = ({ data }) => mine === ws && quietly(() => receive(data));
    socket.later(20_000, () => socket.connected || socket.drop("no answer"));
    become({ state: "connecting", attempt });
  };

  /** @param {string} text */
  const receive = (text) => {
    heard++;
    const { event, data, ackId } = JSON.parse(text);
    if (event === "ack") return answer(ackId, data);
    if (event === "welcome") welcomed(data);
    if (event === "goodbye") notBefore = now() + data.reconnectIn;
    socket.room?.receive(event, data);
    if (!OWN.test(event)) socket.fire(event, data);
  };

  /** @param {import("./parley.js").Welcome} welcome */
  const welcomed = (welcome) => {
    Object.assign(socket, { welcome, id: welcome.id, connected: true, skew: Date.parse(welcome.now) - Date.now() });
    socket.later(10_000, () => (attempt = 0)); // stable
    const beat = () => socket.later(Math.max(1000, welcome.pingInterval || 25_000), () => {
      ping(10_000);
      beat();
    });
    beat();
    become({ state: "connected" });
    socket.room?.login();
    for (const frame of waiting.splice(0)) if (!frame.ackId || acks.has(frame.ackId)) transmit(frame);
    socket.fire("connect", welcome);
  };

  /** Any frame within `patience` is a sign of life. @param {number} patience */
  const ping = (patience) => {
    const sent = now();
    const before = heard;
    socket.later(patience, () => heard === before && socket.drop("no answer"));
    emit("ping", undefined, (_, error) => {
      if (error) return;
      socket.rtt = Math.round(now() - sent);
      socket.fire("rtt", socket.rtt);
    }, 0);
  };

  /** @param {number} code @param {string} reason */
  const ended = (code, reason) => {
    const { connected: was, room } = socket;
    if (socket.state.state === "closed") return;
    const again = code === 4401 ? typeof room?.options.token === "function"
      : code === 4408 ? Boolean(room && !room.stopped)
      : code !== 1000 && code !== 1005 && code < 4500;
    stopTimers();
    socket.connected = false;
    if (ws && ws.readyState < 2) ws.close(again ? 4000 : 1000); // 1000 gives up the place in the room
    ws = undefined;
    if (again) {
      if (code === 1006 && !socket.welcome && !attempt) console.warn(`parley: cannot reach ${socket.url}: is it up, and does it allow this page (--allow-origin)?`);
      attempt++;
      const delay = Math.max(0, notBefore - now()) || backoff(attempt);
      socket.later(delay, open);
      become({ state: "reconnecting", retryAt: Date.now() + delay, attempt, code, reason });
      socket.fire("reconnecting", { attempt, delay });
    } else {
      awake(false);
      waiting = [];
      become({ state: "closed", code, reason });
    }
    room?.lost(again, code, reason);
    if (was || !again) for (const id of acks.keys()) fail(id, "disconnected");
    if (was) socket.fire("disconnect", { code, reason, again });
  };

  /** @param {{type: string}} event */
  const wake = ({ type }) => {
    if (type === "online" || globalThis.document?.visibilityState !== "hidden") socket.probe();
  };

  /** @param {boolean} on */
  const awake = (on) => {
    const how = on ? "addEventListener" : "removeEventListener";
    for (const event of ["online", "pageshow", "visibilitychange"]) globalThis[how]?.(event, wake);
    clearInterval(watch);
    if (!on) return;
    let last = Date.now();
    watch = setInterval(() => {
      const passed = Date.now() - last;
      last += passed;
      if (passed < 0 || passed > 3 * WATCH) socket.probe(); // the clock has jumped
    }, WATCH);
  };

  /** @type {import("./internal.js").Wire} */
  const socket = {
    ...emitter(),
    url: address.href,
    options,
    storage: storageOf(options),
    connected: false,
    skew: 0,
    state: { state: "closed" },

    connect() {
      const { state } = socket.state;
      notBefore = 0;
      socket.room?.resume();
      if (state === "closed") attempt = 0;
      if (state === "closed" || state === "reconnecting") open();
    },
    disconnect: () => ended(1000, ""),
    drop: (reason) => ended(1006, reason),
    probe() {
      if (socket.connected) ping(3_000);
      else if (socket.state.state === "reconnecting" && now() >= notBefore) open();
    },
    wait: () => Math.max(0, slot - now()),
    later(ms, run) {
      const timer = setTimeout(() => {
        timers.delete(timer);
        run();
      }, Math.min(ms, 2 ** 31 - 1));
      timers.add(timer);
    },

    emit,
    emitWithAck,
    timeout: (ms) => ({
      /** @param {string} event @param {any} [data] @param {any} [ack] */
      emit: (event, data, ack) => emit(event, data, ack, ms),
      emitWithAck: (event, data) => emitWithAck(event, data, ms),
    }),

    async join(how) {
      if (socket.room && !socket.room.stopped) throw fault("already_logged_in");
      socket.room?.detach();
      const room = (socket.room = makeRoom(socket, how));
      if (socket.state.state === "closed") socket.connect();
      return room.enter();
    },
  };
  socket.connect();
  return socket;
};

/** @type {typeof import("./parley.js").join} */
export const join = async (options) => {
  const socket = connect(options.url, options);
  try {
    const room = await socket.join(options);
    return Object.assign(room, { alone: true });
  } catch (error) {
    socket.disconnect();
    throw error;
  }
};

/** What survives a reload, where there is such a thing and it is not forbidden. @param {import("./parley.js").ConnectOptions} options */
const storageOf = ({ storage }) => {
  const map = new Map();
  try {
    if (storage === undefined && globalThis.document) storage = sessionStorage;
  } catch {}
  return storage ?? {
    getItem: (key) => map.get(key),
    setItem: (key, value) => void map.set(key, value),
    removeItem: (key) => void map.delete(key),
  };
};
