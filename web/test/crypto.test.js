// Section 9 against the vectors in protocol/testdata/crypto.json, which the Go tests check with
// another library, and against Node's own crypto module.
import assert from "node:assert/strict";
import { createDecipheriv, hkdfSync, pbkdf2Sync } from "node:crypto";
import { readFileSync } from "node:fs";
import { test } from "node:test";
import * as parley from "../crypto.js";

const vectors = JSON.parse(readFileSync(new URL("../../protocol/testdata/crypto.json", import.meta.url), "utf8"));
const hex = (/** @type {string} */ digits) => Buffer.from(digits, "hex");
const [lobby] = vectors.rooms;
const keys = await parley.deriveKeys(lobby.room, lobby.secret);
const outgoing = { from: "Ann", key: "0123456789abcdef", text: "hello", stream: parley.newStream(), n: 1, at: 1795460400123 };

for (const room of vectors.rooms) {
  test(`vectors: ${room.about}`, async () => {
    assert.equal(parley.prepare(room.room), room.preparedRoom);
    assert.equal(parley.checkSecret(room.secret).secret, room.preparedSecret);
    const derived = await parley.deriveKeys(room.room, room.secret);
    assert.equal(derived.room, room.preparedRoom);
    assert.equal(derived.access, room.access);
    const master = pbkdf2Sync(room.preparedSecret, hex(room.salt), 600_000, 32, "sha256");
    assert.equal(master.toString("hex"), room.master);
    assert.equal(Buffer.from(hkdfSync("sha256", master, "", "parley/v1/encrypt", 32)).toString("hex"), room.enc);
    for (const m of room.messages) {
      assert.equal(parley.prepare(m.from), m.preparedFrom);
      const opened = await parley.open(derived, { message: m.sealed, from: m.preparedFrom, key: m.key });
      assert.deepEqual(opened, { text: m.text, stream: m.stream, n: m.n, at: m.at });
      // The other way, with another iv: Node opens what seal makes of the same, under the vector's key and AAD.
      const sealed = Buffer.from((await parley.seal(derived, m)).slice(3), "base64url");
      const gcm = createDecipheriv("aes-256-gcm", hex(room.enc), sealed.subarray(0, 12));
      gcm.setAAD(hex(m.aad)).setAuthTag(sealed.subarray(-16));
      const plain = Buffer.concat([gcm.update(sealed.subarray(12, -16)), gcm.final()]);
      assert.equal(plain.toString("hex"), m.plaintext);
    }
  });
}

test("vectors: what comes out of messages of another kind", async () => {
  for (const { about, sealed: message, from, key, opened } of vectors.other) {
    assert.deepEqual(await parley.open(keys, { message, from, key }), opened, about);
  }
});

test("vectors: what does not open", async () => {
  for (const { about, ...claimed } of vectors.refused) {
    assert.equal(await parley.open(keys, claimed), null, about);
  }
});

test("every single bit counts", async () => {
  const message = await parley.seal(keys, { ...outgoing, text: "x".repeat(100) }); // two steps: the last character has spare bits
  const alphabet = "ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789-_";
  assert.notEqual(((message.length - 3) * 6) % 8, 0);
  for (let i = 3; i < message.length; i++) {
    for (let bit = 1; bit < 64; bit *= 2) {
      const flipped = alphabet[alphabet.indexOf(message[i]) ^ bit];
      const altered = message.slice(0, i) + flipped + message.slice(i + 1);
      assert.equal(await parley.open(keys, { ...outgoing, message: altered }), null, `character ${i}, bit ${bit}`);
    }
  }
});

test("open takes anything for an answer", async () => {
  for (const junk of [undefined, null, 7, {}, "p1.%%%", "p1.\u{1f511}", "p1." + "A".repeat(70_000)]) {
    assert.equal(await parley.open(keys, /** @type {any} */ ({ message: junk, from: "Ann", key: outgoing.key })), null);
    assert.equal(await parley.open(keys, /** @type {any} */ ({ message: lobby.messages[0].sealed, from: junk, key: outgoing.key })), null);
  }
});

test("vectors: preparation, which is the same done twice", () => {
  for (const { input, prepared } of vectors.prepare) {
    assert.equal(parley.prepare(input), prepared);
    assert.equal(parley.prepare(prepared), prepared);
  }
});

