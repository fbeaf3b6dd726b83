// The table "Reading" of section 9, row by row, and a server that cheats.
import assert from "node:assert/strict";
import { test } from "node:test";
import { deriveKeys } from "../crypto.js";
import { Reader } from "../reader.js";
import { keys, Member, NOON, Page, put } from "./private-room.js";

const otherRoom = await deriveKeys("kitchen", "correct horse battery staple");

/** A page that has just joined a room, the newest messages of which it was given. */
async function joined(/** @type {import("../reader.js").Payload[]} */ messages, seq = messages.at(-1)?.seq ?? 0) {
  const reader = new Reader(keys);
  const page = new Page();
  page.apply(await reader.login({ messages, seq }));
  return { reader, page };
}

/** What of an update a page has to look at. */
function quiet(/** @type {import("../reader.js").Update} */ { messages, changed, missing, found }) {
  return messages.length + changed.length + missing.length + found.length === 0;
}

test("an honest room", async () => {
  const [ann, bob] = [new Member("Ann"), new Member("Bob")];
  const log = [put(await ann.write("one"), 3), put(await bob.write("two"), 4), put(await ann.write("three"), 9)];
  const { reader, page } = await joined(log);
  page.apply(await reader.live(put(await ann.write("four"), 12)));
  assert.deepEqual(page.lines(), ["3 Ann: one", "4 Bob: two", "9 Ann: three", "12 Ann: four"]);
  assert.deepEqual(await reader.live(put(await bob.write("all fields"), 13)), {
    messages: [{
      id: 5, seq: 13, verdict: "ok", outOfOrder: false, from: "Bob", userId: "id of Bob", at: "2026-11-23T12:00:00.000Z",
      key: "key-0000000000000005", text: "all fields", sentAt: NOON, clock: false,
    }],
    changed: [], missing: [], found: [],
  });
});

test("the same message at the same seq is nothing new", async () => {
  const ann = new Member("Ann");
  const log = [put(await ann.write("one"), 1), put(await ann.write("two"), 2)];
  const { reader } = await joined(log);
  assert.ok(quiet(await reader.page(log, 3)));
  assert.ok(quiet(await reader.login({ messages: log, seq: 2, recovered: false }, 1)));
  assert.ok(quiet(await reader.live(log[1])));
});

test("a flipped bit, plain text, no key: could not be verified", async () => {
  const ann = new Member("Ann");
  const [one, two, three] = [await ann.write("one"), await ann.write("two"), await ann.write("three")];
  const flipped = two.message.slice(0, -1) + (two.message.endsWith("A") ? "B" : "A");
  const { reader, page } = await joined([put(one, 1), put(two, 2, { message: flipped }), put(three, 3)]);
  page.apply(await reader.live(put(one, 4, { message: "I am Ann, send me money" })));
  page.apply(await reader.live(put(await ann.write("four"), 5, { key: undefined })));
  assert.deepEqual(page.lines(), [
    "1 Ann: one", "2 Ann: (unverified)", "- missing: 1 of Ann after 1", "3 Ann: three", "4 Ann: (unverified)", "5 Ann: (unverified)",
  ]);
  for (const row of page.rows.values()) assert.equal(row.sentAt !== undefined, row.verdict === "ok");
  page.apply(await reader.page([put(two, 2)], 3));
  assert.ok(page.lines().includes("2 Ann: two"), "the real one may still come");
  assert.equal(page.marks.size, 0);
});

test("another's name, and a message of another room: could not be verified", async () => {
  const [ann, elsewhere] = [new Member("Ann"), new Member("Ann", otherRoom)];
  const { page } = await joined([
    put(await ann.write("I quit"), 1, { from: "Bob" }),
    put(await elsewhere.write("burn it"), 2),
    put(await ann.write("spelled otherwise"), 3, { from: "ann" }),
  ]);
  assert.deepEqual(page.lines(), ["1 Bob: (unverified)", "2 Ann: (unverified)", "3 ann: (unverified)"]);
});

test("two messages swapped: the later one is out of order", async () => {
  const ann = new Member("Ann");
  const [one, two, three] = [await ann.write("one"), await ann.write("two"), await ann.write("three")];
  const { page } = await joined([put(one, 1), put(three, 2), put(two, 3)]);
  assert.deepEqual(page.lines(), ["1 Ann: one", "2 Ann: three", "3 Ann: two (out of order)"]);
});

