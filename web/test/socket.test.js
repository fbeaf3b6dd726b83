/** The connection: sections 1, 2, 7 and 8 of PROTOCOL.md. */
import assert from "node:assert/strict";
import { mock, test } from "node:test";
import { ParleyError, connect, join } from "../parley.js";
import { FakeWebSocket, WELCOME, World, settled } from "./fake.js";

/** The delays told by `reconnecting`. @param {World} world */
const delays = (world) => world.told.filter(([event]) => event === "reconnecting").map(([, { delay }]) => delay);

test("the address: ws next to the page, ws for http, no fragment", (t) => {
  const world = new World(t);
  assert.equal(world.ws.url, "ws://chat.test/x/ws");
  assert.equal(world.ws.protocol, "parley.v1");
  for (const [url, page, want] of [
    [undefined, "https://a.test/chat/#room/secret", "wss://a.test/chat/ws"],
    [undefined, "http://localhost:8080/?x#y", "ws://localhost:8080/ws"],
    ["/other", "https://a.test/chat/", "wss://a.test/other"],
    [new URL("wss://b.test/ws#x"), "https://a.test/", "wss://b.test/ws"],
    ["https://b.test/p/ws", undefined, "wss://b.test/p/ws"],
    ["http://b.test:8080", undefined, "ws://b.test:8080/ws"],
    ["wss://b.test/chat/?a=b", "https://a.test/", "wss://b.test/chat/ws?a=b"],
  ]) {
    Object.assign(globalThis, { location: page && new URL(page) });
    const socket = connect(url, world.options);
    assert.equal(socket.url, want);
    assert.equal(world.ws.url, want);
    socket.disconnect();
  }
  Object.assign(globalThis, { location: undefined });
  assert.throws(() => connect(undefined, world.options), TypeError);
});

test("without a WebSocket: told at once, and nothing goes on that would keep a program from ending", async (t) => {
  const world = new World(t);
  world.socket.disconnect();
  class None {
    constructor() {
      throw new ReferenceError("WebSocket is not defined");
    }
  }
  const options = { ...world.options, WebSocket: /** @type {any} */ (None) };
  const url = "http://chat.test/";
  assert.throws(() => connect(url, options), ReferenceError);
  await assert.rejects(join({ ...options, url, name: "Ann", room: "lobby" }), ReferenceError);
  assert.equal(world.clock.pending, 0);
});

test("connect: welcomed, then connected", async (t) => {
  const world = new World(t);
  assert.equal(world.socket.state.state, "connecting");
  world.ws.open();
  assert.equal(world.socket.connected, false, "open is not welcomed");
  await world.welcome();
  assert.equal(world.socket.connected, true);
  assert.equal(world.socket.id, "conn");
  assert.deepEqual(world.told.map(([event]) => event), ["state", "connect"]);
});

test("emit waits for the connection; acks, errors, timeouts", async (t) => {
  const world = new World(t);
  const answers = /** @type {any[]} */ ([]);
  world.socket.emit("first", { a: 1 });
  world.socket.emit("second", undefined, (answer) => answers.push(answer));
  const third = world.socket.emitWithAck("third");
  const late = world.socket.timeout(5).emitWithAck("late");
  late.catch(() => {});
  await world.clock.advance(10);
  await assert.rejects(late, (error) => error instanceof ParleyError && error.code === "timeout");
  await world.welcome();
  const [first, second, ...rest] = world.ws.news();
  assert.deepEqual(first, { event: "first", data: { a: 1 } });
  assert.equal(second.event, "second");
  assert.equal(rest.length, 1, "what timed out is not sent any more");
  assert.notEqual(second.ackId, rest[0].ackId);
  world.ws.ack(rest[0], { error: "No.", code: "invalid", fields: { x: "bad" }, retryAfter: 7 });
  world.ws.ack(second, { ok: true });
  world.ws.ack(second, { ok: "twice" });
  assert.deepEqual(answers, [{ ok: true }]);
  await assert.rejects(third, { name: "ParleyError", message: "No.", code: "invalid", fields: { x: "bad" }, retryAfter: 7 });

  world.socket.emit("bare", (answer) => answers.push(answer)); // no data, as Socket.IO has it
  const [bare] = world.ws.news();
  assert.deepEqual(bare, { event: "bare", ackId: bare.ackId });
  world.ws.ack(bare, { bare: true });
  assert.deepEqual(answers[1], { bare: true });

  const lost = world.socket.emitWithAck("lost");
  const slow = world.socket.emitWithAck("slow");
  lost.catch(() => {});
  slow.catch(() => {});
  await world.clock.advance(20_000);
  await assert.rejects(slow, { code: "timeout" });
  const cut = world.socket.emitWithAck("cut");
  world.ws.end(1006);
  await assert.rejects(cut, { code: "disconnected" });
  world.socket.disconnect();
  await assert.rejects(world.socket.emitWithAck("never"), { code: "disconnected" });
  assert.equal(world.clock.pending, 0, "a closed socket leaves no timer");
});

