/** Rooms: sections 3, 5 and 6 of PROTOCOL.md. */
import assert from "node:assert/strict";
import { mock, test } from "node:test";
import { ANN, BEN, World, entered, said, settled } from "./fake.js";

/** A token that says this; nobody checks its signature here. @param {object} claims */
const jwt = (claims) => `h.${Buffer.from(JSON.stringify(claims)).toString("base64url")}.s`;

/** What was given to `message`. @param {any} room */
const heard = (room) => {
  /** @type {any[]} */
  const seqs = [];
  room.on("message", (/** @type {any} */ { seq }) => seqs.push(seq));
  room.on("gap", (/** @type {any} */ gap) => seqs.push(gap));
  return seqs;
};

test("join: login with a session of its own, and the room it gives", async (t) => {
  const world = new World(t);
  const room = await world.join({ answer: { users: [BEN, ANN], count: 2, more: true, messages: [said(99), said(100, { userId: "ann", from: "Ann", key: "k" })] } });
  const { session, ...data } = world.login.data;
  assert.deepEqual(data, { name: "Ann", room: "lobby" });
  assert.match(session, /^.{16,64}$/);
  const { user, name, users, count, epoch, seq, more, locked, encrypted, joined } = room;
  assert.deepEqual({ user, name, users, count, epoch, seq, more, locked, encrypted, joined }, {
    user: ANN, name: "lobby", users: [BEN, ANN], count: 2, epoch: "e1", seq: 100, more: true, locked: false, encrypted: false, joined: true,
  });
  assert.equal(world.socket.id, "ann");
  await settled();
  world.ws.say("roomMessage", said(101));
  await settled();
  /** @type {any[]} */
  const messages = [];
  room.on("message", (m) => messages.push(m));
  await settled();
  assert.deepEqual(messages.map(({ seq, text, own, live }) => [seq, text, own, live]), [
    [99, "text 99", false, false], [100, "text 100", true, false], [101, "text 101", false, true],
  ], "those of before the handler too");
  world.ws.say("roomMessage", said(102, { message: "p1.AAAA" }));
  await settled();
  const { text, mark } = messages[3];
  assert.deepEqual([text, mark], [null, "encrypted"]);
});

test("join before the connection stands, and while in a room", async (t) => {
  const world = new World(t);
  const room = await world.join();
  await assert.rejects(world.socket.join({ name: "Ann", room: "other" }), { code: "already_logged_in" });
  assert.equal(world.socket.room, room);
});

test("a join that the server refuses rejects, and the connection can be used again", async (t) => {
  const world = new World(t);
  await world.welcome();
  for (const code of ["name_taken", "room_full", "wrong_key", "unauthorized", "invalid"]) {
    const joining = world.socket.join({ name: "Ann", room: "lobby" });
    await settled();
    world.ws.ack(world.ws.one("login"), { error: "No.", code, fields: { name: "bad" } });
    await assert.rejects(joining, { code, message: "No.", fields: { name: "bad" } });
    assert.equal(world.socket.room, undefined);
  }
  assert.deepEqual(world.ws.news(), [], "nothing to log out of");
  await world.join();
});

test("a login that may be sent again is", async (t) => {
  const world = new World(t);
  world.clock.random = 1;
  await world.welcome();
  const joining = world.socket.join({ name: "Ann", room: "lobby" });
  await settled();
  world.ws.ack(world.ws.one("login"), { error: "Slow.", code: "rate_limited", retryAfter: 1500 });
  await world.clock.advance(1499);
  assert.deepEqual(world.ws.news(), []);
  await world.clock.advance(1);
  world.ws.ack(world.ws.one("login"), { error: "Later.", code: "unavailable" });
  await world.clock.advance(500);
  world.ws.ack(world.ws.one("login"), entered());
  assert.equal((await joining).joined, true);
});

test("a server that cannot let anybody in is left for another", async (t) => {
  const world = new World(t);
  world.clock.random = 1;
  await world.welcome();
  const joining = world.socket.join({ name: "Ann", room: "lobby" });
  await settled();
  for (let tries = 0; tries < 3; tries++) {
    world.ws.ack(world.ws.one("login"), { error: "Later.", code: "unavailable" });
    await world.clock.advance(4_000);
  }
  assert.equal(world.sockets.length, 1, "not at once: it may be over in a moment");
  world.ws.ack(world.ws.one("login"), { error: "Later.", code: "unavailable" });
  await world.clock.advance(1_000);
  assert.equal(world.sockets.length, 2);
  await world.welcome();
  world.ws.ack(world.ws.one("login"), entered());
  assert.equal((await joining).joined, true);
});

