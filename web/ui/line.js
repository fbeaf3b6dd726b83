/**
 * One message as the log shows it: who, when, the text, and beside it every remark that section 9 of PROTOCOL.md
 * asks for. Marks accuse nobody: they say what was found.
 */
import { bdi, button, el, hue } from "./dom.js";
import { formatted } from "./format.js";

/** @import { Message, OwnMessage } from "../parley.js" */

const clock = new Intl.DateTimeFormat(undefined, { hour: "numeric", minute: "2-digit" });
const full = new Intl.DateTimeFormat(undefined, { dateStyle: "full", timeStyle: "medium" });
const day = new Intl.DateTimeFormat(undefined, { weekday: "long", day: "numeric", month: "long", year: "numeric" });

/** @param {Date} date */
export const dayName = (date) => day.format(date);

/** @param {Date} date */
export function time(date) {
  const element = el("time", "", clock.format(date));
  element.dateTime = date.toISOString();
  element.title = full.format(date);
  return element;
}

const MARKS = {
  unverified: "could not be verified",
  repeated: "repeated: this message was here before",
  newer: "a message of a newer kind, which this page cannot show",
  encrypted: "encrypted; you have no secret",
};

/** @param {string} text */
const remark = (text) => el("p", "remark", text);

/**
 * @param {string} from
 * @param {boolean} own
 * @param {Date} at
 * @param {(Node | string)[]} rest
 */
function line(from, own, at, ...rest) {
  const who = el("p", `who ${hue(from)}`, bdi(from));
  who.title = from; // a long one is cut
  if (own) who.append(el("span", "you", " (you)"));
  return el("div", own ? "line own" : "line", who, ...rest, el("p", "when", time(at)));
}

/** @param {Message} m */
export function messageLine(m) {
  const at = new Date(m.at);
  const content = el("div", "content");
  if (m.mark) content.append(el("p", "marked", MARKS[m.mark]));
  else content.append(formatted(m.text ?? ""));
  if (m.outOfOrder) content.append(remark("out of order: written before a message above"));
  if (m.sentAt !== undefined) {
    const sent = el("time", "", full.format(m.sentAt));
    sent.dateTime = new Date(m.sentAt).toISOString();
    const remarked = remark("the sender’s clock said ");
    remarked.append(sent);
    content.append(remarked);
  }
  const element = line(m.from, m.own, at, content);
  if (m.mark) element.classList.add("odd");
  if (m.own && !m.mark) element.querySelector(".when")?.append(el("span", "state sent", el("span", "sr", "sent")));
  return element;
}

/**
 * A message of one's own that is not in the log yet.
 * @param {OwnMessage} m
 * @param {string} from
 * @param {{ retry: (key: string) => void, discard: (key: string) => void }} act
 */
export function outboxLine(m, from, act) {
  const content = el("div", "content");
  if (m.text === null) content.append(el("p", "marked", "an unsent message, which could not be opened"));
  else content.append(formatted(m.text));
  const element = line(from, true, new Date(m.created), content);
  element.classList.add("pending");
  const words = { queued: "waiting", sending: "sending", sent: "sent", failed: "failed", ask: "not sent" };
  const state = el("span", `state ${m.state}`, m.state === "sent" ? el("span", "sr", "sent") : words[m.state]);
  element.querySelector(".when")?.append(state);
  if (m.state === "failed" || m.state === "ask") {
    const why =
      m.state === "ask"
        ? "It may have been sent already, under another name or long ago. Send it again?"
        : `Not sent. ${m.error?.message ?? ""}`;
    const again = button(m.state === "ask" ? "Send again" : "Retry", () => act.retry(m.key));
    content.append(el("p", "remark", why), el("p", "actions", again, button("Discard", () => act.discard(m.key), "quiet")));
  }
  return element;
}

/** @param {string} from @param {number} count */
export function missingLine(from, count) {
  const text = count === 1 ? "a message of " : `${count.toLocaleString()} messages of `;
  return el("p", "notice missing", text, bdi(from), count === 1 ? " is missing here" : " are missing here");
}

/** So many are still called by their names. */
const FEW = 4;

/** Joins and leaves that follow one another: one quiet line, folded when there are many. */
export class Comings {
  constructor() {
    /** @type {Map<string, { name: string, came: boolean }>} who came or went last, by id */
    this.people = new Map();
    this.element = el("div", "notice");
  }

  /** @param {"came" | "went"} how @param {{ id: string, name: string }} user */
  add(how, user) {
    this.people.delete(user.id);
    this.people.set(user.id, { name: user.name, came: how === "came" });
    // Of a crowd that comes and goes all night, the last few hundred.
    if (this.people.size > 300) this.people.delete(this.people.keys().next().value ?? "");
    this.draw();
  }

  draw() {
    const groups = [];
    for (const came of [true, false]) {
      const names = [...this.people.values()].filter((p) => p.came === came).map((p) => p.name);
      if (names.length) groups.push({ names, verb: came ? "joined" : "left" });
    }
    /** @param {string[]} names @returns {(Node | string)[]} */
    const list = (names) => names.flatMap((name, i) => [i === 0 ? "" : i === names.length - 1 ? " and " : ", ", bdi(name)]);
    const many = groups.some(({ names }) => names.length > FEW);
    const summary = groups.flatMap(({ names, verb }, i) => [
      i ? "; " : "",
      ...(names.length > FEW ? [`${names.length} people`] : list(names)),
      ` ${verb}`,
    ]);
    if (!many) return this.element.replaceChildren(...summary);
    const open = this.element.querySelector("details")?.open ?? false;
    const details = el("details", "", el("summary", "", ...summary));
    details.open = open;
    for (const { names, verb } of groups) details.append(el("p", "", ...list(names), ` ${verb}`));
    this.element.replaceChildren(details);
  }
}