test("handlers: on, its unsubscribe, once, off; an exception disturbs nobody", async (t) => {
  const world = new World(t);
  const errors = mock.method(console, "error", () => {});
  const got = /** @type {string[]} */ ([]);
  const { socket } = world;
  const a = () => got.push("a");
  const b = () => got.push("b");
  socket.on("x", () => { throw new Error("page"); });
  socket.on("x", a);
  socket.on("x", a);
  const off = socket.on("x", b);
  socket.once("x", () => got.push("once"));
  await world.welcome();
  world.ws.say("x");
  assert.deepEqual(got.splice(0), ["a", "b", "once"]);
  off();
  world.ws.say("x");
  assert.deepEqual(got.splice(0), ["a"]);
  socket.once("x", b);
  socket.off("x", b);
  world.ws.say("x");
  assert.deepEqual(got.splice(0), ["a"]);
  socket.off("x");
  world.ws.say("x");
  socket.on("y", a);
  socket.off();
  world.ws.say("y");
  assert.deepEqual(got, []);
  assert.equal(errors.mock.callCount(), 3);
  assert.equal(socket.connected, true);
});

test("what the server sends cannot pass for the client's own events, and no frame breaks the loop", async (t) => {
  const world = new World(t);
  mock.method(console, "error", () => {});
  await world.welcome();
  world.told.length = 0;
  for (const event of ["connect", "disconnect", "reconnecting", "state", "rtt"]) world.ws.say(event, {});
  for (const text of ["", "no json", "null", "7", "[]", '{"event":7}', '{"event":"ack","ackId":99,"data":null}', '{"event":"goodbye"}', '{"event":"notification"}']) {
    world.ws.raw(text);
  }
  assert.deepEqual(world.told, []);
  let seen = 0;
  world.socket.on("unknownToday", () => seen++);
  world.ws.say("unknownToday");
  assert.equal(seen, 1);
  assert.equal(world.socket.connected, true);
});

test("reconnecting: full jitter from 0.5 s to 20 s", async (t) => {
  const world = new World(t);
  mock.method(console, "warn", () => {});
  world.clock.random = 1;
  for (let i = 0; i < 9; i++) {
    world.ws.end(1006);
    await world.clock.advance(20_000);
  }
  assert.deepEqual(delays(world), [500, 1000, 2000, 4000, 8000, 16000, 20000, 20000, 20000]);
  world.clock.random = 0.25;
  world.ws.end(1006);
  assert.equal(delays(world).at(-1), 5000, "a random part of it");
  const { state, attempt, retryAt } = world.socket.state;
  assert.deepEqual({ state, attempt, retryAt }, { state: "reconnecting", attempt: 10, retryAt: world.clock.now + 5000 });
  const before = world.sockets.length;
  await world.clock.advance(4999);
  assert.equal(world.sockets.length, before);
  await world.clock.advance(1);
  assert.equal(world.sockets.length, before + 1);
  assert.equal(world.socket.state.state, "connecting");
});

test("the delay is reset by 10 s of stable connection, not by less", async (t) => {
  const world = new World(t);
  world.clock.random = 1;
  for (const [up, delay] of [[9_999, 500], [9_999, 1000], [9_999, 2000], [10_000, 500], [0, 1000]]) {
    await world.welcome();
    await world.clock.advance(up);
    world.ws.end(1006);
    assert.equal(delays(world).at(-1), delay);
    await world.clock.advance(delay);
  }
});