test("a room that is full again is waited for where one is", async (t) => {
  const world = new World(t);
  const room = await world.join();
  world.ws.end(1006);
  await world.clock.advance(20_000);
  await world.welcome();
  const connections = world.sockets.length;
  for (let tries = 0; tries < 9; tries++) {
    world.ws.ack(world.ws.one("login"), { error: "Full.", code: "room_full" });
    await world.clock.advance(20_000);
  }
  world.ws.ack(world.ws.one("login"), entered({ resumed: false, recovered: true }));
  await settled();
  assert.deepEqual([room.joined, world.sockets.length], [true, connections]);
});

test("join gives up: timeout, signal; what may have been entered is left", async (t) => {
  const world = new World(t);
  mock.method(console, "warn", () => {});
  const late = world.socket.join({ name: "Ann", room: "lobby" });
  late.catch(() => {});
  await world.clock.advance(20_000);
  await assert.rejects(late, { code: "timeout" });
  await world.clock.advance(500);
  await world.welcome();
  assert.deepEqual(world.ws.news(), []);

  const controller = new AbortController();
  const called = world.socket.join({ name: "Ann", room: "lobby", signal: controller.signal, timeout: 0 });
  await world.clock.advance(60_000);
  assert.equal(world.ws.news()[0].event, "login");
  controller.abort();
  await assert.rejects(called, { code: "aborted" });
  assert.equal(world.ws.one("logout").event, "logout");
  await assert.rejects(world.socket.join({ name: "Ann", room: "lobby", signal: controller.signal }), { code: "aborted" });
  await assert.rejects(world.socket.join({ name: "Ann", room: "lobby", secret: " " }), { code: "incomplete" });
  assert.deepEqual(world.ws.news(), []);
});

test("4408: comes back when somebody wants to log in", async (t) => {
  const world = new World(t);
  await world.welcome();
  world.ws.end(4408);
  await world.clock.advance(60_000);
  assert.equal(world.sockets.length, 1);
  await world.join();
  assert.equal(world.sockets.length, 2);
});

test("a lost connection is mended: session, since, epoch; resumed", async (t) => {
  const world = new World(t);
  const room = await world.join();
  const seqs = heard(room);
  /** @type {any[]} */
  const told = [];
  world.listen(room, ["resumed", "locked", "end"], told);
  world.ws.say("roomMessage", said(101));
  await settled();
  const { session } = world.login.data;
  /** @type {string[]} */
  const states = [];
  room.on("state", ({ state }) => states.push(state));
  world.ws.end(1006);
  assert.equal(room.joined, false);
  await world.comeBack({ seq: 104, messages: [said(103), said(104)], locked: true });
  assert.deepEqual(states, ["reconnecting", "connecting", "connected"]);
  assert.deepEqual(world.login.data, { name: "Ann", room: "lobby", session, since: 101, epoch: "e1" });
  assert.deepEqual(seqs, [101, 103, 104]);
  assert.deepEqual(told, [["resumed", { resumed: true, recovered: true }], ["locked", true]]);
  world.ws.say("roomMessage", said(104));
  world.ws.say("roomMessage", said(105));
  await settled();
  world.ws.say("roomMessage", said(50));
  await settled();
  assert.deepEqual([seqs, room.seq], [[101, 103, 104, 105], 105], "each once; the cursor never goes back");
});

test("a connection that is lost before the login is answered is mended like any other", async (t) => {
  const world = new World(t);
  const room = await world.join();
  /** @type {any[]} */
  const ends = [];
  room.on("end", (/** @type {any} */ { code }) => ends.push(code));
  world.ws.end(1006);
  await world.clock.advance(20_000);
  await world.welcome();
  const lost = world.ws.one("login"); // its answer never comes
  await world.comeBack({ seq: 101, messages: [said(101)] });
  assert.deepEqual(world.login.data, lost.data, "the same session, the same cursor");
  assert.deepEqual([room.joined, room.seq, ends], [true, 101, []]);
});

