/**
 * The chat page. What it needs at the door comes first; the room (ui/talk.js, the shim and all) is loaded when
 * somebody begins to fill in the form, or is in a room already.
 */
import { $ } from "./ui/dom.js";
import { invite, invitedBy, onEnter, propose, refused } from "./ui/door.js";
import "./ui/look.js";
import { address, tabPlace } from "./ui/stored.js";

/** @type {Promise<typeof import("./ui/talk.js")> | undefined} */
let talk;
const loadTalk = () =>
  (talk ??= import("./ui/talk.js").catch((error) => {
    talk = undefined; // the next time it is tried again
    throw error;
  }));
/** @param {import("./ui/stored.js").Place} place */
const unloaded = (place) => refused({ code: "disconnected", message: "" }, place);

onEnter((place) => void loadTalk().then(({ join }) => join(place), () => unloaded(place)));
for (const sign of ["input", "pointerdown"]) {
  $("door").addEventListener(sign, () => void loadTalk().catch(() => {}), { once: true, passive: true });
}

// Another link was pasted into the address bar.
addEventListener("hashchange", async () => {
  const hash = location.hash;
  if (hash.length < 2) return;
  address(tabPlace() ?? undefined); // no secret stands there while the person is asked
  if (talk && !(await (await talk).mayGo())) return;
  history.replaceState(null, "", hash);
  location.reload();
});

const stored = tabPlace();
const invited = invitedBy(location.hash);
if (!invited && stored?.joined && stored.name) {
  const { name } = stored;
  loadTalk().then(
    ({ rejoin }) => rejoin({ ...stored, name }),
    () => {
      invite(stored);
      unloaded(stored);
    },
  );
} else if (!invited) {
  if (stored) invite(stored);
  else propose();
}
