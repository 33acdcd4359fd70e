// @ts-check
/**
 * Curves over time: lines, a band around one, a threshold, and what happened meanwhile. The names above it are the
 * legend and the readout: they show the latest values, or those where the pointer is. With the keyboard: focus the
 * curve, then the arrow keys, Home and End; Escape goes back to the latest.
 */

import { drawn, element, fill } from "../page/element.js";
import { clock } from "../words/times.js";
import { extent, instants, isNumber, last, linear, placeOf, ticks } from "./scale.js";

/**
 * @typedef {{name: string, look: string, values: Array<number|null>, band?: {low: Array<number|null>, high: Array<number|null>}}} Series
 *   `look`: a class, such as `incumbent`
 * @typedef {object} Data
 * @property {number[]} at  seconds since 1970, ascending
 * @property {Series[]} series
 * @property {{value: number, name: string}} [threshold]
 * @property {Array<{at: number, kind: string, text: string}>} [marks]
 */

const LEFT = 52;
const RIGHT = 10;
const TOP = 14;
const FOOT = 22;

/** Samples after which a value is not what is now. */
const LATE = 4;

export class Curve {
  /**
   * @param {{name: string, format: (value: number|null) => string, height?: number, least?: number, floor?: number, most?: number, empty?: string}} options
   *   `least`: the height of the scale where the values are smaller; `floor`: where it begins, 0 if not given;
   *   `most`: where it ends at the latest; `empty`: what to say while there is nothing
   */
  constructor(options) {
    this.options = options;
    this.height = options.height ?? 170;
    this.width = 0;
    /** @type {Data} */
    this.data = { at: [], series: [] };
    /** @type {number | null} */
    this.cursor = null;
    this.legend = element("div", { class: "legend" });
    this.drawing = drawn("svg", {
      class: "curve", role: "img", tabindex: 0, height: this.height,
      on: {
        pointermove: (/** @type {PointerEvent} */ event) => this.pointed(event),
        pointerleave: () => this.move(null),
        blur: () => this.move(null),
        keydown: (/** @type {KeyboardEvent} */ event) => this.pressed(event),
      },
    });
    this.said = element("div", { class: "unseen", "aria-live": "polite" });
    this.node = element("figure", { class: "chart", "data-own": true }, this.legend, this.drawing, this.said);
    this.sizes = new ResizeObserver((entries) => this.resized(entries[0].contentRect.width));
    this.sizes.observe(this.node);
  }

  end() {
    this.sizes.disconnect();
  }

  /** @param {Data} data */
  update(data) {
    this.data = data;
    this.draw();
  }

  /** @param {number} width */
  resized(width) {
    if (Math.abs(width - this.width) < 1) return;
    this.width = width;
    this.draw();
  }

  draw() {
    this.name();
    if (this.width < 80) return;
    const { data, options } = this;
    const bands = data.series.flatMap((one) => (one.band ? [one.band.low, one.band.high] : []));
    const range = extent([...data.series.map((one) => one.values), ...bands]);
    this.drawing.setAttribute("viewBox", `0 0 ${this.width} ${this.height}`);
    this.drawing.setAttribute("width", String(this.width));
    if (!range || data.at.length < 2) {
      fill(this.drawing, drawn("text", { x: this.width / 2, y: this.height / 2, class: "curve-empty" }, options.empty ?? "Nothing yet"));
      return;
    }
    const [x, y] = this.scales(range);
    fill(
      this.drawing,
      this.grid(x, y),
      data.series.map((one) => one.band && band(data.at, one, x, y)),
      data.threshold ? this.threshold(data.threshold, y) : null,
      (data.marks ?? []).filter((one) => one.at >= data.at[0]).map((one) => this.mark(one, x)),
      data.series.map((one) => drawn("path", { class: `stroke stroke-${one.look}`, d: path(data.at, one.values, x, y) })),
      this.pointer(x, y),
    );
  }

  /** @param {[number, number]} range @returns {Array<(value: number) => number>} */
  scales(range) {
    const { at, threshold } = this.data;
    const { floor = 0, least = 0, most = Infinity } = this.options;
    const low = Math.min(floor, range[0]);
    const wanted = Math.max(range[1], low + least, threshold ? threshold.value * 1.15 : -Infinity);
    const high = Math.min(most, wanted + (wanted - low) * 0.06) || 1;
    this.low = low;
    this.high = high;
    return [
      linear(at[0], at[at.length - 1], LEFT, this.width - RIGHT),
      linear(low, high, this.height - FOOT, TOP),
    ];
  }

  /** @param {(value: number) => number} x @param {(value: number) => number} y */
  grid(x, y) {
    const { at } = this.data;
    const bottom = this.height - FOOT;
    const times = instants(at[0], at[at.length - 1], Math.max(2, Math.floor(this.width / 110)));
    return drawn(
      "g",
      { "aria-hidden": "true" },
      ticks(/** @type {number} */ (this.low), /** @type {number} */ (this.high), 3).map((value) => [
        drawn("path", { class: "grid", d: `M${LEFT} ${round(y(value))}H${this.width - RIGHT}` }),
        drawn("text", { class: "tick tick-y", x: LEFT - 6, y: round(y(value) + 4) }, this.options.format(value)),
      ]),
      times.map((one) => drawn("text", { class: "tick tick-x", x: round(x(one)), y: bottom + 16 }, clockless(one, at[at.length - 1] - at[0]))),
    );
  }