test("the cursor is ahead of the page's handler", async (t) => {
  const world = new World(t);
  mock.method(console, "error", () => {});
  const room = await world.join();
  /** @type {number[][]} */
  const seen = [];
  room.on("message", ({ seq }) => {
    seen.push([seq, room.seq]);
    throw new Error("page");
  });
  await settled();
  world.ws.say("roomMessage", said(101));
  await settled();
  assert.deepEqual(seen, [[101, 101]], "it was ahead when the handler was called");
  await world.comeBack({ seq: 101 });
  assert.equal(world.login.data.since, 101, "a handler that failed is not called again");
});

test("a message that is none stops nothing", async (t) => {
  const world = new World(t);
  mock.method(console, "error", () => {});
  const seqs = heard(await world.join());
  await settled();
  for (const payload of [said(101, { message: undefined }), said(102, { message: 7 }), null, said(103)]) {
    world.ws.say("roomMessage", payload);
  }
  await settled();
  assert.deepEqual(seqs, [103]);
});

test("gap: told before what follows it; history fills it", async (t) => {
  const world = new World(t);
  const room = await world.join();
  const seqs = heard(room);
  await settled();
  const gap = { after: 100, before: 500, reason: "too_many" };
  await world.comeBack({ seq: 500, recovered: false, gap, messages: [said(500)] });
  assert.deepEqual(seqs.splice(0), [{ ...gap, newLog: false }, 500]);

  const asking = room.history({ after: gap.after - 1, limit: 200 });
  const request = await world.one("history");
  assert.deepEqual(request.data, { after: 99, limit: 200 });
  world.ws.ack(request, { messages: [said(100), said(101), said(300)], more: true });
  assert.deepEqual((await asking).messages.map(({ seq }) => seq), [100, 101, 300]);
  assert.deepEqual(seqs, [], "they are handed over by history alone");
});

test("gap: another log begins anew", async (t) => {
  const world = new World(t);
  const room = await world.join();
  const seqs = heard(room);
  const page = room.history();
  world.ws.ack(await world.one("history"), { messages: [said(5)], more: false });
  await page;
  const gap = { after: 100, before: 5, reason: "expired" };
  await world.comeBack({ epoch: "e2", seq: 5, recovered: false, gap, messages: [said(5)] });
  world.ws.say("roomMessage", said(6));
  await settled();
  assert.deepEqual(seqs, [{ ...gap, newLog: true }, 5, 6]);
  assert.equal(room.epoch, "e2");
  await world.comeBack({ epoch: "e2", seq: 6 });
  assert.deepEqual([world.login.data.since, world.login.data.epoch], [6, "e2"]);
});

test("close codes, in a room (section 8)", async (t) => {
  for (const [code, end] of /** @type {[number, string | null][]} */ ([
    [1000, "closed"], [1001, null], [1006, null], [1008, null], [1009, null], [1012, null], [1013, null],
    [4401, "unauthorized"], [4408, null], [4501, "taken_over"], [4503, "removed"], [4777, "closed"],
  ])) {
    await t.test(String(code), async (t) => {
      const world = new World(t);
      const room = await world.join();
      const { session } = world.login.data;
      /** @type {any[]} */
      const ends = [];
      room.on("end", (error) => ends.push([error.code, error.closeCode]));
      world.ws.end(code);
      assert.deepEqual(ends, end ? [[end, code]] : []);
      assert.equal(room.joined, false);
      await world.clock.advance(60_000);
      assert.equal(world.sockets.length > 1, !end);
      if (end) world.socket.connect();
      await world.welcome();
      world.login = world.ws.one("login");
      assert.equal(world.login.data.session === session, code !== 4503, "removed: the session is gone for good");
      world.ws.ack(world.login, entered({ resumed: true }));
      assert.equal(room.joined, true);
    });
  }
});

test("a refusal while coming back ends it; a full room is tried again", async (t) => {
  const world = new World(t);
  const room = await world.join();
  /** @type {any[]} */
  const ends = [];
  room.on("end", ({ code }) => ends.push(code));
  world.ws.end(1006);
  await world.clock.advance(500);
  await world.welcome();
  world.ws.ack(world.ws.one("login"), { error: "Full.", code: "room_full" });
  await world.clock.advance(20_000);
  world.ws.ack(world.ws.one("login"), { error: "Taken.", code: "name_taken" });
  assert.deepEqual(ends, ["name_taken"]);
  await world.clock.advance(60_000);
  assert.deepEqual(world.ws.news(), []);
  world.ws.end(1006);
  await world.clock.advance(500);
  await world.welcome();
  assert.deepEqual(world.ws.news(), [], "also not on another connection");
  world.socket.connect();
  await settled();
  world.ws.ack(world.ws.one("login"), entered());
  assert.equal(room.joined, true, "until somebody acts");
});

