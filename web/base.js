/** What the client's modules share. Its manual is parley.d.ts. */

/** @typedef {import("./internal.js").Base} Base */

export class ParleyError extends Error {
  name = "ParleyError";
  code = "";
  /** @param {string} code @param {string} message @param {object} [rest] the answer's other fields */
  constructor(code, message, rest) {
    super(message);
    Object.assign(this, rest, { code });
  }
}

/** @type {Base["quietly"]} */
export const quietly = (run) => {
  try {
    run();
  } catch (error) {
    console.error(error);
  }
};

/** @type {Base["emitter"]} */
export const emitter = (added) => {
  /** @type {{event: string, handler: (...args: any[]) => void, once?: boolean}[]} */
  let list = [];
  return {
    on(event, handler, once) {
      this.off(event, handler);
      list = [...list, { event, handler, once }];
      added?.(event);
      return () => this.off(event, handler);
    },
    once(event, handler) {
      return this.on(event, handler, true);
    },
    off(event, handler) {
      list = list.filter((one) => (event && one.event !== event) || (handler && one.handler !== handler));
    },
    fire(event, ...args) {
      for (const { event: its, handler, once } of list) {
        if (its !== event) continue;
        if (once) this.off(event, handler);
        quietly(() => handler(...args));
      }
    },
  };
};

/** @type {Base["backoff"]} */
export const backoff = (tries) => Math.random() * Math.min(20_000, 250 * 2 ** tries);

/** @type {Base["fault"]} */
export const fault = (code, what, rest) => new ParleyError(code, what ? `${code}: ${what}` : code, rest);

/** @type {Base["now"]} */
export const now = () => performance.now();

/** @type {Base["utf8"]} */
export const utf8 = (text) => new TextEncoder().encode(text);
