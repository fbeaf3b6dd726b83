// Two properties of the reader, each over thousands of schedules from a seeded generator:
// an honest room shows no mark, however it is loaded; and whatever a server does, the reader says
// what a plain reading of section 9's table says of all that it was given.
import assert from "node:assert/strict";
import { test } from "node:test";
import { Reader } from "../reader.js";
import { keys, Member, Page, put } from "./private-room.js";

/**
 * @import {Payload, Update} from "../reader.js"
 * @typedef {() => Promise<Update>} Delivery
 */

const SCHEDULES = 1500;

/** @param {number} seed */
function generator(seed) {
  let state = seed;
  const next = () => {
    state = (state + 0x6d2b79f5) | 0;
    let t = Math.imul(state ^ (state >>> 15), 1 | state);
    t = (t + Math.imul(t ^ (t >>> 7), 61 | t)) ^ t;
    return ((t ^ (t >>> 14)) >>> 0) / 2 ** 32;
  };
  const below = (/** @type {number} */ n) => Math.floor(next() * n);
  return {
    below,
    chance: (/** @type {number} */ p) => next() < p,
    pick: /** @template T @param {T[]} list @returns {T} */ (list) => list[below(list.length)],
  };
}

/** Messages of one page load, in the order written; it changes its name on the way. */
async function stream(/** @type {string[]} */ ...names) {
  const member = new Member(names[0]);
  const sealed = [];
  for (let i = 0; i < 24; i++) {
    member.from = names[Math.floor((i * names.length) / 24)];
    sealed.push(await member.write(`${member.from} ${i}`));
  }
  return sealed;
}

const streams = [await stream("Ann"), await stream("Bob", "Rob"), await stream("Ann"), await stream("Cem")];

/** A server that keeps the protocol: a log that skips numbers and forgets its oldest. */
class Server {
  /** @type {Payload[]} */
  log = [];
  seq = 0;
  trimmed = 0; // the newest seq that retention has dropped

  append(/** @type {import("./private-room.js").Sealed} */ sealed, skip = 0) {
    this.seq += 1 + skip;
    this.log.push(put(sealed, this.seq));
  }

  trim(/** @type {number} */ count) {
    for (const { seq } of this.log.splice(0, count)) this.trimmed = seq;
  }

  login(/** @type {number | undefined} */ since, most = 6) {
    const after = since === undefined ? this.log : this.log.filter((m) => m.seq > since);
    const recovered = since === undefined ? undefined : after.length <= most && this.trimmed <= since;
    return { messages: after.slice(-most), seq: this.seq, recovered };
  }
}

test("an honest room shows no mark, in whatever order its pages and events arrive", async () => {
  let reloaded = 0;
  let recoveries = 0;
  let trimmed = 0;
  for (let seed = 1; seed <= SCHEDULES; seed++) {
    const random = generator(seed);
    const server = new Server();
    const unsent = streams.map((sealed) => [...sealed]);
    const reader = new Reader(keys, random.chance(0.2) ? 8 : undefined);
    const page = new Page();
    let wire = /** @type {Delivery[] | undefined} */ (undefined); // on its way from the server, in order; undefined: not connected
    /** @type {Delivery[]} answers to `history`, handed over whenever the page comes to it */
    const pages = [];
    /** @type {number | undefined} */
    let since;
    const receive = async (/** @type {Delivery | undefined} */ next) => {
      if (next) page.apply(await next());
      assert.equal(page.marks.size, 0, `seed ${seed}: ${page.lines().join("\n")}`);
    };
    const connect = () => {
      const asked = random.chance(0.8) ? since : undefined;
      const answer = server.login(asked);
      if (answer.recovered) recoveries++;
      wire = [() => {
        since = Math.max(since ?? 0, answer.seq);
        return reader.login(answer, asked);
      }];
    };
    const steps = 20 + random.below(60);
    for (let step = 0; step < steps; step++) {
      const what = random.below(10);
      if (what < 4) {
        const sealed = random.pick(unsent).shift();
        if (!sealed) continue;
        server.append(sealed, random.chance(0.3) ? random.below(4) : 0);
        const payload = server.log[server.log.length - 1];
        wire?.push(() => {
          since = payload.seq;
          return reader.live(payload);
        });
      } else if (what < 6) {
        await receive(wire?.shift());
      } else if (what === 6) {
        if (!wire) connect();
        else if (random.chance(0.4)) wire = undefined;
      } else if (what === 7 && since !== undefined) {
        const before = 1 + random.below(server.seq + 1);
        const messages = server.log.filter((m) => m.seq < before).slice(-1 - random.below(6));
        pages.push(() => reader.page(messages, before));
      } else if (what === 8 && since !== undefined) {
        const after = random.below(server.seq + 1);
        const messages = server.log.filter((m) => m.seq > after).slice(0, 1 + random.below(6));
        pages.push(() => reader.page(messages));
      } else if (what === 9) {
        if (pages.length > 0) await receive(pages.splice(random.below(pages.length), 1)[0]);
        else if (random.chance(0.2)) server.trim(random.below(8));
      }
    }
    for (const next of [...pages, () => reader.page(server.log, server.seq + 1)]) await receive(next);
    const shown = new Map([...page.rows.values()].map((row) => [row.seq, row]));
    for (const { seq } of server.log) assert.ok(shown.has(seq), `seed ${seed}: everything is shown`);
    for (const row of page.rows.values()) {
      assert.ok(row.verdict === "ok" && !row.outOfOrder && !row.clock, `seed ${seed}: ${page.lines().join("\n")}`);
    }
    reloaded += Number(page.rows.size > shown.size);
    trimmed += Number(server.trimmed > 0);
  }
  // The schedules do go where they should.
  assert.ok(recoveries > SCHEDULES / 10 && trimmed > SCHEDULES / 10 && reloaded > SCHEDULES / 50, `${recoveries}, ${trimmed}, ${reloaded}`);
});