test("after an end, another join takes the place", async (t) => {
  const world = new World(t);
  const room = await world.join();
  world.ws.end(1006);
  await world.clock.advance(500);
  await world.welcome();
  world.ws.ack(world.ws.one("login"), { error: "Taken.", code: "name_taken" });
  const next = await world.join({ options: { name: "Ann 2" }, answer: { user: { ...ANN, name: "Ann 2" } } });
  assert.notEqual(next, room);
  assert.equal(world.socket.room, next);
  assert.equal(room.joined, false);
});

test("tokens: fixed, or fresh for each connection; their name counts", async (t) => {
  const world = new World(t);
  await world.join({ options: { token: "t.t.t" } });
  assert.equal(world.login.data.token, "t.t.t");
  assert.equal(world.login.data.name, "Ann");
  world.ws.end(4401);
  assert.equal(world.socket.state.state, "closed", "4401: it has no other");

  const other = new World(t);
  let count = 0;
  const token = async () => jwt({ name: "Zoë", n: ++count });
  const room = await other.join({ options: { name: undefined, token } });
  assert.deepEqual([other.login.data.name, other.login.data.token], ["Zoë", jwt({ name: "Zoë", n: 1 })]);
  await other.comeBack({}, 4401);
  assert.equal(other.login.data.token, jwt({ name: "Zoë", n: 2 }), "4401: it gets another");
  assert.equal(room.joined, true);
});

test("tokens: a function that fails", async (t) => {
  const world = new World(t);
  let good = false;
  const token = () => {
    if (!good) throw new Error("no token");
    return "t";
  };
  await world.welcome();
  await assert.rejects(world.socket.join({ name: "Ann", room: "lobby", token }), { message: "no token" });
  good = true;
  const room = await world.join({ options: { token } });
  good = false;
  world.ws.end(1006);
  await world.clock.advance(500);
  await world.welcome();
  assert.deepEqual(world.ws.news(), []);
  assert.equal(room.joined, false);
  good = true;
  await world.clock.advance(1_000);
  world.ws.ack(world.ws.one("login"), entered());
  assert.equal(room.joined, true);
});

test("tokens: renewed a minute before exp, by the server's clock", async (t) => {
  const world = new World(t);
  let count = 0;
  const ahead = 3_600_000; // the server's clock is an hour ahead
  const token = () => {
    if (count === 2) throw new Error("later");
    return jwt({ n: ++count, exp: (world.clock.now + ahead) / 1000 + 600 });
  };
  await world.welcome({ now: new Date(world.clock.now + ahead).toISOString() });
  const room = await world.join({ options: { token } });
  await world.clock.advance(540_000 - 1);
  assert.deepEqual(world.ws.news(), []);
  await world.clock.advance(1);
  const { session } = world.login.data;
  const renewal = world.ws.one("login");
  assert.deepEqual(renewal.data, { name: "Ann", room: "lobby", session, token: jwt({ n: 2, exp: (world.clock.now + ahead) / 1000 + 600 }) });
  world.ws.ack(renewal, { user: ANN, users: [], messages: [], resumed: true, epoch: "e1", seq: 100, locked: false });
  await world.clock.advance(540_000);
  assert.deepEqual(room.users, [ANN], "a renewal changes nothing");
  assert.deepEqual(world.ws.news(), [], "no token to be had");
  count = 3;
  await world.clock.advance(30_000);
  const again = world.ws.one("login");
  assert.equal(again.data.session, session, "tried again in half of what is left");
  world.ws.ack(again, { user: ANN, users: [], messages: [], resumed: true, epoch: "e1", seq: 100, locked: false });
  await settled();
  void room.leave();
  await world.clock.advance(3_600_000);
  assert.equal(count, 4, "after leave no token is fetched any more");
});

