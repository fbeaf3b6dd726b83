/** Delivery: one's own messages, sections 3 and 6 of PROTOCOL.md. */
import assert from "node:assert/strict";
import { mock, test } from "node:test";
import { ANN, FakeLocks, FakeStorage, World, said, settled } from "./fake.js";

const HOUR = 3_600_000;
/** @param {number} seq @param {object} [rest] */
const kept = (seq, rest) => ({ seq, at: "2026-11-23T19:00:00.000Z", durability: "disk", ...rest });
/** The texts of the roomMessages among frames. @param {any[]} frames */
const texts = (frames) => frames.filter(({ event }) => event === "roomMessage").map(({ data }) => data.message);
/** States told for each text. @param {any} room */
const states = (room) => {
  /** @type {string[]} */
  const told = [];
  room.on("outbox", (/** @type {any} */ { text, state }, /** @type {any[]} */ all) => told.push(`${text} ${state} ${all.length}`));
  return told;
};

test("send: there at once, sent, kept", async (t) => {
  const world = new World(t);
  const room = await world.join();
  const told = states(room);
  const sending = room.send("hello");
  assert.deepEqual([sending.message.text, sending.message.state, sending.message.created], ["hello", "queued", world.clock.now]);
  assert.deepEqual(room.outbox, [sending.message]);
  const frame = await world.one("roomMessage");
  assert.equal(frame.data.message, "hello");
  assert.match(frame.data.key, /^.{16,64}$/);
  /** @type {any[]} */
  const own = [];
  room.on("message", ({ key, own: mine }) => own.push([key, mine]));
  world.ws.say("roomMessage", said(101, { message: "hello", userId: "ann", key: frame.data.key }));
  world.ws.say("roomMessage", said(102, { userId: "somebody", key: frame.data.key }));
  world.ws.ack(frame, kept(101));
  assert.deepEqual(await sending, kept(101));
  assert.deepEqual(sending.message.receipt, kept(101));
  assert.deepEqual(told, ["hello queued 1", "hello sending 1", "hello sent 0"]);
  assert.deepEqual(room.outbox, []);
  await settled();
  assert.deepEqual(own, [[frame.data.key, true], [frame.data.key, true]]);
});

test("one in flight, in order, each with its own key", async (t) => {
  const world = new World(t);
  const room = await world.join();
  for (const text of ["a", "b", "c"]) room.send(text);
  const frames = [];
  for (const seq of [101, 102, 103]) {
    const frame = await world.one("roomMessage");
    frames.push(frame);
    world.ws.ack(frame, kept(seq));
  }
  assert.deepEqual(texts(frames), ["a", "b", "c"]);
  assert.equal(new Set(frames.map(({ data }) => data.key)).size, 3);
  assert.deepEqual(world.ws.news(), []);
});

test("what was not acknowledged is sent again: the same bytes, before anything newer", async (t) => {
  const world = new World(t);
  const room = await world.join();
  const a = room.send("a");
  const b = room.send("b");
  const first = await world.one("roomMessage");
  world.ws.end(1006);
  assert.equal(a.message.state, "queued");
  const c = room.send("c");
  await world.clock.advance(500);
  await world.welcome();
  const login = world.ws.one("login");
  world.ws.ack(login, { user: ANN, users: [ANN], count: 1, epoch: "e1", seq: 100, messages: [], resumed: true, recovered: true, locked: false });
  const again = await world.one("roomMessage");
  assert.deepEqual(again.data, first.data);
  world.ws.ack(again, kept(101, { duplicate: true }));
  world.ws.ack(await world.one("roomMessage"), kept(102));
  world.ws.ack(await world.one("roomMessage"), kept(103));
  assert.deepEqual((await Promise.all([a, b, c])).map(({ seq }) => seq), [101, 102, 103]);
  assert.equal((await a).duplicate, true);
});