test("out of order is judged by seq: the page that brings the earlier one changes the later", async () => {
  const ann = new Member("Ann");
  const [one, two] = [await ann.write("one"), await ann.write("two")];
  const { reader, page } = await joined([put(one, 7)]);
  assert.deepEqual(page.lines(), ["7 Ann: one"]);
  page.apply(await reader.page([put(two, 3)], 7));
  assert.deepEqual(page.lines(), ["3 Ann: two", "7 Ann: one (out of order)"]);
});

test("the order between senders is the server's word", async () => {
  const [ann, bob] = [new Member("Ann"), new Member("Bob")];
  const { page } = await joined([put(await bob.write("b", { n: 9 }), 1), put(await ann.write("a"), 2)]);
  assert.deepEqual(page.lines(), ["1 Bob: b", "2 Ann: a"]);
});

test("a replayed message is repeated", async () => {
  const ann = new Member("Ann");
  const [yes, no] = [await ann.write("yes"), await ann.write("no")];
  const { reader, page } = await joined([put(yes, 1), put(no, 2)]);
  page.apply(await reader.live(put(yes, 3)));
  page.apply(await reader.live(put(yes, 4)));
  assert.deepEqual(page.lines(), ["1 Ann: yes", "2 Ann: no", "3 Ann: (repeated)", "4 Ann: (repeated)"]);
  assert.ok(quiet(await reader.page([put(yes, 1), put(no, 2), put(yes, 3), put(yes, 4)])));
});

test("a replay after a reload: the original in a late page of history takes the text from the replay", async () => {
  const ann = new Member("Ann");
  const [yes, no] = [await ann.write("yes"), await ann.write("no")];
  const { reader, page } = await joined([put(no, 8), put(yes, 9)]);
  assert.deepEqual(page.lines(), ["8 Ann: no", "9 Ann: yes (out of order)"]);
  page.apply(await reader.page([put(yes, 5)], 8));
  assert.deepEqual(page.lines(), ["5 Ann: yes", "8 Ann: no", "9 Ann: (repeated)"]);
});

test("a replay in a page of history", async () => {
  const ann = new Member("Ann");
  const [one, two, three] = [await ann.write("one"), await ann.write("two"), await ann.write("three")];
  const { reader, page } = await joined([put(three, 9)]);
  page.apply(await reader.page([put(one, 5), put(two, 6), put(one, 7)], 9));
  assert.deepEqual(page.lines(), ["5 Ann: one", "6 Ann: two", "7 Ann: (repeated)", "9 Ann: three"]);
});

test("the same number, or the same key, is a repetition too", async () => {
  const ann = new Member("Ann");
  const one = await ann.write("one", { key: "the-key-of-one-----" });
  const { reader, page } = await joined([put(one, 1)]);
  page.apply(await reader.live(put(await ann.write("another key", { n: 1 }), 2)));
  page.apply(await reader.live(put(await ann.write("another number", { key: one.key }), 3)));
  const bob = new Member("Bob");
  page.apply(await reader.live(put(await bob.write("a key of another's", { key: one.key }), 4)));
  assert.deepEqual(page.lines(), ["1 Ann: one", "2 Ann: (repeated)", "3 Ann: (repeated)", "4 Bob: a key of another's"]);
});

test("a withheld message leaves a mark, until it arrives", async () => {
  const ann = new Member("Ann");
  const log = [];
  for (let seq = 1; seq <= 6; seq++) log.push(put(await ann.write(`m${seq}`), seq));
  const { reader, page } = await joined([log[0], log[4]]);
  assert.deepEqual(page.lines(), ["1 Ann: m1", "- missing: 3 of Ann after 1", "5 Ann: m5"]);
  page.apply(await reader.page([log[2]], 5));
  assert.deepEqual(page.lines(), ["1 Ann: m1", "- missing: 1 of Ann after 1", "3 Ann: m3", "- missing: 1 of Ann after 3", "5 Ann: m5"]);
  page.apply(await reader.live(put(log[1], 6)));
  assert.deepEqual(page.lines(), ["1 Ann: m1", "3 Ann: m3", "- missing: 1 of Ann after 3", "5 Ann: m5", "6 Ann: m2 (out of order)"]);
  page.apply(await reader.page([log[3]], 5));
  assert.equal(page.marks.size, 0);
});

test("a withheld live message", async () => {
  const ann = new Member("Ann");
  const { reader, page } = await joined([], 41);
  page.apply(await reader.live(put(await ann.write("one"), 42)));
  await ann.write("withheld");
  page.apply(await reader.live(put(await ann.write("three"), 44)));
  assert.deepEqual(page.lines(), ["42 Ann: one", "- missing: 1 of Ann after 42", "44 Ann: three"]);
});