test("people: users, joined, left", async (t) => {
  const world = new World(t);
  const room = await world.join();
  /** @type {any[]} */
  const told = [];
  world.listen(room, ["users", "joined", "left", "message"], told);
  world.ws.say("notification", { kind: "joined", title: "", description: "", user: BEN });
  world.ws.say("users", [ANN, BEN]);
  world.ws.say("notification", { kind: "left", title: "", description: "", user: BEN });
  world.ws.say("notification", { kind: "message", user: BEN });
  assert.deepEqual(told, [["joined", BEN], ["users", [ANN, BEN], 2], ["left", BEN], ["joined", BEN]]);
  assert.deepEqual([room.users, room.count], [[ANN, BEN], 2]);
});

test("people: presence is folded into users; a list that disagrees is read again in pages", async (t) => {
  const world = new World(t);
  const user = (/** @type {number} */ n) => ({ id: `u${n}`, name: `U ${n}`, room: "lobby" });
  const people = Array.from({ length: 250 }, (_, n) => user(n));
  const room = await world.join({ answer: { users: people.slice(0, 250), count: 250 } });
  /** @type {any[]} */
  const told = [];
  room.on("users", (users, count) => told.push([users.length, count]));
  world.ws.say("presence", { joined: [user(250), user(3)], left: ["u0", "u1"], count: 249 });
  assert.deepEqual(told.splice(0), [[249, 249]]);
  assert.deepEqual(room.users.at(-1), user(250));
  await world.clock.advance(60_000);
  assert.deepEqual(world.ws.news(), []);

  world.ws.say("presence", { joined: [user(300)], left: [], count: 260 });
  world.ws.say("presence", { joined: [], left: [], count: 260 });
  assert.deepEqual(told.splice(0), [[250, 260], [250, 260]]);
  await world.clock.advance(0.5 * 10 * 260 - 1);
  assert.deepEqual(world.ws.news(), [], "not everybody at once");
  await world.clock.advance(1);
  const first = world.ws.one("users");
  assert.deepEqual(first.data, { offset: 0, limit: 200 });
  world.ws.say("presence", { joined: [user(999)], left: ["u5"], count: 260 });
  world.ws.ack(first, { users: people.slice(0, 200), count: 260 });
  await settled();
  const second = world.ws.one("users");
  assert.deepEqual(second.data, { offset: 200, limit: 200 });
  world.ws.ack(second, { users: Array.from({ length: 60 }, (_, n) => user(200 + n)), count: 260 });
  await settled();
  assert.deepEqual([room.users.length, room.count], [260, 260]);
  assert.ok(room.users.some(({ id }) => id === "u999") && !room.users.some(({ id }) => id === "u5"), "what changed meanwhile counts");

  world.ws.say("presence", { joined: [], left: [], count: 300 });
  world.ws.end(1006);
  await world.comeBack({ users: people.slice(0, 2), count: 2 });
  await world.clock.advance(60_000);
  assert.deepEqual(world.ws.news(), [], "the login's list agrees");
});

test("people: past 2,000 the list is whole only where somebody looks", async (t) => {
  const world = new World(t);
  const room = await world.join({ answer: { users: [ANN], count: 5000 } });
  await world.clock.advance(25_000);
  for (let offset = 0; offset < 2000; offset += 200) {
    if (offset) await settled();
    const page = world.ws.one("users");
    assert.equal(page.data.offset, offset);
    world.ws.ack(page, { users: Array.from({ length: 200 }, (_, n) => ({ ...BEN, id: `u${offset + n}` })), count: 5000 });
  }
  await world.clock.advance(100_000);
  assert.deepEqual(world.ws.news(), []);
  assert.deepEqual([room.users.length, room.count], [2000, 5000]);
  const page = room.listUsers({ offset: 4000 });
  await settled();
  const asked = world.ws.one("users");
  assert.deepEqual(asked.data, { offset: 4000 });
  world.ws.ack(asked, { users: [BEN], count: 5000 });
  assert.deepEqual(await page, { users: [BEN], count: 5000 });
});