test("refusals: what may be sent again is, before the next; what may not fails, and the next goes on", async (t) => {
  const world = new World(t);
  world.clock.random = 1;
  const room = await world.join();
  const told = states(room);
  const a = room.send("a");
  room.send("b");
  let frame = await world.one("roomMessage");
  const { key } = frame.data;
  world.ws.ack(frame, { error: "Slow.", code: "rate_limited", retryAfter: 1200 });
  await world.clock.advance(1199);
  assert.deepEqual(world.ws.news(), []);
  await world.clock.advance(1);
  for (const wait of [500, 1000, 2000]) {
    frame = await world.one("roomMessage");
    assert.equal(frame.data.key, key);
    world.ws.ack(frame, { error: "Later.", code: "unavailable" });
    room.send("does not push");
    await world.clock.advance(wait - 1);
    assert.deepEqual(world.ws.news(), []);
    await world.clock.advance(1);
  }
  frame = await world.one("roomMessage");
  world.ws.ack(frame, { error: "Bad.", code: "invalid", fields: { message: "bad" } });
  await assert.rejects(a, { code: "invalid", message: "Bad." });
  assert.deepEqual([a.message.state, a.message.error?.code], ["failed", "invalid"]);
  assert.ok(room.outbox.includes(a.message), "it waits for the person");
  frame = await world.one("roomMessage");
  assert.equal(frame.data.message, "b");

  const again = room.retry(key);
  assert.equal(a.message.state, "queued");
  world.ws.ack(frame, kept(101));
  frame = await world.one("roomMessage");
  assert.deepEqual(frame.data, { message: "a", key });
  world.ws.ack(frame, kept(102));
  assert.equal((await again).seq, 102);
  assert.ok(told.includes("a failed 5"));
  await assert.rejects(room.retry(key), { code: "invalid" });
  assert.equal(room.discard(key), false);
});

test("not logged in after all: comes back, and sends then", async (t) => {
  const world = new World(t);
  const room = await world.join();
  const a = room.send("a");
  world.ws.ack(await world.one("roomMessage"), { error: "No.", code: "not_logged_in" });
  assert.equal(world.socket.state.state, "reconnecting");
  await world.clock.advance(500);
  await world.welcome();
  world.ws.ack(world.ws.one("login"), { user: ANN, users: [ANN], count: 1, epoch: "e1", seq: 100, messages: [] });
  world.ws.ack(await world.one("roomMessage"), kept(101));
  assert.equal((await a).seq, 101);
});

test("paced by limits.rate, all frames counted", async (t) => {
  const world = new World(t);
  const room = await world.join({ welcome: { limits: { message: 100, history: 1, rate: 4 } } });
  await world.clock.advance(1000);
  /** @type {number[]} */
  const times = [];
  const start = world.clock.now;
  for (let i = 0; i < 4; i++) room.send(`m${i}`);
  await settled();
  for (let i = 0; i < 4; i++) {
    while (!world.ws.frames.some(({ data }) => data?.message === `m${i}`)) await world.clock.advance(1);
    times.push(world.clock.now - start);
    world.ws.ack(world.ws.frames.find(({ data }) => data?.message === `m${i}`), kept(101 + i));
    if (i === 1) room.typing(true);
  }
  assert.deepEqual(times, [0, 250, 750, 1000], "the typing took a turn");
});

test("limits: too long, too many, half a character", async (t) => {
  const world = new World(t);
  const room = await world.join({ welcome: { limits: { message: 10, history: 1, rate: 0 } } });
  assert.deepEqual(["", "äöü", "12345678901"].map(room.left), [10, 4, -1]);
  const long = room.send("12345678901");
  await assert.rejects(long, { code: "too_long" });
  assert.equal(long.message.state, "failed");
  assert.deepEqual([room.outbox, world.ws.news()], [[], []]);
  void room.send("\ud83d");
  assert.equal((await world.one("roomMessage")).data.message, "\ufffd", "no invalid UTF-8 on the wire");
  for (let i = 1; i < 100; i++) void room.send(`${i}`);
  await assert.rejects(room.send("one more"), { code: "outbox_full" });
  assert.equal(room.outbox.length, 100);
});

