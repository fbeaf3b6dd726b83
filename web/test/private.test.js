/** Rooms with a secret, as the client joins and sends in them: section 9 of PROTOCOL.md. (The judge: reader.test.js.) */
import assert from "node:assert/strict";
import { test } from "node:test";
import * as crypto from "../crypto.js";
import { FakeStorage, World, settled, until } from "./fake.js";

const SECRET = "correct horse battery staple";
const ROOM = "  the\u00a0 cafe\u0301 ";
const PREPARED = "the café";
const keys = await crypto.deriveKeys(ROOM, SECRET);
const ANN = { id: "ann", name: "Ann", room: PREPARED };
const options = { name: " Ann\u2003", room: ROOM, keys };
const typed = { ...options, keys: undefined, secret: SECRET };

/** @param {import("node:test").TestContext} t @param {object} [answer] @param {object} [how] */
async function enter(t, answer, how) {
  const world = new World(t, { storage: new FakeStorage(), locks: null, ...how });
  const room = await world.join({ options: { ...options, ...how }, answer: { user: ANN, users: [ANN], locked: true, ...answer } });
  return { world, room, login: world.login };
}

/** The roomMessages that were sent. @param {World} world */
const sent = (world) => world.ws.frames.filter(({ event }) => event === "roomMessage");

let count = 0;
const stream = crypto.newStream();
/** What another member wrote. @param {number} seq @param {string} text @param {object} [rest] */
async function sealed(seq, text, rest) {
  const key = `0123456789abcdef-${++count}`;
  const message = await crypto.seal(keys, { from: "Ben", key, text, stream, n: count, at: Date.parse("2026-11-23T19:00:00.000Z") });
  return { message, from: "Ben", userId: "ben", seq, at: "2026-11-23T19:00:00.000Z", key, ...rest };
}

/** All messages given to the page. @param {any} room @returns {any[]} */
const messages = (room) => {
  /** @type {any[]} */
  const got = [];
  room.on("message", (/** @type {any} */ m) => got.push(m));
  return got;
};

test("joined with the access key alone, under the prepared names", async (t) => {
  const { room, login } = await enter(t, {}, typed);
  assert.deepEqual([login.data.name, login.data.room, login.data.access], ["Ann", PREPARED, keys.access]);
  assert.ok(!JSON.stringify(login).includes(SECRET));
  assert.deepEqual([room.encrypted, room.locked, room.name], [true, true, PREPARED]);
});

test("sent sealed, under what was asked for; a retry sends the same bytes", async (t) => {
  const { world, room } = await enter(t);
  const a = room.send("first");
  void room.send("second");
  await until(() => sent(world).length);
  const [{ data, ackId }] = sent(world);
  assert.deepEqual(Object.keys(data), ["message", "key"]);
  const opened = await crypto.open(keys, { ...data, from: "Ann" });
  assert.deepEqual([opened?.text, opened?.n, opened?.at], ["first", 1, a.message.created]);
  assert.equal(a.message.text, "first");
  await world.comeBack({ user: ANN, users: [ANN] });
  await until(() => sent(world).length);
  assert.deepEqual(sent(world)[0].data, data);
  assert.ok(ackId);
  world.ws.ack(sent(world)[0], { seq: 101, at: "…", durability: "disk" });
  await until(() => sent(world).length === 2);
  const next = await crypto.open(keys, { ...sent(world)[1].data, from: "Ann" });
  assert.deepEqual([next?.text, next?.n, next?.stream], ["second", 2, opened?.stream]);
});

test("an answer under another name or room ends the join", async (t) => {
  for (const user of [{ ...ANN, name: "Eve" }, { ...ANN, room: "another" }]) {
    const world = new World(t);
    const joining = world.socket.join(options);
    joining.catch(() => {});
    await world.welcome();
    await until(() => world.ws.frames.length);
    world.ws.ack(world.ws.one("login"), { user, users: [user], count: 1, epoch: "e1", seq: 1, messages: [], locked: true });
    await assert.rejects(joining, { code: "mismatch" });
    assert.equal(world.ws.one("logout").event, "logout");
  }
  const { world, room } = await enter(t);
  /** @type {any[]} */
  const ends = [];
  room.on("end", ({ code }) => ends.push(code));
  void room.send("waits");
  await until(() => sent(world).length);
  world.ws.end(1006);
  await world.clock.advance(500);
  await world.welcome();
  const login = world.ws.one("login");
  world.ws.ack(login, { user: { ...ANN, name: "Eve" }, users: [], count: 0, epoch: "e1", seq: 100, messages: [], locked: true });
  assert.deepEqual(ends, ["mismatch"]);
  await settled();
  assert.equal(sent(world).length, 0, "and nothing is sent there");
});