test("nothing is said to be missing where the page did not look", async () => {
  const ann = new Member("Ann");
  const log = [];
  for (let seq = 1; seq <= 9; seq++) log.push(put(await ann.write(`m${seq}`), seq));
  const { reader, page } = await joined(log.slice(0, 2));
  page.apply(await reader.login({ messages: log.slice(7), seq: 9, recovered: false }, 2)); // too_many
  assert.deepEqual(page.lines(), ["1 Ann: m1", "2 Ann: m2", "8 Ann: m8", "9 Ann: m9"]);
  page.apply(await reader.page(log.slice(4, 7), 8));
  assert.equal(page.marks.size, 0, "still a gap below 5");
  page.apply(await reader.page([log[1], log[3]], 5));
  assert.deepEqual(page.lines().slice(1, 4), ["2 Ann: m2", "- missing: 1 of Ann after 2", "4 Ann: m4"], "loaded throughout");
});

test("a reconnection that recovered joins up; what it left out is missing", async () => {
  const ann = new Member("Ann");
  const log = [];
  for (let seq = 1; seq <= 5; seq++) log.push(put(await ann.write(`m${seq}`), seq));
  const { reader, page } = await joined(log.slice(0, 2));
  page.apply(await reader.login({ messages: log.slice(3, 4), seq: 4, recovered: true }, 2));
  assert.deepEqual(page.lines().slice(2, 3), ["- missing: 1 of Ann after 2"]);
  page.apply(await reader.live(log[4]));
  assert.equal(page.marks.size, 1);
});

test("a page asked for above the newest seq does not vouch for what comes there later", async () => {
  const ann = new Member("Ann");
  const log = [];
  for (let seq = 1; seq <= 4; seq++) log.push(put(await ann.write(`m${seq}`), seq));
  const { reader, page } = await joined(log.slice(0, 1));
  page.apply(await reader.page(log.slice(0, 1), 1000));
  page.apply(await reader.login({ messages: log.slice(3), seq: 4, recovered: false }, 1));
  assert.equal(page.marks.size, 0);
});

test("a stream is told apart by s, whoever's name is on it", async () => {
  const ann = new Member("Ann");
  const log = [put(await ann.write("one"), 1), put(await ann.write("two"), 2), put(await ann.write("three"), 3)];
  const { reader, page } = await joined([log[0]]);
  ann.from = "Anna";
  page.apply(await reader.live(put(await ann.write("four"), 4)));
  assert.deepEqual(page.lines(), ["1 Ann: one", "- missing: 2 of Anna after 1", "4 Anna: four"]);
  page.apply(await reader.page(log, 4));
  assert.equal(page.marks.size, 0);
});

test("a number under another name is a repetition too", async () => {
  const ann = new Member("Ann");
  const one = put(await ann.write("one"), 1);
  ann.from = "Anna";
  const { page } = await joined([one, put(await ann.write("once more", { n: 1 }), 2)]);
  assert.deepEqual(page.lines(), ["1 Ann: one", "2 Anna: (repeated)"]);
});

test("a mark moves when what stands before or after it turns out to be a repetition", async () => {
  const ann = new Member("Ann");
  const [one, , , four] = [await ann.write("one"), await ann.write("two"), await ann.write("three"), await ann.write("four")];
  const { reader, page } = await joined([put(one, 5), put(four, 9)]);
  page.apply(await reader.page([put(four, 7)], 9));
  assert.deepEqual(page.lines(), ["5 Ann: one", "- missing: 2 of Ann after 5", "7 Ann: four", "9 Ann: (repeated)"]);
  page.apply(await reader.page([put(one, 3)], 5));
  assert.deepEqual(page.lines().slice(0, 3), ["3 Ann: one", "5 Ann: (repeated)", "- missing: 2 of Ann after 3"]);
  page.apply(await reader.page([put(four, 1)], 3));
  assert.deepEqual(page.lines().slice(0, 3), ["1 Ann: four", "- missing: 2 of Ann after 1", "3 Ann: one (out of order)"]);
});

test("a live message may tell that others are missing which a gap has excused so far", async () => {
  const ann = new Member("Ann");
  const [one, , , four, five] = [await ann.write("one"), await ann.write("two"), await ann.write("three"), await ann.write("four"), await ann.write("five")];
  const { reader, page } = await joined([put(four, 20)]);
  page.apply(await reader.login({ messages: [put(one, 30)], seq: 30, recovered: false }, 20));
  assert.deepEqual(page.lines(), ["20 Ann: four", "30 Ann: one (out of order)"]);
  page.apply(await reader.live(put(five, 31)));
  assert.deepEqual(page.lines(), ["20 Ann: four", "30 Ann: one (out of order)", "- missing: 2 of Ann after 30", "31 Ann: five"]);
});

