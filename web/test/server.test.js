/** The client against the real server: the binary that PARLEY_BIN names, or one that is built here. */
import assert from "node:assert/strict";
import { execFileSync, spawn } from "node:child_process";
import { createSocket } from "node:dgram";
import { once } from "node:events";
import { mkdtempSync, rmSync } from "node:fs";
import { createRequire } from "node:module";
import { createServer } from "node:net";
import { tmpdir } from "node:os";
import { join as path } from "node:path";
import { createInterface } from "node:readline";
import { after, test } from "node:test";
import { fileURLToPath } from "node:url";
import { connect, join } from "../parley.js";
import { FakeStorage } from "./fake.js";

const WebSocket = /** @type {any} */ (globalThis.WebSocket ?? createRequire(import.meta.url)("ws").WebSocket);
const place = mkdtempSync(path(tmpdir(), "parley-"));
const binary = process.env.PARLEY_BIN ?? path(place, "parley");
if (!process.env.PARLEY_BIN) {
  execFileSync("go", ["build", "-o", binary, "."], { cwd: fileURLToPath(new URL("../..", import.meta.url)), stdio: "inherit" });
}
after(() => rmSync(place, { recursive: true }));

/**
 * A TCP port that is this test's alone, below those of outgoing connections: the UDP port of the same number is held
 * until the test ends, which is what the project's tests agree on (store/proctest).
 * @param {import("node:test").TestContext} t @returns {Promise<number>}
 */
async function freePort(t) {
  const port = 20000 + Math.floor(Math.random() * 12000);
  const kept = createSocket("udp4");
  const server = createServer();
  try {
    await once(kept.bind(port), "listening");
    t.after(() => kept.close());
    await once(server.listen(port), "listening");
    server.close();
    return port;
  } catch {
    return freePort(t);
  }
}

/** A server that ends with the test; `again` starts it once more at the same place. */
class Server {
  /** @type {import("node:child_process").ChildProcess | undefined} */ process;
  /** @type {number | undefined} */ port;
  /** @type {string[] | undefined} */ flags;

  /** @param {import("node:test").TestContext} t @param {...string} flags */
  static async start(t, ...flags) {
    const server = new Server();
    server.port = await freePort(t);
    server.flags = flags;
    await server.again();
    t.after(() => server.kill("SIGKILL"));
    return server;
  }

  async again() {
    const { port, flags } = this;
    const child = (this.process = spawn(binary, ["serve", "--addr", `127.0.0.1:${port}`, "--db", "", ...(flags ?? [])], { stdio: ["ignore", "pipe", "pipe"] }));
    const lines = [child.stdout, child.stderr].map((input) => createInterface({ input }));
    await Promise.any(lines.map((line) => once(line, "line"))); // it listens when it says so
    for (let up = false; !up; ) {
      assert.equal(child.exitCode, null, "the server has ended");
      up = await fetch(`http://127.0.0.1:${port}/healthz`).then(({ ok }) => ok, () => false);
    }
  }

  /** @param {NodeJS.Signals} signal */
  async kill(signal) {
    if (!this.process || this.process.exitCode !== null || this.process.signalCode) return;
    const ended = once(this.process, "exit");
    this.process.kill(signal);
    await ended;
  }

  get url() {
    return `http://127.0.0.1:${this.port}/ws`;
  }

  /** @param {import("node:test").TestContext} t @param {object} options @returns {Promise<import("../parley.js").Room>} */
  async join(t, options) {
    const room = await join({ url: this.url, WebSocket, storage: null, name: "Ann", room: "lobby", ...options });
    t.after(() => room.socket.disconnect());
    return room;
  }
}

/** The next event. @param {any} emitter @param {string} event @param {(...args: any[]) => unknown} [wanted] @returns {Promise<any>} */
const next = (emitter, event, wanted = () => true) =>
  new Promise((resolve) => {
    const off = emitter.on(event, (/** @type {any[]} */ ...args) => {
      if (!wanted(...args)) return;
      off();
      resolve(args[0]);
    });
  });

/** @param {import("../parley.js").Room} room */
const texts = (room) => {
  /** @type {(string | null)[]} */
  const got = [];
  room.on("message", ({ text }) => got.push(text));
  return got;
};

test("two people talk", async (t) => {
  const server = await Server.start(t);
  const ann = await server.join(t, {});
  const joined = next(ann, "joined");
  const ben = await server.join(t, { name: " Ben " });
  assert.equal((await joined).name, "Ben");
  assert.deepEqual([ben.user.name, ben.count, ben.users.map(({ name }) => name)], ["Ben", 2, ["Ann", "Ben"]]);
  await assert.rejects(server.join(t, { name: "ANN" }), { code: "name_taken" });
  await assert.rejects(server.join(t, { name: "" }), ({ code, fields }) => code === "invalid" && Boolean(fields.name));

  const heard = next(ben, "message");
  const receipt = await ann.send("hello");
  assert.equal(receipt.durability, "memory");
  const { text, from, own, live, seq } = await heard;
  assert.deepEqual({ text, from, own, live, seq }, { text: "hello", from: "Ann", own: false, live: true, seq: receipt.seq });

  const typing = next(ann, "typing");
  ben.typing(true);
  assert.deepEqual((await typing).map((/** @type {any} */ { name }) => name), ["Ben"]);
  assert.deepEqual((await ann.history({ limit: 1 })).messages.map(({ own, text }) => [own, text]), [[true, "hello"]]);
  assert.deepEqual((await ann.listUsers({ offset: 1 })).users.map(({ name }) => name), ["Ben"]);
  const { id } = await ann.socket.emitWithAck("ping");
  assert.equal(id, ann.user.id);

  const left = next(ann, "left");
  await ben.leave();
  assert.equal((await left).name, "Ben");
  await assert.rejects(ann.socket.emitWithAck("nonsense"), { code: "unknown_event" });
});