test("preparation knows White_Space, not trim()'s idea of it", () => {
  for (let c = 0; c <= 0xffff; c++) {
    const letter = String.fromCharCode(c);
    assert.equal(parley.prepare(`a${letter}b`) === "a b", /\p{White_Space}/u.test(letter), c.toString(16));
  }
});

test("neither key leaves WebCrypto", async () => {
  assert.equal(keys.enc.extractable, false);
  assert.deepEqual([...keys.enc.usages].sort(), ["decrypt", "encrypt"]);
  await assert.rejects(crypto.subtle.exportKey("raw", keys.enc));
  assert.deepEqual(Object.keys(keys).sort(), ["access", "enc", "room"]);
  assert.ok(Object.isFrozen(keys));
});

test("the master is wiped", async (t) => {
  const derived = t.mock.method(crypto.subtle, "deriveBits").mock;
  await parley.deriveKeys("lobby", "secret");
  const master = await derived.calls[0].result;
  assert.equal(master?.byteLength, 32);
  assert.ok(new Uint8Array(/** @type {ArrayBuffer} */ (master)).every((byte) => byte === 0));
});

test("room and secret must be there, and so must WebCrypto", async (t) => {
  await assert.rejects(parley.deriveKeys(" \u0085", "secret"), RangeError);
  await assert.rejects(parley.deriveKeys("lobby", " \u2003"), RangeError);
  assert.equal(parley.available(), true);
  t.mock.getter(crypto, "subtle", () => undefined); // as browsers have it on plain http
  assert.equal(parley.available(), false);
  await assert.rejects(parley.deriveKeys("lobby", "secret"), /secure context/);
});

test("made-up secrets: every letter, evenly", () => {
  /** @type {Record<string, number>} */
  const count = {};
  for (let i = 0; i < 2000; i++) {
    const secret = parley.makeSecret();
    assert.deepEqual(parley.checkSecret(secret), { secret, madeUp: true, weak: false });
    for (const letter of secret) count[letter] = (count[letter] ?? 0) + 1;
  }
  assert.equal(Object.keys(count).sort().join(""), "234567abcdefghijklmnopqrstuvwxyz");
  // 1625 each are expected; 8 standard deviations (40) do not happen by chance.
  for (const [letter, n] of Object.entries(count)) assert.ok(Math.abs(n - 1625) < 320, `${letter}: ${n}`);
});

test("typed secrets", () => {
  const check = parley.checkSecret;
  assert.deepEqual(check(""), { secret: "", madeUp: false, weak: true });
  assert.deepEqual(check(" \u0085\u3000"), { secret: "", madeUp: false, weak: true });
  assert.deepEqual(check("\u00a0two  words\u0085"), { secret: "two  words", madeUp: false, weak: true });
  assert.equal(check("e\u0301".repeat(15)).weak, true, "characters after NFC");
  assert.equal(check("e\u0301".repeat(16)).weak, false);
  assert.equal(check("\u{1f511}".repeat(15)).weak, true, "characters, not UTF-16 units");
  assert.equal(check("\ufeffx").secret, "\ufeffx");
  assert.equal(check("a".repeat(25)).madeUp, false);
  assert.equal(check("a".repeat(25) + "1").madeUp, false);
  assert.equal(check("a".repeat(25) + "\n").madeUp, false);
});