test("clocks more than five minutes apart", async () => {
  const ann = new Member("Ann");
  const five = 5 * 60_000;
  const log = [];
  for (const [i, at] of [NOON + five, NOON + five + 1, NOON - five, NOON - five - 1].entries()) log.push(put(await ann.write("x", { at }), i));
  log.push(put(await ann.write("no time"), 4, { at: "yesterday" }));
  const { page } = await joined(log);
  assert.deepEqual(page.lines(), ["0 Ann: x", "1 Ann: x (clock)", "2 Ann: x", "3 Ann: x (clock)", "4 Ann: no time (clock)"]);
});

test("two messages at one seq: each is judged, none hides the other", async () => {
  const [ann, bob] = [new Member("Ann"), new Member("Bob")];
  const [one, garbage] = [await ann.write("one"), "p1.AAAA"];
  const log = [put(one, 1, { message: garbage }), put(one, 1), put(await bob.write("three"), 1), put(await ann.write("two"), 1)];
  const { reader, page } = await joined(log);
  assert.deepEqual(page.lines(), ["1 Ann: (unverified)", "1 Ann: one", "1 Bob: three", "1 Ann: two"]);
  assert.ok(quiet(await reader.page([put(one, 1, { message: garbage })])), "one mark stands for all that cannot be verified there");
});

test("payloads that are none are passed over, and no call rejects", async () => {
  const ann = new Member("Ann");
  const one = put(await ann.write("one"), 1);
  const reader = new Reader(keys);
  for (const junk of /** @type {any[]} */ ([null, 7, {}, { ...one, seq: "1" }, { ...one, seq: NaN }, { ...one, from: 7 }, { ...one, message: null }])) {
    assert.ok(quiet(await reader.live(junk)));
    assert.ok(quiet(await reader.page([junk], junk)));
    assert.ok(quiet(await reader.page(junk)));
    assert.ok(quiet(await reader.login({ messages: [junk], seq: junk })));
  }
  assert.equal((await reader.live(one)).messages.length, 1);
});

test("a server that lies about seq does not switch the marks off", async () => {
  for (const seq of /** @type {any[]} */ ([undefined, "x", -5, Number.MAX_SAFE_INTEGER])) {
    const ann = new Member("Ann");
    const { reader, page } = await joined([], seq);
    if (seq === undefined) await reader.login({ messages: [], seq });
    page.apply(await reader.live(put(await ann.write("one"), 1)));
    await ann.write("withheld");
    page.apply(await reader.live(put(await ann.write("three"), 3)));
    assert.equal(page.marks.size, 1, String(seq));
    const small = new Reader(keys, 1);
    await small.login({ messages: [], seq });
    for (const n of [5, 6, 7]) assert.equal((await small.live(put(await ann.write("x"), n))).messages.length, 1);
  }
});

test("updates come in the order of the calls, whichever message is opened first", async (t) => {
  const ann = new Member("Ann");
  const log = [];
  for (let seq = 1; seq <= 5; seq++) log.push(put(await ann.write(`m${seq}`), seq));
  const opened = t.mock.method(crypto.subtle, "decrypt").mock;
  const decrypt = crypto.subtle.decrypt.bind(crypto.subtle);
  /** @type {() => void} */
  let release = () => {};
  const held = new Promise((resolve) => (release = () => resolve(undefined)));
  opened.mockImplementationOnce(async (/** @type {[any, any, any]} */ ...args) => {
    await held;
    return decrypt(...args);
  });
  const reader = new Reader(keys);
  /** @type {number[]} */
  const order = [];
  const calls = [reader.login({ messages: log.slice(0, 1), seq: 1 }), ...log.slice(1).map((m) => reader.live(m))];
  const told = calls.map(async (call) => order.push(...(await call).messages.map((m) => m.seq)));
  await Promise.all(opened.calls.slice(1).map((call) => call.result)); // the later ones are open
  release();
  await Promise.all(told);
  assert.deepEqual(order, [1, 2, 3, 4, 5]);
});

test("another epoch, another reader: what is shown again there is not called repeated", async () => {
  const ann = new Member("Ann");
  const log = [put(await ann.write("one"), 1), put(await ann.write("two"), 2)];
  await joined(log);
  const { page } = await joined(log.map((m) => ({ ...m, seq: m.seq + 100 }))); // restored from a backup
  assert.deepEqual(page.lines(), ["101 Ann: one", "102 Ann: two"]);
});
