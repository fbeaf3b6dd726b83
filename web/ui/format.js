/**
 * From a message's text to nodes: links, `code`, ``` blocks; everything else is text. Line breaks are the
 * stylesheet's (pre-wrap). No HTML is parsed anywhere.
 */
import { el } from "./dom.js";

const FENCE = "```";
const INLINE = /`([^`\n]+)`|https?:\/\/[^\s<>"`]{1,2000}/giu;
const EMOJI =
  /^\s*(?:(?:\p{RI}\p{RI}|\p{Extended_Pictographic}\p{EMod}?\ufe0f?(?:\u200d\p{Extended_Pictographic}\p{EMod}?\ufe0f?)*)\s*){1,6}$/u;

/**
 * @param {string} text
 * @returns {HTMLElement}
 */
export function formatted(text) {
  const body = el("div", EMOJI.test(text) ? "body emoji" : "body");
  body.dir = "auto";
  const parts = text.split(FENCE);
  // The last fence has no partner: it is text.
  if (parts.length % 2 === 0) parts.push(parts.splice(-2).join(FENCE));
  parts.forEach((part, i) => {
    if (i % 2) {
      body.append(el("pre", "", el("code", "", part.replace(/^[\w+#.-]*\r?\n/, "").replace(/\n$/, ""))));
    } else {
      // The line break before and after a block belongs to the fence.
      inline(body, part.replace(i > 0 ? /^\r?\n/ : /^$/, "").replace(i < parts.length - 1 ? /\r?\n$/ : /$^/, ""));
    }
  });
  return body;
}

/** @param {HTMLElement} parent @param {string} text */
function inline(parent, text) {
  let done = 0;
  for (const match of text.matchAll(INLINE)) {
    const [whole, code] = match;
    const found = code === undefined ? linkIn(whole) : whole;
    if (!found) continue;
    parent.append(text.slice(done, match.index), code === undefined ? link(found) : el("code", "", code));
    done = match.index + found.length;
  }
  parent.append(text.slice(done));
}

/**
 * Without the punctuation that ends the sentence, and without a closing bracket that was opened before the link.
 * @param {string} url
 */
function linkIn(url) {
  for (;;) {
    const last = url.at(-1) ?? "";
    const opening = { ")": "(", "]": "[", "}": "{" }[last];
    const unbalanced = opening !== undefined && url.split(last).length > url.split(opening).length;
    if (!unbalanced && !/[.,;:!?'*_~…]/.test(last)) break;
    url = url.slice(0, -1);
  }
  return URL.canParse(url) ? url : "";
}

/** @param {string} url */
function link(url) {
  const a = el("a", "", url);
  a.href = url;
  a.target = "_blank";
  a.rel = "noopener noreferrer";
  return a;
}