test("asks about what was first sent more than 23 hours ago", async (t) => {
  const world = new World(t);
  mock.method(console, "warn", () => {});
  const room = await world.join();
  const a = room.send("a");
  const { key } = (await world.one("roomMessage")).data;
  world.ws.end(1006);
  const b = room.send("b");
  world.socket.disconnect();
  world.clock.jump(23 * HOUR + 1);
  world.socket.connect();
  await world.welcome();
  world.ws.ack(world.ws.one("login"), { user: ANN, users: [ANN], count: 1, epoch: "e1", seq: 100, messages: [] });
  assert.deepEqual([a.message.state, b.message.state], ["ask", "sending"], "b was never sent: no doubt about it");
  const frame = await world.one("roomMessage");
  assert.equal(frame.data.message, "b");
  world.ws.ack(frame, kept(101));
  assert.deepEqual(world.ws.news(), []);
  const again = room.retry(key);
  const resent = await world.one("roomMessage");
  assert.deepEqual(resent.data, { message: "a", key });
  world.ws.ack(resent, kept(102));
  assert.deepEqual([(await a).seq, (await again).seq], [102, 102]);
});

test("the 23 hours count from the first attempt", async (t) => {
  const world = new World(t);
  const room = await world.join();
  const a = room.send("a");
  for (const [hours, state] of /** @type {[number, string][]} */ ([[22, "sending"], [2, "ask"]])) {
    await world.one("roomMessage");
    world.clock.jump(hours * HOUR);
    await world.comeBack();
    assert.equal(a.message.state, state);
  }
});

test("asks about what was written under another name", async (t) => {
  const world = new World(t);
  const room = await world.join();
  void room.send("a");
  const { key } = (await world.one("roomMessage")).data;
  void room.send("b");
  world.ws.end(1006);
  await world.clock.advance(500);
  await world.welcome();
  world.ws.ack(world.ws.one("login"), { error: "Taken.", code: "name_taken" });
  const { session } = world.login.data;
  const next = await world.join({ options: { name: "Ann 2" }, answer: { user: { ...ANN, name: "Ann 2" } } });
  assert.notEqual(world.login.data.session, session, "another name is another session");
  assert.deepEqual(next.outbox.map(({ text, state }) => [text, state]), [["a", "ask"], ["b", "ask"]]);
  assert.deepEqual(world.ws.news(), []);
  assert.equal(next.discard(next.outbox[1].key), true);
  void next.retry(key);
  assert.deepEqual((await world.one("roomMessage")).data, { message: "a", key });
});

test("discard: while it waits, and while it is in flight", async (t) => {
  const world = new World(t);
  const room = await world.join();
  const a = room.send("a");
  const b = room.send("b");
  void room.send("c");
  const frame = await world.one("roomMessage");
  assert.equal(room.discard(b.message.key), true);
  assert.equal(room.discard(a.message.key), true);
  await assert.rejects(a, { code: "discarded" });
  await assert.rejects(b, { code: "discarded" });
  assert.deepEqual(world.ws.news(), [], "still one in flight");
  world.ws.ack(frame, kept(101));
  assert.equal((await world.one("roomMessage")).data.message, "c");
});

/** Another load of the page, in the same tab or in another. @param {import("node:test").TestContext} t @param {object} options */
const load = (t, options) => new World(t, options);

test("a reload: the session is taken over, and what was unsent is sent, once", async (t) => {
  const storage = new FakeStorage();
  const world = load(t, { storage, locks: null });
  const room = await world.join();
  void room.send("a");
  void room.send("b");
  const { data } = await world.one("roomMessage");
  const { session } = world.login.data;
  const reloaded = load(t, { storage, locks: null });
  const next = await reloaded.join({ answer: { resumed: true, messages: [said(101, { key: data.key, userId: "old" })] } });
  const login = reloaded.login.data;
  assert.deepEqual([login.session, login.since], [session, undefined], "the page is empty: it wants the newest");
  assert.deepEqual(next.outbox.map(({ text, state }) => [text, state]), [["a", "sending"], ["b", "queued"]]);
  /** @type {any[]} */
  const own = [];
  next.on("message", (message) => own.push(message.own));
  await settled();
  assert.deepEqual(own, [true], "known by its key");
  const frame = await reloaded.one("roomMessage");
  assert.deepEqual(frame.data, data, "the same bytes");
  reloaded.ws.ack(frame, kept(101, { duplicate: true }));
  reloaded.ws.ack(await reloaded.one("roomMessage"), kept(102));
  assert.deepEqual(next.outbox, []);
  const third = load(t, { storage, locks: null });
  await third.join();
  assert.deepEqual(third.ws.news(), []);
});

