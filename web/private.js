/**
 * What a room with a secret puts in the place of plain text: crypto.js and reader.js as the rest of the client uses
 * them. Loaded only when a room is joined with a secret; its plain counterpart is in inbox.js.
 */
import { ParleyError } from "./base.js";
import { available, checkSecret, deriveKeys, newStream, open, prepare, seal, sealedSize } from "./crypto.js";
import { Reader } from "./reader.js";

/** @param {import("./parley.js").JoinOptions} options @returns {Promise<import("./internal.js").Codec>} */
export const unlock = async ({ room, secret = "", keys }) => {
  if (!keys && !checkSecret(secret).secret) throw new ParleyError("incomplete", "The secret is incomplete.");
  if (!available()) throw new ParleyError("insecure", "Encryption needs a secure context: https, or localhost.");
  const derived = await (keys ?? deriveKeys(room, secret));
  const stream = newStream();
  let n = 0;
  return {
    name: derived.room,
    access: derived.access,
    prepare,
    size: sealedSize,
    judge: () => new Reader(derived),
    // Its number is taken at once, in the order of the calls.
    seal: ({ from, key, text, created: at }) => seal(derived, { from, key, text, stream, n: ++n, at }),
    open: async (entry) => (await open(derived, entry))?.text ?? null,
  };
};
