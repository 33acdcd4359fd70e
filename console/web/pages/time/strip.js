// @ts-check
/** A strip of time around an instant, with a mark for each change; a click goes there. */

import { drawn, element } from "../../page/element.js";
import { said, weightOf } from "../../parts/records.js";
import { clock } from "../../words/times.js";

const WIDTH = 1000;
const HEIGHT = 62;
const LINE = 30;

/**
 * @param {any[]} records @param {number} at  milliseconds @param {number} reach  milliseconds to either side
 * @param {(at: number) => void} go
 */
export function strip(records, at, reach, go) {
  const [from, until] = [at - reach, at + reach];
  const place = (/** @type {number} */ time) => ((time - from) / (2 * reach)) * WIDTH;
  const shown = records.filter((one) => {
    const time = Date.parse(one.at);
    return time >= from && time <= until;
  });
  return element(
    "div",
    { class: "strip", on: { click: (/** @type {MouseEvent} */ event) => clicked(event) } },
    drawn(
      "svg",
      { viewBox: `0 0 ${WIDTH} ${HEIGHT}`, preserveAspectRatio: "none", "aria-hidden": "true" },
      drawn("line", { class: "strip-line", x1: 0, x2: WIDTH, y1: LINE, y2: LINE }),
      drawn("line", { class: "strip-now", x1: WIDTH / 2, x2: WIDTH / 2, y1: 2, y2: HEIGHT - 2 }),
      shown.map((one) => {
        const x = place(Date.parse(one.at));
        return drawn(
          "line",
          { class: `mark mark-${weightOf(one)}`, x1: x, x2: x, y1: LINE - height(one), y2: LINE + height(one) },
          drawn("title", {}, `${clock(one.at)} ${said(one)}`),
        );
      }),
    ),
    element("div", { class: "strip-ends soft small" }, element("span", {}, clock(new Date(from))), element("span", {}, clock(new Date(at))), element("span", {}, clock(new Date(until)))),
  );

  /** @param {MouseEvent} event */
  function clicked(event) {
    const box = /** @type {HTMLElement} */ (event.currentTarget).getBoundingClientRect();
    go(from + ((event.clientX - box.left) / box.width) * 2 * reach);
  }
}

/** @param {any} one */
function height(one) {
  return weightOf(one) === "bad" ? 22 : weightOf(one) === "good" ? 17 : 11;
}