  /** @param {{value: number, name: string}} threshold @param {(value: number) => number} y */
  threshold({ value, name }, y) {
    const place = round(y(value));
    const crowded = (/** @type {number} */ from) =>
      this.data.series.some((one) => one.values.slice(from, from + this.data.at.length / 3).some((held) => isNumber(held) && y(/** @type {number} */ (held)) < place && y(/** @type {number} */ (held)) > place - 18));
    const left = crowded(Math.floor((2 * this.data.at.length) / 3)) && !crowded(0);
    return [
      drawn("path", { class: "threshold", d: `M${LEFT} ${place}H${this.width - RIGHT}` }),
      drawn("text", { class: ["threshold-name", left && "threshold-left"], x: left ? LEFT + 4 : this.width - RIGHT - 2, y: place - 5 }, name),
    ];
  }

  /** @param {{at: number, kind: string, text: string}} mark @param {(value: number) => number} x */
  mark({ at, kind, text }, x) {
    const place = round(x(at));
    return drawn(
      "g",
      { class: `mark mark-${kind}` },
      drawn("title", {}, `${clock(at)} ${text}`),
      drawn("path", { d: `M${place} ${TOP - 4}V${this.height - FOOT}` }),
      drawn("path", { class: "mark-head", d: `M${place - 4} ${TOP - 10}h8l-4 7z` }),
    );
  }

  /** @param {(value: number) => number} x @param {(value: number) => number} y */
  pointer(x, y) {
    if (this.cursor === null || this.cursor >= this.data.at.length) return null;
    const place = round(x(this.data.at[this.cursor]));
    return [
      drawn("path", { class: "cursor", d: `M${place} ${TOP}V${this.height - FOOT}` }),
      this.data.series.map((one) => {
        const value = one.values[/** @type {number} */ (this.cursor)];
        return isNumber(value) ? drawn("circle", { class: `dot dot-${one.look}`, cx: place, cy: round(y(/** @type {number} */ (value))), r: 3.5 }) : null;
      }),
    ];
  }

  name() {
    const { at, series, threshold } = this.data;
    const { format, name } = this.options;
    const values = series.map((one) => (this.cursor === null ? last(one.values.slice(-LATE)) : one.values[this.cursor] ?? null));
    const when = this.cursor !== null && at[this.cursor] ? `at ${clock(at[this.cursor])}` : "now";
    fill(
      this.legend,
      element("span", { class: "legend-when" }, when),
      series.map((one, place) =>
        element("span", { class: `legend-item legend-${one.look}` }, element("span", { class: "swatch", "aria-hidden": "true" }), `${one.name} `, element("strong", {}, format(values[place])))),
    );
    const limit = threshold ? `; ${threshold.name}` : "";
    const text = `${name}, ${when}: ${series.map((one, place) => `${one.name} ${format(values[place])}`).join(", ") || "nothing yet"}${limit}`;
    this.drawing.setAttribute("aria-label", `${text}. Arrow keys move through time.`);
    if (this.cursor !== null && document.activeElement === this.drawing) this.said.textContent = text;
  }

  /** @param {number | null} cursor */
  move(cursor) {
    if (cursor === this.cursor) return;
    this.cursor = cursor === null ? null : Math.max(0, Math.min(this.data.at.length - 1, cursor));
    this.draw();
  }

  /** @param {PointerEvent} event */
  pointed(event) {
    const { at } = this.data;
    if (at.length < 2) return;
    const box = this.drawing.getBoundingClientRect();
    const back = linear(LEFT, this.width - RIGHT, at[0], at[at.length - 1]);
    const step = (at[at.length - 1] - at[0]) / (at.length - 1) / 2;
    this.move(Math.max(0, placeOf(at, back(((event.clientX - box.left) * this.width) / box.width) + step)));
  }

  /** @param {KeyboardEvent} event */
  pressed(event) {
    const end = this.data.at.length - 1;
    const from = this.cursor ?? end;
    const stride = event.shiftKey ? 10 : 1;
    /** @type {Object<string, number | null>} */
    const moves = { ArrowLeft: from - stride, ArrowRight: from + stride, Home: 0, End: end, Escape: null };
    if (!(event.key in moves) || end < 1) return;
    event.preventDefault();
    this.move(moves[event.key]);
  }
}

/** @param {number[]} at @param {Array<number|null>} values @param {(v: number) => number} x @param {(v: number) => number} y */
function path(at, values, x, y) {
  let found = "";
  let gap = true;
  for (let place = 0; place < at.length; place += 1) {
    const value = values[place];
    if (!isNumber(value)) {
      gap = true;
      continue;
    }
    const alone = gap && !isNumber(values[place + 1]);
    found += `${gap ? "M" : "L"}${round(x(at[place]))} ${round(y(/** @type {number} */ (value)))}${alone ? "h1" : ""}`;
    gap = false;
  }
  return found;
}

/** @param {number[]} at @param {Series} series @param {(v: number) => number} x @param {(v: number) => number} y */
function band(at, series, x, y) {
  const { low, high } = /** @type {{low: Array<number|null>, high: Array<number|null>}} */ (series.band);
  const known = at.map((_, place) => place).filter((place) => isNumber(low[place]) && isNumber(high[place]));
  if (known.length < 2) return null;
  const there = known.map((place) => `${round(x(at[place]))} ${round(y(/** @type {number} */ (high[place])))}`);
  const back = known.reverse().map((place) => `${round(x(at[place]))} ${round(y(/** @type {number} */ (low[place])))}`);
  return drawn("path", { class: `band band-${series.look}`, d: `M${there.join("L")}L${back.join("L")}Z` });
}

/** @param {number} value */
function round(value) {
  return Math.round(value * 10) / 10;
}

/** @param {number} at @param {number} span */
function clockless(at, span) {
  const text = new Date(at * 1000).toLocaleTimeString("en-GB");
  return span > 300 ? text.slice(0, 5) : text;
}
