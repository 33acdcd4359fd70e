// @ts-check
/** Recovery times of an endpoint's drills over time: a point each, on a logarithmic scale, with the limit. */

import { drawn, element } from "../../page/element.js";
import { number } from "../../words/numbers.js";
import { clock } from "../../words/times.js";

const WIDTH = 1000;
const HEIGHT = 170;
const LEFT = 60;
const TOP = 10;
const BOTTOM = 24;
const MOST = 60;

/**
 * Where each drill's point is: across in the order of time, up by the logarithm of its recovery time. Pure.
 * @param {any[]} drills  oldest first
 */
export function points(drills) {
  const values = drills.flatMap((one) => [one.recovery_ms, one.limit_ms]).filter((one) => one > 0);
  const low = Math.floor(Math.log10(Math.max(1, Math.min(...values, 1000))));
  const high = Math.max(low + 1, Math.ceil(Math.log10(Math.max(...values, 10))));
  const y = (/** @type {number} */ value) => TOP + (1 - (Math.log10(Math.max(value, 10 ** low)) - low) / (high - low)) * (HEIGHT - TOP - BOTTOM);
  const x = (/** @type {number} */ index) => LEFT + ((index + 0.5) / drills.length) * (WIDTH - LEFT - 10);
  return {
    points: drills.map((one, index) => ({ drill: one, x: x(index), y: one.recovery_ms > 0 ? y(one.recovery_ms) : HEIGHT - BOTTOM })),
    ticks: Array.from({ length: high - low + 1 }, (_, at) => ({ value: 10 ** (low + at), y: y(10 ** (low + at)) })),
    limit: drills.length && drills[drills.length - 1].limit_ms ? y(drills[drills.length - 1].limit_ms) : null,
  };
}

/** @param {string} name @param {any[]} newest  newest first @param {string} chosen @param {(id: string) => void} choose */
export function recoveries(name, newest, chosen, choose) {
  const drills = newest.slice(0, MOST).reverse();
  const { points: places, ticks, limit } = points(drills);
  const passed = drills.filter((one) => one.passed).length;
  const label = `${name}: ${passed} of ${drills.length} drills passed. The last one ${spoken(drills[drills.length - 1])}.`;
  return element(
    "figure",
    { class: "recoveries", key: name },
    element("figcaption", {}, element("span", { class: "name" }, name), element("span", { class: "soft small" }, ` ${passed} of ${drills.length} passed`)),
    drawn(
      "svg",
      { viewBox: `0 0 ${WIDTH} ${HEIGHT}`, role: "img", "aria-label": label },
      ticks.map((one) => [
        drawn("line", { class: "grid", x1: LEFT, x2: WIDTH, y1: one.y, y2: one.y }),
        drawn("text", { class: "tick", x: LEFT - 8, y: one.y + 4, "text-anchor": "end" }, span(one.value)),
      ]),
      limit === null ? null : drawn("line", { class: "limit", x1: LEFT, x2: WIDTH, y1: limit, y2: limit }),
      drawn("polyline", { class: "thread", points: places.map((one) => `${one.x},${one.y}`).join(" ") }),
      places.map((one) => point(one, chosen, choose)),
    ),
  );
}

/** @param {{drill: any, x: number, y: number}} one @param {string} chosen @param {(id: string) => void} choose */
function point({ drill, x, y }, chosen, choose) {
  const good = drill.passed;
  const shape = good
    ? drawn("circle", { cx: x, cy: y, r: 5 })
    : drawn("path", { d: `M${x - 5} ${y - 5}l10 10m0-10-10 10` });
  return drawn(
    "g",
    { class: ["point", good ? "point-good" : "point-bad", drill.id === chosen && "point-chosen"], key: drill.id, on: { click: () => choose(drill.id) } },
    drawn("title", {}, `${clock(drill.began_at)}: ${spoken(drill)}`),
    drawn("circle", { cx: x, cy: y, r: 12, class: "target" }),
    shape,
  );
}

/** @param {any} drill */
function spoken(drill) {
  const took = drill.recovery_ms === null ? "did not recover" : `recovered in ${number(drill.recovery_ms)} ms`;
  return `${drill.state}, ${took}, fault ${drill.fault}`;
}

/** @param {number} value  milliseconds */
function span(value) {
  return value >= 1000 ? `${value / 1000} s` : `${value} ms`;
}