/**
 * What section 9 says of all these messages, looked up one by one.
 * @param {Known[]} known
 * @param {Set<number>} loaded every seq that was within a loaded stretch
 * @typedef {{seq: number, from: string, key: string, stream: string, n: number, opens: boolean}} Known
 */
function plainReading(known, loaded) {
  const good = known.filter((m) => m.opens);
  const same = (/** @type {Known} */ a, /** @type {Known} */ b) =>
    (a.from === b.from && a.key === b.key) || (a.stream === b.stream && a.n === b.n);
  const lines = known.map((m) => {
    if (!m.opens) return `${m.seq} unverified`;
    if (good.some((other) => other.seq < m.seq && same(m, other))) return `${m.seq} repeated`;
    const late = good.some((other) => other.stream === m.stream && other.n > m.n && other.seq < m.seq);
    return `${m.seq} ok ${m.stream} ${m.n}${late ? " out of order" : ""}`;
  });
  const together = (/** @type {Known} */ a, /** @type {Known} */ b) => {
    for (let seq = Math.min(a.seq, b.seq); seq <= Math.max(a.seq, b.seq); seq++) if (!loaded.has(seq)) return false;
    return true;
  };
  for (const name of new Set(good.map((m) => m.stream))) {
    // A repetition stands where the server likes: it says nothing about what is missing around it.
    const members = good.filter((m) => m.stream === name && !good.some((o) => o.stream === name && o.n === m.n && o.seq < m.seq));
    const numbers = new Set(members.map((m) => m.n));
    for (let n = 1; n < Math.max(...numbers); n++) {
      const between = members.some((a) => a.n < n && members.some((b) => b.n > n && together(a, b)));
      if (!numbers.has(n) && between) lines.push(`missing ${name} ${n}`);
    }
  }
  return lines.sort();
}

/** The same of what the page shows. */
function shownBy(/** @type {Page} */ page, /** @type {Map<string, string>} */ labels) {
  const lines = [...page.rows.values()].map((m) => `${m.seq} ${m.verdict}${m.text ? " " + m.text : ""}${m.outOfOrder ? " out of order" : ""}`);
  for (const { id, first, last } of page.marks.values()) {
    const name = labels.get(id.slice(id.indexOf("/") + 1));
    for (let n = first; n <= last; n++) lines.push(`missing ${name} ${n}`);
  }
  return lines.sort();
}