test("the token's name is sealed under, prepared", async (t) => {
  const world = new World(t);
  const token = `h.${Buffer.from(JSON.stringify({ name: "Zoe\u0308 " })).toString("base64url")}.s`;
  const user = { id: "z", name: "Zoë", room: PREPARED };
  const room = await world.join({ options: { ...options, token }, answer: { user, users: [user] } });
  assert.equal(world.login.data.name, "Zoë");
  void room.send("hello");
  await until(() => sent(world).length);
  assert.equal((await crypto.open(keys, { ...sent(world)[0].data, from: "Zoë" }))?.text, "hello");
});

test("an unlocked room is told, and still only ciphertext is sent", async (t) => {
  const { world, room } = await enter(t);
  /** @type {boolean[]} */
  const told = [];
  room.on("locked", (locked) => told.push(locked));
  await world.comeBack({ user: ANN, users: [ANN], locked: false });
  assert.deepEqual([room.locked, told], [false, [false]]);
  void room.send("hello");
  await until(() => sent(world).length);
  assert.match(sent(world)[0].data.message, /^p1\./);
});

test("no secret, no join: empty, or without WebCrypto", async (t) => {
  const world = new World(t);
  await world.welcome();
  for (const secret of ["", " \t"]) {
    await assert.rejects(world.socket.join({ ...typed, secret }), { code: "incomplete" });
  }
  assert.deepEqual(world.ws.news(), [], "it never opens an open room");
  const { subtle } = globalThis.crypto;
  Object.defineProperty(globalThis.crypto, "subtle", { value: undefined, configurable: true });
  t.after(() => Object.defineProperty(globalThis.crypto, "subtle", { value: subtle, configurable: true }));
  await assert.rejects(world.socket.join(typed), { code: "insecure" });
  assert.deepEqual(world.ws.news(), []);
});

test("keys are derived once, or early", async (t) => {
  const derive = t.mock.method(globalThis.crypto.subtle, "deriveBits");
  const { world } = await enter(t, {}, typed);
  const calls = derive.mock.callCount();
  assert.ok(calls > 0);
  await world.comeBack({ user: ANN, users: [ANN] });
  assert.equal(derive.mock.callCount(), calls, "never again on a reconnect");
  const other = new World(t);
  const room = await other.join({ options, answer: { user: ANN, users: [ANN] } });
  assert.equal(derive.mock.callCount(), calls);
  assert.equal(room.encrypted, true);
});

test("the limit is kept with the sealing in it", async (t) => {
  const { world, room } = await enter(t);
  let text = "x";
  while (room.left(text + "x") >= 0) text += "x";
  void room.send(text);
  await until(() => sent(world).length);
  const size = sent(world)[0].data.message.length;
  assert.ok(size <= 16_384 && size > 16_384 - 2 * 171, `${size}`);
  await assert.rejects(room.send(text + "x"), { code: "too_long" });
  world.ws.ack(sent(world)[0], { seq: 101, at: "…", durability: "disk" });
  void room.send("next");
  await until(() => sent(world).length === 2);
  assert.equal((await crypto.open(keys, { ...sent(world)[1].data, from: "Ann" }))?.n, 2, "a refused one leaves no hole");
});

test("messages are opened and judged, in order, each once", async (t) => {
  const one = await sealed(99, "one");
  const two = await sealed(100, "two");
  const { world, room } = await enter(t, { messages: [one, two] });
  const got = messages(room);
  const lost = await sealed(101, "lost");
  const three = await sealed(102, "three");
  /** @type {any[]} */
  const marks = [];
  room.on("marks", (changed, missing) => marks.push([changed.length, missing.map(({ from, count }) => `${count} of ${from}`)]));
  for (const payload of [
    three,
    { ...two, seq: 103 },
    { ...(await sealed(104, "stolen")), from: "Cleo" },
    { message: "plain text", from: "Ben", userId: "ben", seq: 105, at: "2026-11-23T19:00:00.000Z" },
  ]) world.ws.say("roomMessage", payload);
  await until(() => got.length === 6);
  assert.deepEqual(got.map(({ seq, text, mark, live }) => [seq, text, mark, live]), [
    [99, "one", undefined, false],
    [100, "two", undefined, false],
    [102, "three", undefined, true],
    [103, null, "repeated", true],
    [104, null, "unverified", true],
    [105, null, "unverified", true],
  ]);
  assert.deepEqual(room.missing.map(({ from, after, before }) => [from, after, before]), [["Ben", 100, 102]]);
  assert.deepEqual(marks, [[0, ["1 of Ben"]]]);
  assert.ok(!JSON.stringify(got).includes("plain text"));

  const asking = room.history({ before: 102 });
  await until(() => world.ws.frames.some(({ event }) => event === "history"));
  world.ws.ack(world.ws.frames.find(({ event }) => event === "history"), { messages: [one, two, lost], more: false });
  const page = await asking;
  assert.deepEqual(page.messages.map(({ seq, text }) => [seq, text]), [[99, "one"], [100, "two"], [101, "lost"]]);
  assert.equal(page.messages[0], got[0]);
  assert.deepEqual(marks.at(-1), [0, []]);
  assert.deepEqual(room.missing, []);
});

