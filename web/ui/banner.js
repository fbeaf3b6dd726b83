/** Sentences that stay in sight above the messages until what they say is over. */
import { $, el } from "./dom.js";

/** @type {Map<string, HTMLElement>} */
const shown = new Map();

/**
 * @param {string} id one of a kind is shown at a time
 * @param {"alert" | "group"} role
 * @param {(Node | string)[]} content
 */
export function banner(id, role, ...content) {
  unbanner(id);
  const element = el("div", `banner ${id}`, ...content);
  element.role = role;
  shown.set(id, element);
  $("banners").append(element);
  return element;
}

/** @param {string} [id] without one: all */
export function unbanner(id) {
  for (const [key, element] of shown) {
    if (id !== undefined && key !== id) continue;
    const focused = element.contains(document.activeElement);
    element.remove();
    shown.delete(key);
    if (focused) $("log").focus({ preventScroll: true }); // else it would be lost, and the next Tab begin at the top
  }
}