test("typing: told at most every 3 s, cleared by false and by a message", async (t) => {
  const world = new World(t);
  const room = await world.join();
  const sent = () => world.ws.news().filter(({ event }) => event === "typing").map(({ data }) => data.typing);
  room.typing(false);
  room.typing(true);
  room.typing(true);
  assert.deepEqual(sent(), [true]);
  await world.clock.advance(2_999);
  room.typing(true);
  assert.deepEqual(sent(), []);
  await world.clock.advance(1);
  room.typing(true);
  assert.deepEqual(sent(), [true]);
  room.typing(false);
  room.typing(false);
  assert.deepEqual(sent(), [false]);
  room.typing(true);
  assert.deepEqual(sent(), [], "3 s at most, whatever came between");
  await world.clock.advance(3_000);
  room.typing(true);
  void room.send("hello");
  room.typing(false);
  assert.deepEqual(sent(), [true], "the message has cleared it");
  world.ws.end(1006);
  await world.clock.advance(3_000);
  room.typing(true);
  await world.welcome();
  assert.deepEqual(sent(), [], "not while offline, not afterwards");
});

test("typing of others: cleared after 6 s, by their message, when they leave, when the connection ends", async (t) => {
  const world = new World(t);
  const room = await world.join();
  /** @type {any[]} */
  const told = [];
  room.on("typing", (list) => told.push(list.map(({ id, name }) => `${id} ${name}`)));
  const types = (typing = true) => world.ws.say("typing", { from: "Ben", userId: "ben", typing });
  const expect = async (/** @type {() => unknown} */ clear) => {
    types();
    types();
    assert.deepEqual(told.splice(0), [["ben Ben"]]);
    assert.deepEqual(room.typists, [{ id: "ben", name: "Ben" }]);
    await clear();
    await settled();
    assert.deepEqual(told.splice(0), [[]]);
  };
  await expect(() => types(false));
  await expect(() => world.ws.say("roomMessage", said(101)));
  await expect(() => world.ws.say("notification", { kind: "left", user: BEN }));
  await expect(async () => {
    await world.clock.advance(5_000);
    types();
    await world.clock.advance(5_999);
    assert.deepEqual(told, []);
    await world.clock.advance(1);
  });
  await expect(() => world.ws.end(1006));
  await world.clock.advance(60_000);
  assert.deepEqual(told, []);
});

test("history: a page, judged; known messages are the same objects; rate limits are waited out", async (t) => {
  const world = new World(t);
  const room = await world.join({ answer: { messages: [said(100)] } });
  /** @type {any[]} */
  const messages = [];
  room.on("message", (m) => messages.push(m));
  await settled();
  const asking = room.history({ before: 101, limit: 2 });
  await settled();
  const refused = world.ws.one("history");
  world.ws.ack(refused, { error: "Slow.", code: "rate_limited", retryAfter: 700 });
  await world.clock.advance(700);
  const asked = world.ws.one("history");
  assert.deepEqual(asked.data, { before: 101, limit: 2 });
  world.ws.ack(asked, { messages: [said(99), said(100)], more: true });
  const page = await asking;
  assert.equal(page.more, true);
  assert.deepEqual(page.messages.map(({ seq, live }) => [seq, live]), [[99, false], [100, false]]);
  assert.equal(page.messages[1], messages[0]);
  assert.equal(messages.length, 1, "history is no message event");
  const cut = room.history();
  cut.catch(() => {});
  await settled();
  world.ws.end(1006);
  await assert.rejects(cut, { code: "disconnected" });
  await assert.rejects(room.history(), { code: "disconnected" });
});

test("leave: logs out; the socket can go elsewhere", async (t) => {
  const world = new World(t);
  const room = await world.join();
  const seqs = heard(room);
  const waiting = room.send("never sent");
  await settled();
  world.ws.news();
  const leaving = room.leave();
  assert.equal(world.socket.room, undefined);
  assert.equal(room.joined, false);
  await assert.rejects(waiting, { code: "left" });
  await assert.rejects(room.send("more"), { code: "left" });
  world.ws.say("roomMessage", said(101));
  world.ws.ack(world.ws.one("logout"), {});
  await leaving;
  await room.leave();
  assert.deepEqual(seqs, []);
  await world.join({ options: { room: "other" }, answer: { user: { ...ANN, room: "other" } } });
  assert.equal(world.login.data.since, undefined);
  world.ws.end(1006);
  await /** @type {any} */ (world.socket).room.leave();
  await world.clock.advance(500);
  await world.welcome();
  assert.deepEqual(world.ws.news(), [], "left while offline: no login again");
});
