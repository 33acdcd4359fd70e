// @ts-check
/** Where a release or a drill stands, as a badge. */

import { badge } from "./badges.js";

/** @typedef {import("./badges.js").Mood} Mood */

/** @type {Object<string, Mood>} */
const MOODS = {
  gating: "wait", approving: "wait", shadow: "wait", canary: "wait", guarded: "wait", faulty: "wait",
  confirmed: "wait", promoted: "good", done: "good", passed: "good", failed: "bad", halted: "bad",
  "rolled back": "bad", tripped: "bad", aborted: "none",
};

/** @param {string} word @returns {Mood} */
export function mood(word) {
  return MOODS[word] ?? "none";
}

/** @param {string} word @param {string} [title] */
export function phase(word, title) {
  return badge(mood(word), word, title);
}
