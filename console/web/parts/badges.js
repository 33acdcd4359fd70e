// @ts-check
/** Verdicts and states: a shape, a word and a colour, so that none has to be seen to know the others. */

import { drawn, element } from "../page/element.js";

const SHAPES = {
  good: "M2 6.5 5 9.5 10.5 3",
  wait: "M6 1a5 5 0 1 0 .01 0M6 3.4V6l1.9 1.3",
  bad: "M2.5 2.5l7 7m0-7-7 7",
  none: "M2 6h8",
};

/** @typedef {"good"|"wait"|"bad"|"none"} Mood */

/** @param {Mood} mood @param {string} text @param {string} [title] */
export function badge(mood, text, title) {
  return element("span", { class: `badge badge-${mood}`, title: title ?? false }, shape(mood), text);
}

/** @param {Mood} mood */
export function shape(mood) {
  return drawn(
    "svg",
    { viewBox: "0 0 12 12", "aria-hidden": "true", class: `shape shape-${mood}` },
    drawn("path", { d: SHAPES[mood], fill: "none", stroke: "currentColor", "stroke-width": mood === "wait" ? 1.4 : 2, "stroke-linecap": "round", "stroke-linejoin": "round" }),
  );
}

/** @type {Object<string, Mood>} */
const VERDICTS = { pass: "good", inconclusive: "wait", error: "bad", fail: "bad" };

/** @param {string} verdict  pass, inconclusive, error or fail */
export function mood(verdict) {
  return VERDICTS[verdict] ?? "none";
}

/** @param {string} verdict @param {string} [title] */
export function verdict(verdict, title) {
  return badge(mood(verdict), verdict, title);
}