test("a room with a secret", async (t) => {
  const server = await Server.start(t);
  const secret = "correct horse battery staple";
  const ann = await server.join(t, { secret });
  assert.deepEqual([ann.locked, ann.encrypted], [true, true]);
  await ann.send("before");
  const ben = await server.join(t, { name: "Ben", secret });
  const got = texts(ben);
  const second = next(ben, "message", ({ text }) => text === "after");
  await ann.send("after");
  await second;
  assert.deepEqual(got, ["before", "after"]);
  await assert.rejects(server.join(t, { name: "Eve", secret: secret + "!" }), { code: "wrong_key" });
  await assert.rejects(server.join(t, { name: "Eve" }), { code: "wrong_key" });
});

test("the server is killed and comes back: nothing lost, nothing twice, in order", async (t) => {
  const server = await Server.start(t, "--db", path(place, "killed.db"));
  const ann = await server.join(t, {});
  const ben = await server.join(t, { name: "Ben" });
  const got = texts(ben);
  /** @type {any[]} */
  const gaps = [];
  ben.on("gap", (gap) => gaps.push(gap));
  const receipts = [];
  for (let i = 0; i < 3; i++) {
    for (let j = 0; j < 20; j++) receipts.push(ann.send(`${i}.${j}`));
    await receipts[20 * i + 5];
    await server.kill("SIGKILL");
    receipts.push(ann.send(`${i} while down`));
    await server.again();
    await receipts.at(-1);
  }
  const kept = await Promise.all(receipts);
  assert.deepEqual(kept.map(({ durability }) => durability), kept.map(() => "disk"));
  const done = next(ben, "message", ({ text }) => text === "end");
  await ann.send("end");
  await done;
  const want = [0, 1, 2].flatMap((i) => [...Array.from({ length: 20 }, (_, j) => `${i}.${j}`), `${i} while down`]);
  assert.deepEqual(got, [...want, "end"]);
  assert.deepEqual(gaps, []);
});

test("the server is restarted in order: goodbye, then back", async (t) => {
  const server = await Server.start(t, "--db", path(place, "drained.db"));
  const ann = await server.join(t, {});
  const bye = next(ann.socket, "goodbye");
  const lost = next(ann.socket, "disconnect");
  const back = next(ann, "resumed");
  const ended = server.kill("SIGTERM");
  assert.ok((await bye).reconnectIn >= 0);
  const last = ann.send("still taken");
  assert.equal((await lost).code, 1012);
  await ended;
  await server.again();
  await back;
  await last;
  assert.deepEqual((await ann.history()).messages.map(({ text }) => text), ["still taken"]);
});

test("the same session elsewhere: taken over, and taken back", async (t) => {
  const server = await Server.start(t);
  const storage = new FakeStorage();
  const options = { storage, locks: null };
  const one = await server.join(t, options);
  const ben = await server.join(t, { name: "Ben" });
  /** @type {any[]} */
  const noticed = [];
  for (const event of ["joined", "left"]) ben.on(event, () => noticed.push(event));
  const ended = next(one, "end");
  const two = await server.join(t, options);
  assert.equal((await ended).code, "taken_over");
  assert.equal(two.user.id, one.user.id);
  const back = next(one, "resumed");
  const other = next(two, "end");
  one.socket.connect();
  assert.equal((await back).resumed, true);
  assert.equal((await other).code, "taken_over");
  await one.send("here");
  assert.deepEqual(noticed, [], "nobody else saw a thing");
});

test("a server with a rate: everything arrives, nobody is refused", async (t) => {
  const server = await Server.start(t, "--rate", "50", "--burst", "5");
  const ann = await server.join(t, {});
  const got = texts(ann);
  const sent = Array.from({ length: 40 }, (_, i) => `${i}`);
  const last = next(ann, "message", ({ text }) => text === sent.at(-1));
  await Promise.all(sent.map((text) => ann.send(text)));
  await last;
  assert.deepEqual(got, sent);
  assert.equal(ann.socket.state.state, "connected");
});

test("a large room: presence is folded", async (t) => {
  const server = await Server.start(t, "--users-limit", "3");
  const ann = await server.join(t, {});
  const all = next(ann, "users", (users, count) => users.length === 8 && count === 8);
  const others = await Promise.all(Array.from({ length: 7 }, (_, i) => server.join(t, { name: `U${i}` })));
  await all;
  const fewer = next(ann, "users", (users, count) => users.length === 2 && count === 2);
  await Promise.all(others.slice(1).map((room) => room.leave()));
  await fewer;
  assert.deepEqual(ann.users.map(({ name }) => name), ["Ann", "U0"]);
});

test("a server that is not there yet", async (t) => {
  const warn = t.mock.method(console, "warn", () => {});
  const port = await freePort(t);
  const socket = connect(`ws://127.0.0.1:${port}/ws`, { WebSocket, storage: null });
  t.after(() => socket.disconnect());
  const joining = socket.join({ name: "Ann", room: "lobby", timeout: 0 });
  await next(socket, "reconnecting");
  assert.equal(warn.mock.callCount(), 1);
  const server = new Server();
  server.port = port;
  t.after(() => server.kill("SIGKILL"));
  await server.again();
  assert.equal((await joining).joined, true);
});
