/** Parley's client. Its manual is parley.d.ts, its wire PROTOCOL.md. */
import { Socket } from "./socket.js";

export { Emitter, ParleyError } from "./emitter.js";
export { Room } from "./room.js";
export { Socket };

/** @type {typeof import("./parley.js").connect} */
export const connect = (url, options) =>
  typeof url === "object" && !(url instanceof URL) ? new Socket(undefined, url) : new Socket(url, options);

/** @type {typeof import("./parley.js").join} */
export async function join(options) {
  const socket = new Socket(options.url, options);
  try {
    const room = await socket.join(options);
    room.alone = true;
    return room;
  } catch (error) {
    socket.disconnect();
    throw error;
  }
}
