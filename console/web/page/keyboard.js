// @ts-check
/** Everything can be reached by keys. A sequence such as `g o` is two keys within a second and a half. */

const PAUSE = 1_500;

/** @typedef {{keys: string, does: string, run: (event: KeyboardEvent) => void, part?: string}} Shortcut */

export class Keyboard {
  constructor() {
    /** @type {Shortcut[]} */
    this.shared = [];
    /** @type {Shortcut[]} */
    this.local = [];
    this.typed = "";
    this.at = 0;
  }

  listen() {
    document.addEventListener("keydown", (event) => this.pressed(event));
  }

  /** @param {KeyboardEvent} event */
  pressed(event) {
    if (event.ctrlKey || event.metaKey || event.altKey || event.defaultPrevented) return;
    if (writes(event.target) || document.querySelector("dialog[open]")) return;
    this.typed = event.timeStamp - this.at < PAUSE ? `${this.typed} ${event.key}`.trim() : event.key;
    this.at = event.timeStamp;
    const found = this.meant(this.typed) ?? this.meant(event.key);
    if (!found) return;
    this.typed = "";
    event.preventDefault();
    found.run(event);
  }

  /** @param {string} keys */
  meant(keys) {
    return [...this.local, ...this.shared].find((one) => one.keys === keys);
  }
}

/** @param {EventTarget | null} target */
function writes(target) {
  if (!(target instanceof HTMLElement)) return false;
  return target.isContentEditable || ["INPUT", "TEXTAREA", "SELECT"].includes(target.tagName);
}
