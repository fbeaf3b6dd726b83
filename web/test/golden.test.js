/** The golden envelopes of protocol/testdata, which the server's tests read too, through the client. */
import assert from "node:assert/strict";
import { readFile } from "node:fs/promises";
import { test } from "node:test";
import { ParleyError } from "../parley.js";
import { World, entered, settled } from "./fake.js";

/** @param {string} name @returns {Promise<any[]>} */
const cases = async (name) =>
  JSON.parse(await readFile(new URL(`../../protocol/testdata/${name}.json`, import.meta.url), "utf8")).cases;

const events = await cases("events");
const requests = await cases("requests");

test("every event that a server sends reaches its handlers as it is", async (t) => {
  for (const { name, frame, event, data } of events.filter(({ event }) => event !== "ack")) {
    const world = new World(t);
    await world.welcome();
    /** @type {any[]} */
    const got = [];
    world.socket.on(event, (it) => got.push(it));
    world.ws.raw(frame);
    assert.deepEqual(got, [data], name);
  }
});

test("every acknowledgement settles its request: with the data, or with the error", async (t) => {
  for (const { name, frame, ackId, data } of events.filter(({ event }) => event === "ack")) {
    const world = new World(t);
    await world.welcome();
    const asking = world.socket.emitWithAck("anything");
    asking.catch(() => {});
    world.ws.raw(frame.replace(`"ackId":${ackId},`, `"ackId":${world.ws.one("anything").ackId},`));
    if (!data.error) assert.deepEqual(await asking, data, name);
    else {
      const error = await asking.catch((it) => it);
      assert.ok(error instanceof ParleyError, name);
      const { code, message, fields, retryAfter } = error;
      assert.deepEqual({ error: message, code, fields, retryAfter }, { fields: undefined, retryAfter: undefined, ...data }, name);
    }
  }
});

test("the room takes every event; nothing is logged as broken", async (t) => {
  const errors = t.mock.method(console, "error", () => {});
  const world = new World(t);
  const room = await world.join({ answer: { seq: 0 } });
  /** @type {string[]} */
  const told = [];
  for (const event of ["message", "joined", "left", "users", "typing"]) room.on(event, () => told.push(event));
  await settled();
  for (const { frame } of events.filter(({ event }) => event !== "ack" && event !== "welcome")) world.ws.raw(frame);
  await settled();
  assert.deepEqual(new Set(told), new Set(["message", "joined", "left", "users", "typing"]));
  assert.equal(errors.mock.callCount(), 0);
});

test("the room takes every answer to a login", async (t) => {
  const logins = events.filter(({ name }) => /^ack of login(?!, renewal)/.test(name));
  assert.ok(logins.length >= 4);
  for (const { name, data } of logins) {
    const world = new World(t);
    const room = await world.join({ answer: entered({ epoch: "before", seq: 1 }) });
    /** @type {any[]} */
    const got = [];
    room.on("message", ({ seq }) => got.push(seq));
    room.on("gap", ({ reason, after, before }) => got.push({ reason, after, before }));
    await settled();
    await world.comeBack(data);
    assert.deepEqual(got, [...(data.gap ? [data.gap] : []), ...data.messages.map((/** @type {any} */ { seq }) => seq)], name);
    assert.deepEqual([room.user, room.users, room.count, room.epoch, room.seq, room.locked], [data.user, data.users, data.count, data.epoch, data.seq, data.locked]);
  }
});

test("what the client sends are requests that the server takes", async (t) => {
  const world = new World(t);
  const room = await world.join({ options: { token: "a.b.c" } });
  await world.comeBack();
  const frames = [world.login];
  for (const ask of [
    () => room.send("hello"),
    () => room.typing(true),
    () => room.history({ before: 7, limit: 2 }),
    () => room.history({ after: 7 }),
    () => room.listUsers({ offset: 1, limit: 2 }),
    () => world.socket.probe(),
    () => room.leave(),
  ]) {
    Promise.resolve(ask()).catch(() => {});
    await settled();
  }
  frames.push(...world.ws.news(true));
  /** Which fields each event's data has in the golden requests. @type {Map<string, Set<string>>} */
  const known = new Map();
  for (const { event, data } of requests) {
    if (!known.has(event)) known.set(event, new Set());
    for (const field of Object.keys(data ?? {})) known.get(event)?.add(field);
  }
  const needsAck = new Set(["login", "logout", "history", "users", "ping"]);
  for (const { event, data, ackId, ...rest } of frames) {
    assert.deepEqual(rest, {});
    if (needsAck.has(event)) assert.ok(Number.isSafeInteger(ackId) && ackId >= 0, event);
    for (const field of Object.keys(data ?? {})) assert.ok(known.get(event)?.has(field), `${event}.${field}`);
  }
  assert.deepEqual(new Set(frames.map(({ event }) => event)), new Set([...needsAck, "roomMessage", "typing"]));
});