test("a handshake that nobody answers is given up after 20 s", async (t) => {
  const world = new World(t);
  mock.method(console, "warn", () => {});
  const [first] = world.sockets;
  await world.clock.advance(19_999);
  assert.equal(first.closedWith, undefined);
  await world.clock.advance(1);
  assert.equal(first.closedWith, 4000);
  await world.clock.advance(500);
  assert.equal(world.sockets.length, 2);
  first.open();
  first.say("welcome", WELCOME);
  first.end(1000);
  assert.equal(world.socket.connected, false, "the old one has no say any more");
  assert.equal(world.socket.state.state, "connecting");
});

test("the console is told once when a first connection never opened", async (t) => {
  const warn = mock.method(console, "warn", () => {});
  const world = new World(t);
  for (let i = 0; i < 3; i++) {
    world.ws.end(1006);
    await world.clock.advance(20_000);
  }
  assert.equal(warn.mock.callCount(), 1);
  assert.match(warn.mock.calls[0].arguments[0], /chat\.test.*--allow-origin/);

  const other = new World(t);
  await other.welcome();
  other.ws.end(1006);
  assert.equal(warn.mock.callCount(), 1, "not after one that opened");
  const full = new World(t);
  full.ws.open();
  full.ws.end(1013);
  assert.equal(warn.mock.callCount(), 1, "a server that is full is there");
});

test("close codes, without a room (section 8)", async (t) => {
  for (const [code, again] of /** @type {[number, boolean][]} */ ([
    [1000, false], [1001, true], [1003, true], [1005, false], [1006, true], [1007, true], [1008, true], [1009, true],
    [1011, true], [1012, true], [1013, true], [4000, true], [4401, false], [4408, false], [4499, true], [4500, false],
    [4501, false], [4503, false], [4999, false],
  ])) {
    await t.test(String(code), async (t) => {
      const world = new World(t);
      await world.welcome();
      world.ws.end(code, "because");
      assert.deepEqual(world.told.find(([event]) => event === "disconnect")?.[1], { code, reason: "because", again });
      assert.equal(world.socket.state.state, again ? "reconnecting" : "closed");
      assert.equal(world.socket.state.code, code);
      await world.clock.advance(60_000);
      assert.equal(world.sockets.length > 1, again);
      if (again) return;
      assert.equal(world.clock.pending, 0);
      world.socket.connect();
      await world.welcome();
      assert.equal(world.socket.connected, true, "until somebody acts");
    });
  }
});

test("goodbye: reconnectIn counts from it, and whatever ends the connection waits out the rest", async (t) => {
  for (const code of [1012, 1006]) {
    const world = new World(t);
    world.clock.random = 1;
    await world.welcome();
    world.ws.say("goodbye", { reconnectIn: 45_000, reason: "restart" });
    await world.clock.advance(5_000);
    world.ws.end(code);
    assert.deepEqual(delays(world), [40_000]);
    world.socket.probe();
    assert.equal(world.sockets.length, 1, "a wake-up does not overrule the server");
    await world.clock.advance(40_000);
    assert.equal(world.sockets.length, 2);
    world.ws.end(1006);
    assert.deepEqual(delays(world), [40_000, 1000], "then as always");
  }
  const world = new World(t);
  await world.welcome();
  world.ws.end(1012);
  assert.deepEqual(delays(world), [250], "1012 without a goodbye: a short random wait");
});

test("disconnect closes with 1000; connect opens again", async (t) => {
  const world = new World(t);
  await world.welcome();
  world.socket.disconnect();
  assert.equal(world.ws.closedWith, 1000);
  assert.equal(world.socket.state.state, "closed");
  world.socket.disconnect();
  assert.equal(world.told.filter(([event]) => event === "disconnect").length, 1);
  assert.equal(world.clock.pending, 0);
  world.socket.connect();
  world.socket.connect();
  assert.equal(world.sockets.length, 2);

  mock.method(console, "warn", () => {});
  world.ws.end(1006);
  world.socket.connect();
  assert.equal(world.sockets.length, 3, "connect does not wait out the delay");
  world.socket.disconnect();
  await world.clock.advance(60_000);
  assert.equal(world.sockets.length, 3);
});

