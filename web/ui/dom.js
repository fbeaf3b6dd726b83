/**
 * The few lines of DOM that every part of the page needs. Text only ever enters the page through `textContent`
 * and text nodes.
 */

/**
 * The element with this id, which index.html promises.
 * @type {<T extends HTMLElement = HTMLElement>(id: string) => T}
 */
export const $ = (id) => /** @type {any} */ (document.getElementById(id));

/**
 * Makes an element. Strings among the children become text.
 * @template {keyof HTMLElementTagNameMap} Tag
 * @param {Tag} tag
 * @param {string} [className]
 * @param {(Node | string)[]} children
 * @returns {HTMLElementTagNameMap[Tag]}
 */
export function el(tag, className = "", ...children) {
  const element = document.createElement(tag);
  if (className) element.className = className;
  element.append(...children);
  return element;
}

/**
 * @param {string} label
 * @param {() => void} action
 * @param {string} [className]
 */
export function button(label, action, className = "") {
  const made = el("button", className, label);
  made.type = "button";
  made.addEventListener("click", action);
  return made;
}

/**
 * A name that somebody else chose: isolated, so that right-to-left letters do not turn the sentence around it.
 * @param {string} name
 */
export const bdi = (name) => el("bdi", "", name);

/**
 * One of eight colours, always the same one for a name.
 * @param {string} name
 */
export function hue(name) {
  let sum = 0;
  for (const c of name.toLowerCase()) sum = (sum * 31 + (c.codePointAt(0) ?? 0)) % 9973;
  return `hue${sum % 8}`;
}

/**
 * @param {number} n
 * @param {string} one
 * @param {string} [many]
 */
export const plural = (n, one, many = one + "s") => `${n.toLocaleString()} ${n === 1 ? one : many}`;
