/** The base of sockets and rooms: handlers, and the one kind of error. Types and manual: parley.d.ts. */

export class ParleyError extends Error {
  name = "ParleyError";
  /** @type {string} */ code;

  /**
   * @param {string} code
   * @param {string} message
   * @param {object} [rest] the answer's other fields
   */
  constructor(code, message, rest) {
    super(message);
    Object.assign(this, rest);
    this.code = code;
  }
}

export class Emitter {
  /** Each event's handlers; true: for one time only. @type {Map<string, Map<Function, boolean>>} */
  #handlers = new Map();

  /** @param {string} event @param {(...args: any[]) => void} handler @param {boolean} [once] */
  on(event, handler, once = false) {
    if (!this.#handlers.has(event)) this.#handlers.set(event, new Map());
    this.#handlers.get(event)?.set(handler, once);
    return () => this.off(event, handler);
  }

  /** @param {string} event @param {(...args: any[]) => void} handler */
  once(event, handler) {
    return this.on(event, handler, true);
  }

  /** @param {string} [event] @param {(...args: any[]) => void} [handler] */
  off(event, handler) {
    if (event === undefined) this.#handlers.clear();
    else if (handler) this.#handlers.get(event)?.delete(handler);
    else this.#handlers.delete(event);
  }

  /** Calls the handlers of an event. @param {string} event @param {any[]} args */
  fire(event, ...args) {
    const handlers = this.#handlers.get(event);
    for (const [handler, once] of [...(handlers ?? [])]) {
      if (once) handlers?.delete(handler);
      attempt(() => handler(...args));
    }
  }
}

/** Runs what is not ours; its exception is logged, and disturbs nobody. @param {() => unknown} run */
export function attempt(run) {
  try {
    run();
  } catch (error) {
    console.error(error);
  }
}

/** Full jitter: a random part of a delay that grows from 0.5 s to 20 s. @param {number} tries from 1 */
export const backoff = (tries) => Math.random() * Math.min(20_000, 500 * 2 ** (tries - 1));

/** The error that an answer is, if it is one. @param {any} answer */
export const problem = (answer) =>
  answer?.error && answer.code ? new ParleyError(answer.code, answer.error, answer) : undefined;
