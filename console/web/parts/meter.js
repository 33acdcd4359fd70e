// @ts-check
/** How far something has come. */

import { element } from "../page/element.js";
import { count } from "../words/numbers.js";

/** @param {number} held @param {number} needed @param {string} label  what is counted: `pairs` */
export function meter(held, needed, label) {
  const share = needed > 0 ? Math.min(1, held / needed) : 1;
  return element(
    "div",
    { class: "meter-row" },
    element("progress", { class: "meter", max: 1, value: share, "aria-label": `${count(held)} of ${count(needed)} ${label}` }),
    element("span", { class: "meter-text" }, `${count(held)} of ${count(needed)} ${label}`),
  );
}
