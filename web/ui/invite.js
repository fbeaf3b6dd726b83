/** The invite link: the only key of a private room. Copied, or handed to the system's share sheet on a phone. */
import { makeLink } from "../crypto.js";
import { banner, unbanner } from "./banner.js";
import { $, button, el } from "./dom.js";
import { isRemembered, keepTabPlace } from "./stored.js";

/** @import { Place } from "./stored.js" */

/** @type {Place | undefined} */
let place;
const toast = $("toast");
/** @type {ReturnType<typeof setTimeout> | undefined} */
let fading;
/** @type {HTMLDialogElement} */
const ask = $("ask");

/** @param {Place | undefined} entered */
export function attachInvite(entered) {
  place = entered;
  if (place?.uncopied) showLink("This link is the only key: save it");
}

const url = () => new URL(location.pathname + location.search, location.href).href + makeLink(place?.room ?? "", place?.secret);

/** @param {string} title */
function showLink(title) {
  const field = el("input", "mono");
  field.readOnly = true;
  field.value = url();
  field.ariaLabel = "Invite link";
  field.addEventListener("focus", () => field.select());
  field.addEventListener("copy", taken);
  const close = button("Not now", () => unbanner("link"), "quiet");
  banner("link", "group", el("strong", "", title), field, button("Copy", () => void hand(false), "primary"), close).ariaLabel = title;
  return field;
}

/** @param {boolean} share rather than copy, where that can be done */
async function hand(share) {
  const link = url();
  try {
    if (share) await navigator.share({ title: "Parley", url: link });
    else await copy(link);
  } catch (error) {
    if (/** @type {Error} */ (error).name === "AbortError") return false;
    showLink("Copy this link yourself: the browser does not let the page do it").focus();
    return false;
  }
  taken();
  unbanner("link");
  toast.textContent = share ? "Invite link shared" : "Invite link copied";
  clearTimeout(fading);
  fading = setTimeout(() => toast.replaceChildren(), 2500);
  return true;
}

/** The link has left this page: the room can be found again. */
function taken() {
  if (!place?.uncopied) return;
  place.uncopied = false;
  keepTabPlace(place);
}

/** @param {string} text */
async function copy(text) {
  try {
    await navigator.clipboard.writeText(text);
  } catch {
    // Not a secure context, or not allowed: the old way.
    const field = el("textarea", "sr", text);
    document.body.append(field);
    field.select();
    const done = document.execCommand("copy");
    field.remove();
    if (!done) throw new Error("not copied");
  }
}

$("invite").addEventListener("click", () => {
  const touch = matchMedia("(pointer: coarse)").matches;
  void hand(touch && "share" in navigator);
});

/**
 * Asks before the only key of a room is lost, or messages that are not sent yet.
 * @param {number} unsent
 * @returns {Promise<boolean>} whether to leave
 */
export async function mayLeave(unsent) {
  const keyless = place?.uncopied === true && !isRemembered(place);
  if (!keyless && !unsent) return true;
  $("ask-key").hidden = !keyless;
  $("ask-copy").hidden = !keyless;
  $("ask-unsent").hidden = !unsent;
  $("ask-title").textContent = keyless ? "Leave without the link?" : "Leave before it is sent?";
  ask.returnValue = "stay";
  ask.showModal();
  await new Promise((closed) => ask.addEventListener("close", closed, { once: true }));
  return ask.returnValue === "leave" || (ask.returnValue === "copy" && (await hand(false)));
}
