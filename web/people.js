/** Who is in a room, and who is typing (sections 3 and 5 of PROTOCOL.md). */

import { now } from "./base.js";

/** @typedef {import("./internal.js").User} User */
/** @typedef {{joined: User[], left: string[], count?: number}} Change */

const WHOLE = 2_000; // past it the list is whole only where somebody looks, with listUsers

/** @type {import("./internal.js").MakePeople} */
export const makePeople = (room) => {
  /** @type {Map<string, {id: string, name: string}>} */
  const typing = new Map();
  let reading = false;
  /** Since the list is read again. @type {Change[]} */
  let changes = [];
  let saidAt = -Infinity;
  let said = false;

  /** @param {string} id @param {string} [name] absent: not any more */
  const typed = (id, name) => {
    const before = typing.has(id);
    if (name) {
      const one = { id, name };
      typing.set(id, one);
      room.socket.later(6_000, () => typing.get(id) === one && typed(id));
    } else typing.delete(id);
    if (before === typing.has(id)) return;
    room.typists = [...typing.values()];
    room.fire("typing", room.typists);
  };

  const readAgain = async () => {
    changes = [{ joined: [], left: [] }];
    const all = [];
    let page;
    do {
      page = await room.listUsers({ offset: all.length, limit: 200 });
      all.push(...page.users);
    } while (page.users.length && all.length < Math.min(page.count, WHOLE));
    reading = false;
    people.set(changes.reduce(fold, all), changes.at(-1)?.count ?? page.count);
  };

  /** @type {ReturnType<import("./internal.js").MakePeople>} */
  const people = {
    set(users, count) {
      Object.assign(room, { users, count });
      room.fire("users", users, count);
      if (reading || (users.length <= count && users.length >= Math.min(count, WHOLE))) return;
      reading = true;
      // In its time: a whole room must not ask at once.
      room.socket.later(Math.random() * 10 * count, () => readAgain().catch(() => (reading = false)));
    },

    receive(event, data) {
      if (event === "users") people.set(data, data.length);
      if (event === "presence") {
        changes.push(data);
        people.set(fold(room.users, data), data.count);
      }
      if (event === "typing") typed(data.userId, data.typing && data.from);
      if (event === "roomMessage") typed(data.userId);
      if (event === "notification") {
        const left = data.kind === "left";
        if (left) typed(data.user.id);
        room.fire(left ? "left" : "joined", data.user);
      }
    },

    say(typing) {
      if (!room.joined || (typing ? now() - saidAt < 3_000 : !said)) return;
      if (typing) saidAt = now();
      said = typing;
      room.socket.emit("typing", { typing });
    },

    sent: () => (said = false),

    lost() {
      reading = said = false;
      for (const id of typing.keys()) typed(id);
    },
  };
  return people;
};

/** @param {User[]} users @param {Change} change */
const fold = (users, { joined, left }) => {
  const all = new Map([...users, ...joined].map((user) => [user.id, user]));
  for (const id of left) all.delete(id);
  return [...all.values()];
};