test("ping on the client's own clock; any frame is a sign of life", async (t) => {
  const world = new World(t);
  world.alive = false;
  await world.welcome({ pingInterval: 5_000 });
  await world.clock.advance(5_000);
  const [ping] = world.ws.news(true);
  assert.equal(ping.event, "ping");
  await world.clock.advance(40);
  world.ws.ack(ping, { id: "conn", at: "…" });
  assert.equal(world.socket.rtt, 40);
  assert.deepEqual(world.told.at(-1), ["rtt", 40]);

  await world.clock.advance(4_960);
  assert.equal(world.ws.news(true).length, 1);
  await world.clock.advance(4_000);
  world.ws.say("typing", { from: "Ben", userId: "ben", typing: true });
  await world.clock.advance(1_000 + 9_999);
  assert.equal(world.socket.connected, true, "it was no answer, but life");
  await world.clock.advance(1);
  assert.equal(world.socket.connected, false, "10 s of silence after a ping");
  assert.equal(world.ws.closedWith, 4000, "never 1000: the place in the room is kept");
});

test("probes: online, visibilitychange, pageshow; verdict in 3 s", async (t) => {
  const target = new EventTarget();
  Object.assign(globalThis, {
    addEventListener: target.addEventListener.bind(target),
    removeEventListener: target.removeEventListener.bind(target),
    document: { visibilityState: "visible" },
  });
  t.after(() => Object.assign(globalThis, { addEventListener: undefined, removeEventListener: undefined, document: undefined }));
  const world = new World(t, { storage: null });
  world.alive = false;
  mock.method(console, "warn", () => {});
  for (const event of ["online", "visibilitychange", "pageshow"]) {
    await world.welcome();
    world.ws.news(true);
    target.dispatchEvent(new Event(event));
    const [ping] = world.ws.news(true);
    assert.equal(ping?.event, "ping", event);
    await world.clock.advance(2_999);
    world.ws.ack(ping, { id: "conn", at: "…" });
    await world.clock.advance(3_000);
    assert.equal(world.socket.connected, true);
    target.dispatchEvent(new Event(event));
    await world.clock.advance(2_000);
    target.dispatchEvent(new Event(event)); // does not put the verdict off
    await world.clock.advance(999);
    assert.equal(world.socket.connected, true);
    await world.clock.advance(1);
    assert.equal(world.socket.connected, false, `${event}: dead`);
    const before = world.sockets.length;
    target.dispatchEvent(new Event(event));
    assert.equal(world.sockets.length, before + 1, "while waiting: at once");
  }
  await world.welcome();
  world.ws.news(true);
  Object.assign(globalThis, { document: { visibilityState: "hidden" } });
  target.dispatchEvent(new Event("visibilitychange"));
  assert.equal(world.ws.news(true).length, 0, "hidden is no reason");
  target.dispatchEvent(new Event("online"));
  assert.equal(world.ws.news(true).length, 1, "online is");
  world.socket.disconnect();
  target.dispatchEvent(new Event("online"));
  assert.equal(world.socket.state.state, "closed");
});

test("a jump of the clock, either way, is a reason to probe", async (t) => {
  const world = new World(t);
  world.alive = false;
  await world.welcome({ pingInterval: 3_600_000 });
  await world.clock.advance(60_000);
  assert.equal(world.ws.news(true).length, 0);
  for (const jump of [3_600_000, -60_000]) {
    world.clock.jump(jump);
    await world.clock.advance(2_000);
    const [ping] = world.ws.news(true);
    assert.equal(ping?.event, "ping", `jump of ${jump}`);
    world.ws.ack(ping, { id: "conn", at: "…" });
  }
  world.clock.jump(3_600_000);
  await world.clock.advance(2_000 + 2_999);
  assert.equal(world.socket.connected, true);
  await world.clock.advance(1);
  assert.equal(world.socket.connected, false);
  world.clock.random = 1;
  world.ws.end(1006);
  const before = world.sockets.length;
  world.clock.jump(60_000);
  await world.clock.advance(2_000);
  assert.equal(world.sockets.length, before + 1);
});

test("without a WebSocket class there is a clear error", async (t) => {
  const world = new World(t);
  const { WebSocket: native } = globalThis;
  Object.assign(globalThis, { WebSocket: undefined });
  t.after(() => Object.assign(globalThis, { WebSocket: native }));
  assert.throws(() => connect("ws://chat.test/ws"), TypeError);
  assert.ok(world.ws instanceof FakeWebSocket);
  await settled();
});
