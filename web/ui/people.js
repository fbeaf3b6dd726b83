/**
 * The people list. Only the rows in sight are in the document, whatever the room's size; margins stand for the
 * others. What the shim has not read yet is asked for as the reader comes to it.
 */
import { $, bdi, el, hue } from "./dom.js";

/** @import { Room, User } from "../parley.js" */

const PAGE = 100;
const list = $("people");
const side = $("side");
const toggle = $("people-toggle");

/** @type {Room | undefined} */
let room;
/** @type {Map<number, Promise<User[]>>} pages beyond the shim's list, by offset; made anew when the count changes */
let pages = new Map();
let known = -1;
let drawn = "";

/** @param {Room} entered */
export function attachPeople(entered) {
  room = entered;
  known = -1;
  list.scrollTop = 0;
  entered.on("users", changed);
  changed();
}

function changed() {
  if (!room) return;
  const { count } = room;
  if (count !== known) pages = new Map();
  known = count;
  $("people-count").textContent = $("side-count").textContent = count.toLocaleString();
  drawn = "";
  void draw();
}

/** @param {Room} of @param {number} from @param {number} to @returns {Promise<(User | undefined)[]>} */
async function users(of, from, to) {
  if (of.users.length >= Math.min(to, of.count)) return of.users.slice(from, to);
  const found = [];
  for (let offset = Math.floor(from / PAGE) * PAGE; offset < to; offset += PAGE) {
    let page = pages.get(offset);
    if (!page) {
      page = of.listUsers({ offset, limit: PAGE }).then((answer) => answer.users, () => []);
      pages.set(offset, page);
    }
    const got = await page;
    for (let i = 0; i < PAGE; i++) if (offset + i >= from && offset + i < to) found.push(got[i]);
  }
  return found;
}

async function draw() {
  const of = room;
  if (!of || !side.offsetParent) return;
  const row = parseFloat(getComputedStyle(list).getPropertyValue("line-height"));
  const from = Math.max(0, Math.floor(list.scrollTop / row) - 10);
  const to = Math.min(of.count, Math.ceil((list.scrollTop + list.clientHeight) / row) + 10);
  const wanted = `${from} ${to} ${of.count}`;
  if (wanted === drawn) return;
  drawn = wanted;
  const rows = await users(of, from, to);
  if (drawn !== wanted || of !== room) return;
  const items = rows.map((user, i) => item(user, from + i, of));
  if (items.length) {
    items[0].style.marginTop = `${from * row}px`;
    items[items.length - 1].style.marginBottom = `${Math.max(0, of.count - to) * row}px`;
  }
  list.replaceChildren(...items);
}

/** @param {User | undefined} user @param {number} index @param {Room} of */
function item(user, index, of) {
  const li = el("li", user ? hue(user.name) : "");
  li.ariaSetSize = String(of.count);
  li.ariaPosInSet = String(index + 1);
  if (!user) return li;
  const initial = el("span", "initial", [...user.name][0]?.toUpperCase() ?? "");
  initial.ariaHidden = "true";
  li.append(initial, bdi(user.name));
  li.title = user.name;
  if (user.id === of.user.id) li.append(el("span", "you", " (you)"));
  return li;
}

/** On a narrow window the list lies over the messages; on a wide one it is beside them unless closed. @param {boolean} open */
export function showPeople(open) {
  $("room").classList.toggle("with-people", open);
  toggle.setAttribute("aria-expanded", String(open));
  drawn = "";
  void draw();
}

const wide = matchMedia("(min-width: 46rem)");
wide.addEventListener("change", () => showPeople(wide.matches));
export const showPeopleWhereWide = () => showPeople(wide.matches);

toggle.addEventListener("click", () => showPeople(toggle.getAttribute("aria-expanded") !== "true"));
side.addEventListener("keydown", (event) => {
  if (event.key !== "Escape" || wide.matches) return;
  showPeople(false);
  toggle.focus();
});
// On a narrow window the list lies over the messages: a touch beside it puts it away.
$("talk").addEventListener("pointerdown", () => wide.matches || showPeople(false));
list.addEventListener("scroll", () => void draw(), { passive: true });
new ResizeObserver(() => void draw()).observe(list);