test("a page of history can change what was said before: the same objects, told by marks", async (t) => {
  const first = await sealed(50, "said once");
  const { world, room } = await enter(t, { messages: [{ ...first, seq: 100 }] });
  const got = messages(room);
  await until(() => got.length);
  assert.equal(got[0].text, "said once");
  /** @type {any[]} */
  const marked = [];
  room.on("marks", (changed) => marked.push(...changed));
  const asking = room.history({ before: 100 });
  await until(() => world.ws.frames.some(({ event }) => event === "history"));
  world.ws.ack(world.ws.frames.find(({ event }) => event === "history"), { messages: [first], more: false });
  assert.deepEqual((await asking).messages.map(({ text }) => text), ["said once"]);
  assert.equal(marked[0], got[0]);
  assert.deepEqual([got[0].mark, got[0].text], ["repeated", null]);
});

test("the sender's clock is told where it is far from the server's", async (t) => {
  const { world, room } = await enter(t);
  const got = messages(room);
  world.ws.say("roomMessage", await sealed(101, "on time"));
  world.ws.say("roomMessage", { ...(await sealed(102, "late")), at: "2026-11-23T19:06:00.000Z" });
  await until(() => got.length === 2);
  assert.deepEqual(got.map(({ sentAt }) => sentAt), [undefined, Date.parse("2026-11-23T19:00:00.000Z")]);
});

test("a reload: only ciphertext was stored, it is sent as it is, and shown again", async (t) => {
  const storage = new FakeStorage();
  const { world, room } = await enter(t, {}, { storage });
  void room.send("top secret words");
  await until(() => sent(world).length);
  const [[place, stored]] = storage.map;
  for (const hidden of ["top secret words", SECRET, keys.access]) assert.ok(!(place + stored).includes(hidden), hidden);
  const { world: reloaded, room: again } = await enter(t, {}, { storage });
  assert.deepEqual(again.outbox.map(({ text }) => text), ["top secret words"]);
  await until(() => sent(reloaded).length);
  assert.deepEqual(sent(reloaded)[0].data, sent(world)[0].data);

  const open = new World(t, { storage, locks: null });
  const other = await open.join({ options: { name: "Ann", room: PREPARED }, answer: { user: ANN } });
  assert.deepEqual(other.outbox, [], "an open room of that name has nothing of it");
});

test("under another name a message is sealed anew, after those that wait", async (t) => {
  const { world, room } = await enter(t);
  void room.send("old");
  await until(() => sent(world).length);
  world.ws.end(1006);
  await world.clock.advance(500);
  await world.welcome();
  world.ws.ack(world.ws.one("login"), { error: "Taken.", code: "name_taken" });
  const user = { ...ANN, name: "Ann 2" };
  const next = await world.join({ options: { ...options, name: "Ann 2" }, answer: { user, users: [user] } });
  const [{ key, state, text }] = next.outbox;
  assert.deepEqual([state, text], ["ask", "old"]);
  void next.send("new");
  const before = sent(world).length;
  await until(() => sent(world).length > before);
  void next.retry(key);
  world.ws.ack(sent(world).at(-1), { seq: 101, at: "…", durability: "disk" });
  await until(() => sent(world).length > before + 1);
  const opened = await Promise.all(sent(world).slice(-2).map(({ data }) => crypto.open(keys, { ...data, from: "Ann 2" })));
  assert.deepEqual(opened.map((it) => [it?.text, it?.n]), [["new", 1], ["old", 2]]);
});
