/** Light, dark, or as the system likes it. theme.js has set the stored choice before the first paint. */

const root = document.documentElement;
const NEXT = /** @type {Record<string, string>} */ ({ auto: "light", light: "dark", dark: "auto" });
const NAMES = /** @type {Record<string, string>} */ ({ auto: "automatic", light: "light", dark: "dark" });
const switches = document.querySelectorAll("[data-theme-switch]");
/** The browser's own bars around the page, with the colour that each has by the system's preference. */
const bars = [...document.querySelectorAll("meta[name=theme-color]")].map((bar) => ({ bar, own: bar.getAttribute("content") ?? "" }));

function draw() {
  const theme = root.dataset.theme ?? "auto";
  for (const one of switches) one.textContent = `Theme: ${NAMES[theme]}`;
  const paper = getComputedStyle(root).backgroundColor;
  for (const { bar, own } of bars) bar.setAttribute("content", theme === "auto" ? own : paper);
}

for (const one of switches) {
  one.addEventListener("click", () => {
    const theme = NEXT[root.dataset.theme ?? "auto"];
    root.dataset.theme = theme;
    try {
      localStorage.setItem("parley.theme", theme);
    } catch {
      // Refused: it lasts until the next load.
    }
    draw();
  });
}
draw();
