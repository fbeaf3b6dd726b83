/** Who is in a room, and who is typing (sections 3 and 5 of PROTOCOL.md). */

/** @import {User} from "./parley.js" */
/** @import {Room} from "./room.js" */
/** @typedef {{joined: User[], left: string[], count: number}} Presence */

const SAID = 3_000; // typing is told again after this …
const HEARD = 6_000; // … and forgotten after this
/** In larger rooms the list is whole only as far as it is looked at, with `listUsers`. */
const WHOLE = 2_000;

export class People {
  /** @type {User[]} */ users = [];
  count = 0;
  /** @type {Map<string, {id: string, name: string, timer: ReturnType<typeof setTimeout>}>} */ typing = new Map();

  #room;
  #reading = false;
  /** What has changed since the list is read again. @type {Presence[]} */ #changes = [];
  #saidAt = 0;
  #said = false;

  /** @param {Room} room */
  constructor(room) {
    this.#room = room;
  }

  get typists() {
    return [...this.typing.values()].map(({ id, name }) => ({ id, name }));
  }

  /** @param {User[]} users @param {number} count */
  set(users, count) {
    this.users = users;
    this.count = count;
    this.#room.fire("users", users, count);
    if (users.length !== count && !(users.length < count && users.length >= WHOLE)) this.#readAgain();
  }

  /** @param {Presence} change */
  presence(change) {
    this.#changes.push(change);
    this.set(fold(this.users, change), change.count);
  }

  /** In its time, so that a whole room does not ask at once. */
  #readAgain() {
    if (this.#reading) return;
    this.#reading = true;
    this.#room.later(Math.random() * 10 * this.count, async () => {
      this.#changes = [];
      /** @type {Map<string, User>} */
      const all = new Map();
      let { count } = this;
      for (let offset = 0, page; offset < Math.min(count, WHOLE); offset += page.users.length) {
        page = await this.#room.listUsers({ offset, limit: 200 });
        for (const user of page.users) all.set(user.id, user);
        if (!page.users.length) break;
        count = page.count;
      }
      this.#reading = false;
      this.set(this.#changes.reduce(fold, [...all.values()]), this.#changes.at(-1)?.count ?? count);
    });
  }

  /** Somebody typed or not. @param {{from: string, userId: string, typing: boolean}} told */
  heard({ from: name, userId: id, typing }) {
    const before = this.typing.get(id);
    clearTimeout(before?.timer);
    if (typing) this.typing.set(id, { id, name, timer: setTimeout(() => this.quiet(id), HEARD) });
    else this.typing.delete(id);
    if (typing !== Boolean(before)) this.#room.fire("typing", this.typists);
  }

  /** @param {string} userId */
  quiet(userId) {
    this.heard({ from: "", userId, typing: false });
  }

  /** Is this news to be told the others? @param {boolean} typing */
  say(typing) {
    const now = Date.now();
    if (typing ? Math.abs(now - this.#saidAt) < SAID : !this.#said) return false;
    if (typing) this.#saidAt = now;
    this.#said = typing;
    return true;
  }

  /** One's own message clears it for the others. */
  sent() {
    this.#said = false;
  }

  /** The connection has ended. */
  lost() {
    this.#reading = this.#said = false;
    for (const id of this.typing.keys()) this.quiet(id);
  }
}

/** @param {User[]} users @param {Presence} change */
function fold(users, { joined, left }) {
  const all = new Map([...users, ...joined].map((user) => [user.id, user]));
  for (const id of left) all.delete(id);
  return [...all.values()];
}
