/** Light, dark, or as the system likes it. theme.js has set the stored choice before the first paint. */

const root = document.documentElement;
const NEXT = /** @type {Record<string, string>} */ ({ auto: "light", light: "dark", dark: "auto" });
const NAMES = /** @type {Record<string, string>} */ ({ auto: "as the system", light: "light", dark: "dark" });
const switches = document.querySelectorAll("[data-theme-switch]");

function draw() {
  for (const one of switches) one.textContent = `Theme: ${NAMES[root.dataset.theme ?? "auto"]}`;
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
