/** What is shipped: its size, and the package that other projects install. */
import assert from "node:assert/strict";
import { execFileSync } from "node:child_process";
import { mkdtempSync, readFileSync, readdirSync, rmSync, writeFileSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { after, test } from "node:test";
import { fileURLToPath } from "node:url";
import { gzipSync } from "node:zlib";
import { build } from "esbuild";
import { minify } from "terser";

const web = fileURLToPath(new URL("..", import.meta.url));
const place = mkdtempSync(join(tmpdir(), "parley-package-"));
after(() => rmSync(place, { recursive: true }));

/** @param {string | Uint8Array} data */
const gzipped = (data) => gzipSync(data, { level: 9 }).length;

test("the client is at most 6 KB, bundled, minified and gzipped, without the modules for secrets", async (t) => {
  const { outputFiles, metafile } = await build({
    entryPoints: [join(web, "parley.js")],
    bundle: true,
    external: ["./private.js"],
    format: "esm",
    metafile: true,
    minify: true,
    write: false,
  });
  const { code = "" } = await minify(outputFiles[0].text, { module: true, compress: { passes: 3 } });
  const modules = Object.keys(metafile.inputs).map((path) => readFileSync(path));
  const served = modules.reduce((sum, module) => sum + gzipped(module), 0);
  t.diagnostic(`${gzipped(code)} bytes minified and gzipped; ${served} gzipped as served, in ${modules.length} files, comments and all`);
  assert.ok(gzipped(code) <= 6 * 1024, `${gzipped(code)}`);
  assert.ok(served <= 13 * 1024, `${served}`);
});

test("npm pack gives a package that a project can import, and TypeScript understands", () => {
  const npm = (/** @type {string[]} */ ...args) => execFileSync("npm", args, { cwd: place, encoding: "utf8", stdio: ["ignore", "pipe", "ignore"] });
  const [{ filename, files }] = JSON.parse(npm("pack", web, "--json"));
  const packed = files.map((/** @type {{path: string}} */ { path }) => path);
  assert.ok(!packed.some((/** @type {string} */ path) => /test|app|ui|internal/.test(path)), packed.join());
  writeFileSync(join(place, "package.json"), '{"type": "module", "private": true}');
  npm("install", "--offline", "--no-audit", "--no-fund", `./${filename}`);
  writeFileSync(join(place, "use.ts"), `
    import { connect, join, ParleyError, type Message, type Room, type Socket } from "parley-client";
    import { deriveKeys, makeSecret } from "parley-client/crypto.js";

    export async function talk(): Promise<void> {
      const socket: Socket = connect("wss://chat.example/ws");
      const off: () => void = socket.on("reconnecting", ({ attempt, delay }) => console.log(attempt + delay));
      socket.emit("ping", (answer, error) => console.log(answer.at, error?.code));
      const room: Room = await socket.join({ name: "Ann", room: "lobby", keys: deriveKeys("lobby", makeSecret()) });
      room.on("message", ({ text, from }: Message) => console.log(from, text?.length));
      room.on("users", (users, count) => console.log(users[0].name, count));
      room.on("state", ({ state, retryAt }) => console.log(state, retryAt));
      const { seq, durability } = await room.send("hello");
      const also: "memory" | "disk" | "replicated" = durability;
      off();
      try {
        await join({ name: "Ann", room: String(seq) + also, url: "/ws", token: async () => "t" });
      } catch (error) {
        if (error instanceof ParleyError) console.log(error.code, error.fields?.name);
      }
      // @ts-expect-error a message is text
      void room.send(7);
      // @ts-expect-error there is no such option
      void join({ nam: "Ann", room: "lobby" });
    }
  `);
  const tsc = fileURLToPath(new URL("../../node_modules/.bin/tsc", import.meta.url));
  for (const [module, resolution] of [["nodenext", "nodenext"], ["esnext", "bundler"]]) {
    execFileSync(tsc, ["--strict", "--noEmit", "--target", "es2022", "--lib", "es2022,dom", "--module", module, "--moduleResolution", resolution, "use.ts"], {
      cwd: place, stdio: ["ignore", "inherit", "inherit"],
    });
  }
  writeFileSync(join(place, "use.js"), `
    import { connect, join, ParleyError } from "parley-client";
    import { makeSecret } from "parley-client/crypto.js";
    console.log(typeof connect, typeof join, new ParleyError("c", "m").code, makeSecret().length);
    class Never { close() {} }
    const socket = connect("ws://127.0.0.1/ws", { WebSocket: Never });
    const { code } = await socket.join({ name: "Ann", room: "x", secret: "correct horse", timeout: 1 }).catch((error) => error);
    console.log(code);
    socket.disconnect();
  `);
  const said = execFileSync(process.execPath, ["use.js"], { cwd: place, encoding: "utf8" });
  assert.equal(said, "function function c 26\ntimeout\n");
  assert.deepEqual(readdirSync(join(place, "node_modules")).filter((name) => !name.startsWith(".")), ["parley-client"], "no dependency");
});