test("whatever a server does, the reader says what a plain reading of the table says", async () => {
  /** @type {{sealed: import("./private-room.js").Sealed, about: Omit<Known, "seq">}[]} */
  const pool = [];
  /** @type {Map<string, string>} */
  const labels = new Map();
  for (const [label, from] of [["s1", "Ann"], ["s2", "Bob"], ["s3", "Ann"]]) {
    const member = new Member(from);
    labels.set(member.stream, label);
    for (let n = 1; n <= 9; n++) {
      const sealed = await member.write(`${label} ${n}`);
      const about = { from, key: sealed.key, stream: label, n, opens: true };
      pool.push({ sealed, about });
      if (n === 4) pool.push({ sealed: { ...sealed, message: "plain" }, about: { ...about, opens: false } });
    }
    // A member who cheats uses a number, and a key, twice.
    for (const twice of [{ n: 5 }, { n: 12, key: pool[pool.length - 3].sealed.key }]) {
      const sealed = await member.write(`${label} ${twice.n}`, twice);
      pool.push({ sealed, about: { from, key: sealed.key, stream: label, n: twice.n, opens: true } });
    }
  }
  const seen = { repeated: 0, missing: 0, "out of order": 0 };
  for (let seed = 1; seed <= SCHEDULES; seed++) {
    const random = generator(seed * 7919);
    const reader = new Reader(keys);
    const page = new Page();
    /** @type {Map<number, {payload: Payload, about: Known}>} what the server puts where */
    const places = new Map();
    const length = 10 + random.below(30);
    const order = random.chance(0.5); // else at random
    for (let seq = 1; seq <= length; seq++) {
      if (random.chance(0.2)) continue;
      const { sealed, about } = order && random.chance(0.9) ? pool[Math.floor((seq * pool.length) / (length + 1))] : random.pick(pool);
      places.set(seq, { payload: put(sealed, seq), about: { ...about, seq } });
    }
    /** @type {Map<number, Known>} */
    const known = new Map();
    /** @type {Set<number>} */
    const loaded = new Set();
    let end = -1;
    for (let call = 0; call < 8; call++) {
      const from = 1 + random.below(length);
      const to = Math.min(length, from + random.below(8));
      const given = [];
      for (let seq = from; seq <= to; seq++) {
        const place = places.get(seq);
        if (!place || random.chance(0.1)) continue;
        given.push(place.payload);
        known.set(seq, place.about);
      }
      let first = given[0]?.seq ?? Infinity;
      let last = given.at(-1)?.seq ?? -Infinity;
      const kind = random.below(3);
      if (kind === 0) {
        const since = random.chance(0.5) ? random.below(from) : undefined;
        const recovered = random.chance(0.5);
        page.apply(await reader.login({ messages: given, seq: to, recovered }, since));
        if (recovered && since !== undefined) first = Math.min(first, since + 1);
        last = end = to;
      } else if (kind === 1) {
        const before = to + 1;
        page.apply(await reader.page(random.chance(0.5) ? given : given.toReversed(), before));
        if (before <= end + 1) last = Math.max(last, to);
      } else {
        for (const payload of given) page.apply(await reader.live(payload));
        if (given.length > 0 && end >= 0) first = Math.min(first, end + 1);
        if (given.length > 0) last = end = Math.max(end, last);
      }
      for (let seq = first; seq <= last; seq++) loaded.add(seq);
      const said = shownBy(page, labels);
      assert.deepEqual(said, plainReading([...known.values()], loaded), `seed ${seed}, call ${call}`);
      for (const word of /** @type {(keyof typeof seen)[]} */ (Object.keys(seen))) seen[word] += Number(said.some((line) => line.includes(word)));
    }
  }
  for (const [word, count] of Object.entries(seen)) assert.ok(count > SCHEDULES, `${word}: ${count}`);
});

test("what was forgotten may come again; what is kept is judged as before", async () => {
  const ann = new Member("Ann");
  const reader = new Reader(keys, 100);
  const page = new Page();
  const log = [];
  for (let seq = 1; seq <= 300; seq++) log.push(put(await ann.write(`m${seq}`), seq));
  for (const payload of log) page.apply(await reader.live(payload));
  page.apply(await reader.live(put(log[290], 301)));
  assert.equal(page.lines().at(-1), "301 Ann: (repeated)");
  const again = await reader.page(log.slice(0, 50));
  assert.equal(again.messages.length, 50);
  assert.ok(again.messages.every((m) => m.verdict === "ok" && !m.outOfOrder));
  assert.equal(again.missing.length, 0);
});

test("2,000 messages of scrollback, and each live one after, are judged in little time", async (t) => {
  const members = Array.from({ length: 20 }, (_, i) => new Member(`Member ${i}`));
  const log = [];
  for (let seq = 1; seq <= 4000; seq++) log.push(put(await members[(seq * 7) % 20].write("x"), seq));
  const reader = new Reader(keys);
  const page = new Page();
  await reader.login({ messages: log.slice(1950, 2000), seq: 2000 });
  const used = () => { // of the processor: what others take of it does not count
    const { user, system } = process.cpuUsage();
    return (user + system) / 1000;
  };
  let began = used();
  for (let end = 1950; end > 0; end -= 50) page.apply(await reader.page(log.slice(end - 50, end), end + 1));
  const scrollback = used() - began;
  began = used();
  for (let seq = 2000; seq < 4000; seq++) await reader.live(log[seq]);
  const live = used() - began;
  t.diagnostic(`scrollback ${scrollback.toFixed()} ms, 2,000 live ${live.toFixed()} ms, opening included`);
  assert.equal(page.marks.size, 0);
  assert.ok(scrollback < 5000 && live < 5000, `${scrollback} ms, ${live} ms`);
});
