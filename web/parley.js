/** A connection that comes back by itself: sections 1, 2, 7 and 8 of PROTOCOL.md. Its manual is parley.d.ts. */
import { ParleyError, backoff, emitter, problem, quietly } from "./base.js";
import { makeRoom } from "./room.js";

export { ParleyError };

const OWN = /^(connect|disconnect|reconnecting|state|rtt)$/; // a server cannot send these
const WATCH = 2_000; // how often the clock is watched

/** @type {typeof import("./parley.js").connect} */
export const connect = (url = "ws", options = {}) => {
  const address = new URL(url, globalThis.location?.href);
  address.protocol = address.protocol.replace("http", "ws");
  address.hash = "";
  /** @type {Record<"open" | "beat" | "watch" | "verdict", ReturnType<typeof setTimeout> | undefined>} */
  const timers = { open: undefined, beat: undefined, watch: undefined, verdict: undefined };
  /** @type {WebSocket | undefined} */
  let ws;
  let opened = false; // ever
  let attempt = 0;
  let notBefore = 0; // as a goodbye asked for
  let slot = 0; // when the rate allows the next frame
  let verdictAt = 0;
  let lastId = 0;
  /** @type {Map<number, {ack: (answer: any) => unknown, timer: any}>} */
  const acks = new Map();
  /** @type {{ackId?: number}[]} */
  let waiting = []; // for the connection

  /** @param {import("./parley.js").ConnectionState} state */
  const become = (state) => socket.fire("state", (socket.state = state));

  /** @param {object} frame */
  const transmit = (frame) => {
    const rate = socket.welcome?.limits.rate;
    if (rate) slot = Math.max(Date.now(), slot) + 1000 / rate;
    ws?.send(JSON.stringify(frame));
  };

  /** @param {number} id @param {any} data */
  const answer = (id, data) => {
    const { ack, timer } = acks.get(id) ?? {};
    acks.delete(id);
    clearTimeout(timer);
    if (data?.code === "rate_limited") slot = Math.max(slot, Date.now() + (data.retryAfter || 1000));
    if (ack) quietly(() => ack(data));
  };

  /** @param {number} id @param {string} [code] */
  const fail = (id, code = "disconnected") => answer(id, { code, error: `No answer: ${code}.` });

  const open = () => {
    clearTimeout(timers.open);
    /** @type {WebSocket} */
    const mine = (ws = new (options.WebSocket ?? WebSocket)(socket.url, "parley.v1"));
    mine.onopen = () => (opened = true);
    mine.onerror = () => {}; // its close follows
    mine.onclose = ({ code, reason }) => ended(mine, code, reason);
    mine.onmessage = ({ data }) => mine === ws && quietly(() => receive(data));
    timers.open = setTimeout(ended, 20_000, mine, 1006, "no answer");
    become({ state: "connecting", attempt });
  };

  /** @param {string} text */
  const receive = (text) => {
    clearTimeout(timers.verdict);
    timers.verdict = undefined;
    const { event, data, ackId } = JSON.parse(text);
    if (event === "ack") return answer(ackId, data);
    if (event === "welcome") welcomed(data);
    if (event === "goodbye") notBefore = Date.now() + data.reconnectIn;
    socket.room?.receive(event, data);
    if (!OWN.test(event)) socket.fire(event, data);
  };

  /** @param {import("./parley.js").Welcome} welcome */
  const welcomed = (welcome) => {
    Object.assign(socket, { welcome, id: welcome.id, connected: true, skew: Date.parse(welcome.now) - Date.now() });
    notBefore = slot = 0;
    clearTimeout(timers.open);
    timers.open = setTimeout(() => (attempt = 0), 10_000); // stable
    timers.beat = setInterval(ping, Math.max(1000, welcome.pingInterval || 25_000), 10_000);
    become({ state: "connected" });
    socket.room?.login();
    for (const frame of waiting.splice(0)) if (!frame.ackId || acks.has(frame.ackId)) transmit(frame);
    socket.fire("connect", welcome);
  };

  /** Any frame within `patience` is a sign of life. @param {number} patience */
  const ping = (patience) => {
    const sent = Date.now();
    if (!timers.verdict || sent + patience < verdictAt) {
      clearTimeout(timers.verdict);
      verdictAt = sent + patience;
      timers.verdict = setTimeout(ended, patience, ws, 1006, "no sign of life");
    }
    socket.send("ping", undefined, (data) => {
      if (!problem(data)) socket.fire("rtt", (socket.rtt = Math.max(0, Date.now() - sent)));
    });
  };

  /** @param {WebSocket | undefined} which @param {number} code @param {string} reason */
  const ended = (which, code, reason) => {
    const { connected: was, room } = socket;
    if (which !== ws || socket.state.state === "closed") return;
    const again = code === 4401 ? typeof room?.options.token === "function"
      : code === 4408 ? Boolean(room && !room.stopped)
      : code !== 1000 && code !== 1005 && code < 4500;
    ws = undefined;
    socket.connected = false;
    clearTimeout(timers.open);
    clearTimeout(timers.verdict);
    clearInterval(timers.beat);
    timers.verdict = undefined;
    if (which && which.readyState < 2) which.close(again ? 4000 : 1000); // 1000 gives up the place in the room
    if (again) {
      if (!opened && !attempt) console.warn(`parley: no connection to ${socket.url}. Is it up, and does it allow this page (--allow-origin ${globalThis.location?.origin})?`);
      attempt++;
      const delay = Math.max(0, notBefore - Date.now()) || backoff(attempt);
      timers.open = setTimeout(open, delay);
      become({ state: "reconnecting", retryAt: Date.now() + delay, attempt, code, reason });
      socket.fire("reconnecting", { attempt, delay });
    } else {
      awake("removeEventListener");
      waiting = [];
      become({ state: "closed", code, reason });
    }
    room?.lost(again, code, reason);
    if (was || !again) for (const id of acks.keys()) fail(id);
    if (was) socket.fire("disconnect", { code, reason, again });
  };

  /** @param {{type: string}} event */
  const wake = ({ type }) => {
    if (type === "online" || globalThis.document?.visibilityState !== "hidden") socket.probe();
  };

  /** @param {"addEventListener" | "removeEventListener"} how */
  const awake = (how) => {
    for (const event of ["online", "pageshow", "visibilitychange"]) globalThis[how]?.(event, wake);
    clearInterval(timers.watch);
    if (how === "removeEventListener") return;
    let last = Date.now();
    timers.watch = setInterval(() => {
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
    storage: options.storage ?? (options.storage === null ? memory() : shared()),
    connected: false,
    skew: 0,
    id: undefined,
    rtt: undefined,
    room: undefined,
    welcome: undefined,
    state: { state: "closed" },

    connect() {
      const { state } = socket.state;
      notBefore = 0;
      socket.room?.resume();
      if (state === "closed") {
        attempt = 0;
        awake("addEventListener");
      }
      if (state === "closed" || state === "reconnecting") open();
    },
    disconnect: () => ended(ws, 1000, ""),
    drop: (reason) => ended(ws, 1006, reason),
    probe() {
      if (socket.connected) ping(3_000);
      else if (socket.state.state === "reconnecting" && Date.now() >= notBefore) open();
    },
    wait: () => Math.max(0, slot - Date.now()),

    send(event, data, ack, ms = options.ackTimeout ?? 20_000) {
      const ackId = ack && ++lastId;
      const frame = { event, data, ackId };
      if (ackId) acks.set(ackId, { ack, timer: ms && setTimeout(fail, ms, ackId, "timeout") });
      if (socket.connected) transmit(frame);
      else if (socket.state.state !== "closed" && waiting.length < 100) waiting.push(frame);
      else if (ackId) fail(ackId);
    },
    timeout: (ms) => ({
      emit: (event, data, ack) => socket.send(event, data, ack, ms),
      emitWithAck: (event, data) => new Promise((resolve, reject) => {
        socket.send(event, data, (it) => {
          const error = problem(it);
          error ? reject(error) : resolve(it);
        }, ms);
      }),
    }),
    emit: (event, data, ack) => socket.send(event, data, ack),
    emitWithAck: (event, data) => socket.timeout(options.ackTimeout ?? 20_000).emitWithAck(event, data),

    async join(how) {
      if (socket.room && !socket.room.stopped) throw new ParleyError("already_logged_in", "In a room already.");
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

/** What survives a reload, where there is such a thing and it is not forbidden. */
const shared = () => {
  try {
    if (globalThis.document) return sessionStorage;
  } catch {}
  return memory();
};

/** @returns {import("./internal.js").Wire["storage"]} */
const memory = () => {
  const map = new Map();
  return {
    getItem: (key) => map.get(key) ?? null,
    setItem: (key, value) => void map.set(key, value),
    removeItem: (key) => void map.delete(key),
  };
};
