/**
 * The window onto the log: at its newest end it follows, anywhere else it stays where the reader is, whatever is
 * added above or below.
 */
import { $, plural } from "./dom.js";

/** How near to the end counts as being there, in CSS pixels. */
const NEAR = 48;

export class View {
  /** @param {HTMLElement} log */
  constructor(log) {
    this.log = log;
    this.newer = $("newer");
    /** Follows the newest. */
    this.stuck = true;
    /** Messages below that the reader has not seen. */
    this.below = 0;
    /** @type {HTMLElement | null} The first unread one of a time away: following stops with it at the top. */
    this.stop = null;
    log.addEventListener("scroll", () => this.look(), { passive: true });
    this.newer.addEventListener("click", () => {
      this.toEnd();
      log.focus({ preventScroll: true });
    });
    // The window changes: a keyboard comes up, the message box grows, a phone is turned.
    new ResizeObserver(() => this.stuck && this.follow()).observe(log);
  }

  atEnd() {
    return this.log.scrollHeight - this.log.scrollTop - this.log.clientHeight < NEAR;
  }

  look() {
    this.stuck = this.atEnd();
    if (this.stuck && this.below) {
      this.below = 0;
      this.draw();
    }
  }

  toEnd() {
    this.stop = null;
    this.stuck = true;
    this.below = 0;
    this.draw();
    this.follow();
  }

  follow() {
    const end = this.log.scrollHeight - this.log.clientHeight;
    this.log.scrollTop = this.stop?.isConnected ? Math.min(end, this.stop.offsetTop - 8) : end;
  }

  /**
   * Makes a change to the log without moving what the reader reads.
   * @param {() => void} change
   */
  keep(change) {
    if (this.stuck) {
      change();
      this.follow();
      return;
    }
    // Its last part: the first may be a separator, which moves to the line above.
    const anchor = this.firstVisible()?.lastElementChild;
    const before = anchor?.getBoundingClientRect().top ?? 0;
    change();
    if (!anchor?.isConnected) return;
    const moved = anchor.getBoundingClientRect().top - before;
    if (moved) this.log.scrollTop += moved;
  }

  /** @returns {HTMLElement | undefined} */
  firstVisible() {
    const lines = this.log.children;
    const top = this.log.scrollTop;
    let low = 0;
    let high = lines.length;
    while (low < high) {
      const middle = (low + high) >> 1;
      const line = /** @type {HTMLElement} */ (lines[middle]);
      if (line.offsetTop + line.offsetHeight > top) high = middle;
      else low = middle + 1;
    }
    // Not the line that says that more is being loaded: it goes.
    while (lines[low]?.classList.contains("hole")) low++;
    return /** @type {HTMLElement | undefined} */ (lines[low]);
  }

  /** So many were added below. @param {number} count */
  added(count) {
    if (this.stuck && this.atEnd()) return;
    this.stuck = false;
    this.below += count;
    this.draw();
  }

  draw() {
    this.newer.hidden = this.below === 0;
    this.newer.textContent = `${plural(this.below, "new message")} ↓`;
  }
}
