// @ts-check
/**
 * The points: a drawing of who is served by whom. Requests come from the left on one track; the main line is the
 * incumbent's, the branch the candidate's. Its width is its share; mirrors are a thin line of dots; a trip breaks it.
 */

import { drawn, element } from "../page/element.js";
import { percent, rate } from "../words/numbers.js";

/**
 * @typedef {object} Flow
 * @property {string} incumbent
 * @property {string | null} candidate
 * @property {boolean} tripped
 * @property {string} mode
 * @property {number} weight  the share that the candidate may be given at most, 0 to 1
 * @property {number | null} toIncumbent  requests a second
 * @property {number | null} toCandidate
 * @property {number | null} mirrors
 */

const WIDTH = 440;
const HEIGHT = 124;
const FORK = 92;
const END = 222;
const MAIN = 36;
const BRANCH = 94;

/** @param {Flow} flow */
export function points(flow) {
  const all = (flow.toIncumbent ?? 0) + (flow.toCandidate ?? 0);
  const share = all ? (flow.toCandidate ?? 0) / all : 0;
  const thick = (/** @type {number} */ part) => (part > 0 ? 2.5 + 9 * Math.sqrt(part) : 2.5);
  const branch = `M${FORK} ${MAIN}C${FORK + 50} ${MAIN} ${FORK + 44} ${BRANCH} ${FORK + 94} ${BRANCH}H${END}`;
  return element(
    "div",
    { class: "points" },
    drawn(
      "svg",
      { viewBox: `0 0 ${WIDTH} ${HEIGHT}`, role: "img", "aria-label": said(flow, share) },
      drawn("path", { class: "rail rail-in", d: `M8 ${MAIN}H${FORK}`, "stroke-width": thick(1) }),
      flow.candidate ? candidate(flow, share, branch, thick) : null,
      drawn("path", { class: "rail rail-incumbent", d: `M${FORK - 2} ${MAIN}H${END}`, "stroke-width": thick(all ? 1 - share : 1) }),
      drawn("circle", { class: "rail-point", cx: FORK, cy: MAIN, r: 7 }),
      drawn("text", { class: "rail-text", x: 8, y: MAIN - 16 }, flow.toIncumbent === null ? "" : rate(all)),
      drawn("text", { class: "rail-text rail-soft", x: 8, y: MAIN + 26 }, "clients"),
      label(flow.incumbent, flow.toIncumbent === null ? "" : `${rate(flow.toIncumbent)} · ${percent(1 - share)}`, MAIN, "incumbent"),
      flow.candidate ? label(flow.candidate, status(flow, share), BRANCH, "candidate") : null,
    ),
  );
}

/** @param {Flow} flow @param {number} share @param {string} branch @param {(part: number) => number} thick */
function candidate(flow, share, branch, thick) {
  if (flow.tripped) {
    return [
      drawn("path", { class: "rail rail-off", d: branch, "stroke-width": 2.5 }),
      drawn("path", { class: "rail-stop", d: `M${FORK + 37} ${BRANCH - 39}l20 20m0-20-20 20` }),
    ];
  }
  return [
    (flow.mirrors ?? 0) > 0 || share === 0 ? drawn("path", { class: "rail rail-mirror", d: branch, "stroke-width": 2.5 }) : null,
    share > 0 ? drawn("path", { class: "rail rail-candidate", d: branch, "stroke-width": thick(share) }) : null,
  ];
}

/** @param {string} name @param {string} about @param {number} y @param {string} arm */
function label(name, about, y, arm) {
  const short = name.length > 24 ? `${name.slice(0, 23)}…` : name;
  return drawn(
    "g",
    {},
    drawn("title", {}, name),
    drawn("text", { class: `rail-name rail-name-${arm}`, x: END + 14, y: y - 1 }, short),
    drawn("text", { class: "rail-text rail-soft", x: END + 14, y: y + 17 }, about),
  );
}

/** @param {Flow} flow @param {number} share */
function status(flow, share) {
  if (flow.tripped) return "out: nobody, no mirrors";
  const mirrors = flow.mirrors ? `mirrors ${rate(flow.mirrors)}` : "no mirrors";
  if (flow.mode === "shadow" || (flow.weight === 0 && !share)) return `shadow · ${mirrors}`;
  return `${rate(flow.toCandidate)} · ${percent(share)} · plan ${percent(flow.weight)}`;
}

/** @param {Flow} flow @param {number} share */
function said(flow, share) {
  const live = `${flow.incumbent} is given ${percent(1 - share)} of the requests, ${rate(flow.toIncumbent)}`;
  return flow.candidate ? `${live}; ${flow.candidate}: ${status(flow, share)}` : `${live}; there is no candidate`;
}
