/** What reaches somebody who is not looking: the count in the title, and, only where turned on, sound and notifications. */
import { $ } from "./dom.js";
import { keepSetting, setting } from "./stored.js";

/** @import { Message } from "../parley.js" */

/** @type {HTMLInputElement} */
const sound = $("sound");
/** @type {HTMLInputElement} */
const desktop = $("desktop");
const note = $("settings-note");

let unread = 0;
let title = "Parley";
/** @type {AudioContext | undefined} */
let audio;
let played = -Infinity;

/** @param {string} room "" at the door */
export function entitle(room) {
  title = room ? `${room} · Parley` : "Parley";
  unread = 0;
  draw();
}

function draw() {
  document.title = unread ? `(${unread}) ${title}` : title;
}

/** A message of somebody else's came in. @param {Message} m @param {string} room */
export function arrived(m, room) {
  if (document.hidden) {
    unread++;
    draw();
  }
  if (sound.checked) chime();
  if (desktop.checked && (document.hidden || !document.hasFocus())) {
    notify(`${m.from} · ${room}`, m.text === null ? "A message that cannot be shown" : m.text.slice(0, 200), room);
  }
}

/** @param {string} heading @param {string} body @param {string} room its newest notification replaces the one before */
function notify(heading, body, room) {
  try {
    const shown = new Notification(heading, { body, tag: `parley ${room}`, icon: "icon.svg" });
    shown.onclick = () => {
      window.focus();
      shown.close();
    };
  } catch {
    // Some phones allow notifications to service workers alone, and say so only now.
    desktop.checked = false;
    say("This browser shows no notifications of a page.");
  }
}

/** Two soft notes; no file. */
function chime() {
  const at = performance.now();
  if (at - played < 1500) return;
  played = at;
  audio ??= new AudioContext();
  for (const [i, pitch] of [660, 880].entries()) {
    const start = audio.currentTime + i * 0.11;
    const volume = audio.createGain();
    volume.gain.setValueAtTime(0.0001, start);
    volume.gain.exponentialRampToValueAtTime(0.12, start + 0.02);
    volume.gain.exponentialRampToValueAtTime(0.0001, start + 0.3);
    const tone = new OscillatorNode(audio, { frequency: pitch });
    tone.connect(volume).connect(audio.destination);
    tone.start(start);
    tone.stop(start + 0.3);
  }
}

/** @param {string} text */
function say(text) {
  note.textContent = text;
  note.hidden = !text;
}

document.addEventListener("visibilitychange", () => {
  if (document.hidden) return;
  unread = 0;
  draw();
});

sound.checked = setting("sound");
sound.addEventListener("change", () => {
  keepSetting("sound", sound.checked);
  if (sound.checked) chime();
});

const permitted = () => "Notification" in window && Notification.permission === "granted";
desktop.checked = setting("desktop") && permitted();
desktop.addEventListener("change", async () => {
  say("");
  if (desktop.checked && "Notification" in window) await Notification.requestPermission();
  if (desktop.checked && !permitted()) {
    desktop.checked = false;
    say("This browser does not allow notifications for this page. Its settings for this site can.");
  }
  keepSetting("desktop", desktop.checked);
});