test("the 23 hours count over a reload too", async (t) => {
  const storage = new FakeStorage();
  const world = load(t, { storage, locks: null });
  const room = await world.join();
  void room.send("a");
  await world.one("roomMessage"); // the page dies before the answer
  const { now } = world.clock;
  const reloaded = load(t, { storage, locks: null });
  reloaded.clock.now = now + 23 * HOUR + 1;
  const next = await reloaded.join({ answer: { resumed: true } });
  assert.deepEqual(next.outbox.map(({ text, state }) => [text, state]), [["a", "ask"]]);
  assert.deepEqual(reloaded.ws.news(), []);
});

test("after leave nothing is left in the storage", async (t) => {
  const storage = new FakeStorage();
  const world = load(t, { storage, locks: null });
  const room = await world.join();
  room.send("a");
  assert.equal(storage.map.size, 1);
  const leaving = room.leave();
  world.ws.ack(world.ws.news().at(-1), {});
  await leaving;
  assert.equal(storage.map.size, 0);
});

test("a duplicated tab takes a session of its own; the outbox belongs to the first", async (t) => {
  const storage = new FakeStorage();
  const locks = new FakeLocks();
  const world = load(t, { storage, locks });
  const room = await world.join();
  void room.send("a");
  const { session } = world.login.data;

  const copy = storage.copy();
  const second = load(t, { storage: copy, locks });
  const other = await second.join({ options: { name: "Ann 2" }, answer: { user: { ...ANN, id: "ann2", name: "Ann 2" } } });
  const own = second.login.data.session;
  assert.notEqual(own, session);
  assert.deepEqual([other.outbox, second.ws.news()], [[], []]);
  void other.send("from the second");
  second.ws.news();

  locks.held.delete(`parley ${own}`); // the second tab is loaded again
  const reloaded = load(t, { storage: copy, locks });
  const again = await reloaded.join({ options: { name: "Ann 2" }, answer: { user: { ...ANN, id: "ann2", name: "Ann 2" } } });
  assert.equal(reloaded.login.data.session, own);
  assert.deepEqual(again.outbox.map(({ text }) => text), ["from the second"]);

  const third = load(t, { storage: new FakeStorage(), locks });
  await third.join();
  assert.notEqual(third.login.data.session, session, "another tab has nothing to do with it");
});

test("a lock is given up with the room", async (t) => {
  const storage = new FakeStorage();
  const locks = new FakeLocks();
  const world = load(t, { storage, locks });
  await world.join();
  assert.equal(locks.held.size, 1);
  world.ws.end(4503);
  await settled();
  assert.equal(locks.held.size, 1, "removed: for a new session");
  const joining = world.socket.join({ name: "Ann", room: "lobby", timeout: 5 });
  joining.catch(() => {});
  await world.clock.advance(10);
  await settled();
  assert.equal(locks.held.size, 0);
});

test("a storage that is full, or holds something else, loses nothing but itself", async (t) => {
  const storage = new FakeStorage();
  storage.setItem = () => {
    throw new DOMException("full", "QuotaExceededError");
  };
  storage.getItem = () => "{not json";
  for (const something of ["null", "7", "{}", '""']) {
    storage.getItem = () => something;
    await load(t, { storage, locks: null }).join();
  }
  const world = load(t, { storage, locks: null });
  const room = await world.join();
  const a = room.send("a");
  world.ws.ack(await world.one("roomMessage"), kept(101));
  assert.equal((await a).seq, 101);
});

test("an unhandled failure of send is no error of the process", async (t) => {
  const world = new World(t);
  const room = await world.join();
  /** @type {any[]} */
  const unhandled = [];
  const listener = (/** @type {any} */ error) => unhandled.push(error);
  process.on("unhandledRejection", listener);
  t.after(() => process.off("unhandledRejection", listener));
  void room.send("a");
  void room.send("b");
  room.discard(room.outbox[1].key);
  world.ws.ack(await world.one("roomMessage"), { error: "Bad.", code: "invalid" });
  await settled();
  assert.deepEqual(unhandled, []);
});
