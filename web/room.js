/** A room over a connection that comes and goes (sections 3 and 5 of PROTOCOL.md). Its manual is parley.d.ts. */
import { backoff, emitter, fault } from "./base.js";
import { makeInbox, plain } from "./inbox.js";
import { makeOutbox } from "./outbox.js";
import { makePeople } from "./people.js";

/** @type {Record<number, string>} */
const ENDS = { 4401: "unauthorized", 4501: "taken_over", 4503: "removed" };

/** @type {import("./internal.js").MakeRoom} */
export const makeRoom = (socket, options) => {
  const { token: given, timeout = 20_000, signal } = options;
  let ready = false; // keys and session are there
  let entered = false; // the first login has succeeded
  /** This connection's login. @type {object | undefined} */
  let turn;
  let tries = 0;
  /** @type {(error?: Error) => void} */
  let settle;

  const prepare = async () => {
    if (options.secret !== undefined || options.keys) {
      const codec = await (await import("./private.js")).unlock(options);
      Object.assign(room, { codec, name: codec.name, encrypted: true });
    }
    await outbox.open();
    if (room.gone) outbox.close();
    ready = true;
    room.login();
  };

  const identity = () => ({ name: outbox.name, room: room.name, access: room.codec.access, session: outbox.session });

  /** @param {any} answer @param {import("./parley.js").ParleyError | undefined} error @param {number | undefined} since @param {Claims} claims */
  const answered = (answer, error, since, claims) => {
    if (error) return refused(error, /rate_limited|unavailable/.test(error.code) || (entered && error.code === "room_full"));
    const { user, users, count, locked, more, resumed, recovered } = answer;
    if (room.encrypted && (user.name !== outbox.name || user.room !== room.name)) {
      return stop(fault("mismatch"));
    }
    const was = room.locked;
    tries = 0;
    socket.id = user.id;
    Object.assign(room, { user, locked, joined: true });
    inbox.login(answer, since);
    if (entered) {
      room.fire("resumed", { resumed, recovered });
      if (locked !== was) room.fire("locked", locked);
    } else {
      entered = true;
      room.more = more;
      settle();
    }
    people.set(users, count);
    renew(claims);
    outbox.pump();
  };

  /** @param {import("./parley.js").ParleyError} error @param {boolean} again */
  const refused = (error, again) => {
    const { code } = error;
    turn = undefined; // nothing was entered that stop would have to leave
    if (!again) stop(error);
    else if (tries > 2 && code === "unavailable") socket.drop(code); // another server may have more luck
    else socket.later(code !== "rate_limited" ? backoff(++tries) : socket.wait(), room.login);
  };

  /** Gets a fresh token before this one ends. @param {Claims} claims */
  const renew = (claims) => {
    if (typeof given !== "function" || !claims.exp) return;
    const mine = turn;
    const left = claims.exp * 1000 - Date.now() - socket.skew;
    socket.later(Math.max(5_000, left > 120_000 ? left - 60_000 : left / 2), async () => {
      try {
        if (mine !== turn) return;
        const token = await given();
        await room.ask("login", { ...identity(), token });
        claims = read(token);
      } catch {} // tried again while the old one lasts; then 4401 decides
      if (mine === turn) renew(claims);
    });
  };

  const idle = () => {
    room.joined = false;
    turn = undefined;
    people.lost();
  };

  /** @param {import("./parley.js").ParleyError} error */
  const stop = (error) => {
    if (turn && socket.connected) socket.emit("logout", undefined, () => {}, 0); // the login may yet succeed
    idle();
    room.stopped = error;
    entered ? room.fire("end", error) : settle(error);
  };

  /** @type {ReturnType<import("./internal.js").MakeRoom>} */
  const room = {
    ...emitter((event) => event === "message" && queueMicrotask(inbox.release)),
    socket,
    options,
    user: { id: "", name: "", room: "" },
    name: options.room,
    users: [],
    count: 0,
    typists: [],
    epoch: "",
    seq: 0,
    more: false,
    locked: false,
    encrypted: false,
    joined: false,
    outbox: [],
    missing: [],
    codec: plain,
    isOwn: (userId, key = "") => userId === room.user.id || outbox.keys.has(key),

    send(text) {
      people.sent();
      return outbox.send(text);
    },
    retry: (key) => outbox.retry(key),
    discard: (key) => outbox.discard(key),
    history: (page) => inbox.history(page),
    listUsers: (page) => room.ask("users", page),
    typing: (typing) => people.say(typing),
    left: (text) => (socket.welcome?.limits.message ?? Infinity) - room.codec.size(text),

    async leave() {
      const { joined } = room;
      if (room.gone) return;
      room.detach();
      outbox.clear();
      if (joined) await socket.emitWithAck("logout").catch(() => {});
      if (room.alone) socket.disconnect();
    },

    enter: () => new Promise((resolve, reject) => {
      /** @param {string} code */
      const end = (code) => entered || room.gone || stop(fault(code, "not joined"));
      const timer = timeout ? setTimeout(end, timeout, "timeout") : undefined;
      settle = (error) => {
        clearTimeout(timer);
        if (!error) return resolve(room);
        room.detach();
        reject(error);
      };
      signal?.addEventListener("abort", () => end("aborted"));
      if (signal?.aborted) end("aborted");
      else prepare().catch(stop);
    }),

    async login() {
      if (!ready || room.gone || room.stopped || !socket.connected || turn) return;
      const mine = (turn = {});
      try {
        const token = await (typeof given === "function" ? given() : given);
        const claims = read(token);
        const name = claims.name ?? options.name ?? "";
        await outbox.become(room.codec.prepare(name));
        if (mine !== turn) return;
        const since = entered ? room.seq : undefined;
        const data = { ...identity(), token, since, epoch: room.epoch || undefined };
        socket.emit("login", data, (answer, error) => mine === turn && answered(answer, error, since, claims), 0);
      } catch (error) {
        if (mine === turn) refused(/** @type {any} */ (error), entered);
      }
    },

    receive(event, data) {
      if (!room.joined) return;
      if (event === "roomMessage") inbox.live(data);
      people.receive(event, data);
    },

    lost(again, code, reason) {
      idle();
      if (code === 4503) outbox.renew();
      if (again || room.stopped) return;
      stop(fault(ENDS[code] ?? "closed", reason, { closeCode: code }));
    },

    resume() {
      room.stopped = undefined;
      room.login();
    },

    detach() {
      room.gone = true;
      idle();
      outbox.close();
      if (socket.room === room) socket.room = undefined;
    },

    async ask(event, data) {
      for (;;) {
        const wait = socket.wait();
        if (wait) await new Promise((resolve) => setTimeout(resolve, wait));
        if (!room.joined) throw fault("disconnected");
        try {
          return await socket.emitWithAck(event, data);
        } catch (error) {
          if (/** @type {any} */ (error).code !== "rate_limited") throw error;
        }
      }
    },
  };

  const inbox = makeInbox(room);
  const outbox = makeOutbox(room);
  const people = makePeople(room);
  return room;
};

/** @typedef {{name?: string, exp?: number}} Claims */

/** What a token (JWT) says; the server alone judges it. @param {string} [token] @returns {Claims} */
const read = (token = "") => {
  try {
    const body = atob(token.split(".")[1].replace(/-/g, "+").replace(/_/g, "/"));
    return JSON.parse(new TextDecoder().decode(Uint8Array.from(body, (char) => char.charCodeAt(0))));
  } catch {
    return {};
  }
};