test("links lead where they were made", () => {
  const rooms = ["lobby", "a/b", "100%", "#1", "caf\u00e9 au lait", "\u{1f6aa}", "(x)*_~.!'", "?q=1&r", "a+b", "%2F", ".", ".."];
  const secrets = ["", "abcdefghijklmnopqrstuvwxyz".slice(0, 26).replace("z", "7"), "typed / with # and % .", "\u043f\u0430\u0440\u043e\u043b\u044c", "ends with a dot."];
  for (const room of rooms) {
    for (const secret of secrets) {
      const link = parley.makeLink(room, secret);
      assert.match(link, /^#[A-Za-z0-9%-]+(\/[A-Za-z0-9%-]+)?$/, "nothing that a messenger takes for markup or for the end");
      const want = secret === "" ? { kind: "open", room } : { kind: "private", room, secret };
      assert.deepEqual(parley.parseLink(link), want);
      assert.deepEqual(parley.parseLink(link.slice(1)), want);
      const url = new URL("https://chat.example/" + link);
      assert.deepEqual(parley.parseLink(url.hash), want, "through an address bar");
    }
  }
  assert.equal(parley.makeLink(" e\u0301 \u0085 x ", " secret "), "#%C3%A9%20x/secret");
  assert.equal(parley.makeLink("x", " "), "#x");
  assert.equal(parley.makeLink("\ud83d", "\ud83d"), "#%EF%BF%BD/%EF%BF%BD");
});

test("a link without a whole secret is incomplete, and never opens an open room", () => {
  const parse = parley.parseLink;
  assert.deepEqual(parse(""), { kind: "none" });
  assert.deepEqual(parse("#"), { kind: "none" });
  assert.deepEqual(parse("#lobby"), { kind: "open", room: "lobby" });
  assert.deepEqual(parse("#a%2Fb"), { kind: "open", room: "a/b" });
  const secret = parley.makeSecret();
  for (const [link, room] of [
    ["#lobby/", "lobby"],
    ["#lobby/%20", "lobby"],
    ["#lobby/%C2%85", "lobby"],
    ["#lobby/%", "lobby"],
    ["#lobby/%E9", "lobby"],
    ["#lobby/abc%2", "lobby"],
    [`#lobby/${secret}/`, "lobby"],
    [`#lobby//${secret}`, "lobby"],
    [`#/${secret}`, ""],
    [`#%20/${secret}`, ""],
    [`#%E9/${secret}`, ""],
    ["#/", ""],
    ["#%", ""],
    ["#%20", ""],
    [`#lobby%2F${secret}`, ""], // a messenger escaped the slash
    [`#lobby%252F${secret}`, ""], // two did
  ]) {
    assert.deepEqual(parse(link), { kind: "incomplete", room }, link);
  }
});

test("streams are 22 characters, and differ", () => {
  const streams = new Set(Array.from({ length: 1000 }, parley.newStream));
  assert.equal(streams.size, 1000);
  for (const stream of streams) assert.match(stream, /^[A-Za-z0-9_-]{22}$/);
});

test("no two messages share an iv; a size tells steps of 128 bytes", async () => {
  const ivs = new Set();
  const sizes = new Set();
  for (let length = 0; length < 256; length++) {
    const sealed = await parley.seal(keys, { ...outgoing, text: "x".repeat(length) });
    ivs.add(sealed.slice(3, 19));
    sizes.add(sealed.length);
  }
  assert.equal(ivs.size, 256);
  assert.deepEqual([...sizes], [211, 382, 553]);
});

test("the size is known before sealing, and never exceeded", async () => {
  for (const letter of ["x", "\u00e9", "\u6f22", "\u{1f511}", '"', "\n", "\u0000", "\ud800"]) {
    for (let length = 0; length < 300; length += 7) {
      const text = letter.repeat(length);
      const widest = await parley.seal(keys, { ...outgoing, text, n: Number.MAX_SAFE_INTEGER, at: -8.64e15 });
      assert.equal(parley.sealedSize(text), widest.length);
      const usual = await parley.seal(keys, { ...outgoing, text });
      assert.ok([0, 170, 171].includes(widest.length - usual.length));
    }
  }
});

test("seal refuses what could not be opened", async () => {
  for (const wrong of [
    { from: "" }, { from: " " }, { key: "" }, { key: "0123456789\nabcdef" },
    { n: 0 }, { n: 1.5 }, { n: NaN }, { n: 2 ** 53 }, { at: NaN }, { at: Infinity }, { at: 9e15 },
  ]) {
    await assert.rejects(parley.seal(keys, { ...outgoing, ...wrong }), RangeError, JSON.stringify(wrong));
  }
});

test("half a character is sealed as the replacement character", async () => {
  const message = await parley.seal(keys, { ...outgoing, text: "\u{1f511}".slice(0, 1) + "!" });
  assert.equal((await parley.open(keys, { ...outgoing, message }))?.text, "\ufffd!");
});
