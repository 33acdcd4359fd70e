// @ts-check
/** Drawings as large as a word or a line: a trend, a share, bars of two arms. */

import { drawn, element } from "../page/element.js";
import { percent } from "../words/numbers.js";
import { extent, isNumber, linear } from "./scale.js";

/** @param {Array<number|null>} values @param {string} label */
export function trend(values, label) {
  const [width, height] = [88, 24];
  const high = Math.max(1e-9, (extent([values]) ?? [0, 1])[1]);
  const y = linear(0, high, height - 2, 2);
  const step = width / Math.max(1, values.length - 1);
  let line = "";
  let gap = true;
  values.forEach((value, at) => {
    if (isNumber(value)) line += `${gap ? "M" : "L"}${(at * step).toFixed(1)} ${y(/** @type {number} */ (value)).toFixed(1)}`;
    gap = !isNumber(value);
  });
  return drawn("svg", { class: "trend", viewBox: `0 0 ${width} ${height}`, width, height, role: "img", "aria-label": label }, drawn("path", { d: line }));
}

/**
 * How far evidence is on its way: a bar, its end the threshold.
 * @param {number} share @param {import("../parts/badges.js").Mood} mood
 */
export function way(share, mood) {
  const [width, height] = [64, 8];
  return drawn(
    "svg",
    { class: `way way-${mood}`, viewBox: `0 0 ${width} ${height}`, width, height, "aria-hidden": "true" },
    drawn("rect", { class: "way-whole", width, height, rx: 4 }),
    share > 0 ? drawn("rect", { class: "way-part", width: Math.max(4, width * Math.min(1, share)).toFixed(1), height, rx: 4 }) : null,
  );
}

/**
 * Shares of both arms, class by class, each a pair of bars.
 * @param {Array<{name: string, incumbent: number|null, candidate: number|null}>} rows
 */
export function shares(rows) {
  const most = Math.max(0.01, ...rows.flatMap((one) => [one.incumbent ?? 0, one.candidate ?? 0]));
  return element(
    "div",
    { class: "shares", role: "list" },
    rows.map((one) =>
      element(
        "div",
        { class: "share", role: "listitem", key: one.name },
        element("span", { class: "share-name clip", title: one.name }, one.name),
        element("div", { class: "share-bars" }, bar("incumbent", one.incumbent, most), bar("candidate", one.candidate, most)),
      )),
  );
}

/** @param {"incumbent"|"candidate"} arm @param {number|null} value @param {number} most */
function bar(arm, value, most) {
  return element(
    "div",
    { class: "share-bar" },
    drawn(
      "svg",
      { viewBox: "0 0 100 6", preserveAspectRatio: "none", "aria-hidden": "true" },
      drawn("rect", { class: "way-whole", width: 100, height: 6 }),
      drawn("rect", { class: `fill-${arm}`, width: (100 * (value ?? 0)) / most, height: 6 }),
    ),
    element("span", { class: "share-value" }, element("span", { class: "unseen" }, `${arm} `), percent(value)),
  );
}
