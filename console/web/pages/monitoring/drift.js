// @ts-check
/** Drift: the alarm in a sentence, then each column with how far it has moved; one opened shows its cells. */

import { drawn, element } from "../../page/element.js";
import { empty } from "../../page/states.js";
import { badge, verdict } from "../../parts/badges.js";
import { meter } from "../../parts/meter.js";
import { panel } from "../../parts/panels.js";
import { digest } from "../../parts/values.js";
import { count, number, oneIn, percent } from "../../words/numbers.js";
import { moment } from "../../words/times.js";

/** @param {any} drift @param {(() => void)=} relearn */
export function alarm(drift, relearn) {
  if (drift.condition === "off") {
    return panel("Drift", {}, empty("Drift is not watched", drift.problem, element("p", {}, "Set ", element("code", {}, `endpoints.${drift.endpoint}.log.records`), " to ", element("code", {}, "on"), ".")));
  }
  const { alarm: found, learning, reference } = drift;
  return panel(
    "Drift",
    {
      end: element(
        "div",
        { class: "row" },
        found ? verdict(found.verdict) : badge("none", learning ? "learning" : "no alarm set"),
        relearn && reference ? element("button", { type: "button", key: "relearn", on: { click: relearn } }, "Learn anew") : null,
      ),
    },
    drift.problem ? element("p", { class: "call call-wait" }, drift.problem) : null,
    learning ? element("div", {}, element("p", {}, "A reference is being learned from what comes."), meter(learning.requests, learning.needed, "requests")) : null,
    found
      ? element("p", { class: found.verdict === "fail" ? "bad" : "" }, element("strong", {}, found.sentence.replace("features drifted", "drifted")), element("span", { class: "soft" }, `. Evidence ${oneIn(found.evidence)}, ${count(found.votes)} votes.`), found.since ? [" Since ", moment(found.since), "."] : null)
      : element("p", { class: "soft" }, "No alarm: set guards.drift to be warned. What follows is measured all the same."),
    reference
      ? element("p", { class: "soft small" }, `Reference: ${reference.origin}, ${count(reference.rows)} rows, adopted `, moment(reference.adopted_at), ", ", digest(reference.digest))
      : null,
  );
}

/** @param {any} drift @param {string} chosen @param {(column: string) => void} choose */
export function columns(drift, chosen, choose) {
  if (!drift.columns?.length || !drift.window) return null;
  const most = Math.max(0.02, ...drift.columns.map((/** @type {any} */ one) => one.shift_high ?? one.shift ?? 0));
  const limit = drift.alarm?.limit ?? null;
  const scale = Math.min(1, Math.max(most, limit ? limit * 1.3 : 0));
  return panel(
    "Columns by how far they have moved",
    { about: `${count(drift.window.rows)} requests since ${new Date(drift.window.since).toLocaleString("en-GB")}; total variation, with bounds that hold for all columns together` },
    drift.window.rows ? null : empty("No requests in this window", "Choose a longer one."),
    element("div", { class: "scroll", tabindex: 0, role: "region", "aria-label": "Columns" },
      element(
        "table",
        { class: "columns" },
        element("thead", {}, element("tr", {}, ["Column", "Moved by", "", "Against last week", "Stability index", "Missing", "Out of range"].map((one, at) => element("th", { scope: "col", class: at > 2 && "right" }, one)))),
        drift.columns.map((/** @type {any} */ one) => column(one, one.name === chosen, scale, limit, choose)),
      )),
    Object.keys(drift.unknown_features ?? {}).length ? element("p", { class: "soft small" }, `Not in the reference: ${Object.entries(drift.unknown_features).map(([name, rows]) => `${name} (${count(/** @type {number} */ (rows))})`).join(", ")}`) : null,
  );
}

/** @param {any} one @param {boolean} open @param {number} scale @param {number | null} limit @param {(column: string) => void} choose */
function column(one, open, scale, limit, choose) {
  const mood = limit !== null && one.shift_low > limit ? "bad" : one.moved ? "wait" : "";
  return element(
    "tbody",
    { key: one.name },
    element(
      "tr",
      {},
      element("th", { scope: "row" }, element("button", { type: "button", class: "link", "aria-expanded": String(open), on: { click: () => choose(one.name) } }, one.name), one.of === "feature" ? null : element("span", { class: "soft small" }, ` ${one.of}`)),
      element("td", { class: ["moved", mood] }, percent(one.shift), one.moved ? element("span", { class: "small" }, " moved") : null),
      element("td", { class: "range" }, range(one, scale, limit)),
      element("td", { class: "right" }, one.prior_week ? percent(one.prior_week.shift) : "–"),
      element("td", { class: "right" }, one.stability_index === null ? element("span", { class: "soft", title: "Shown from 500 rows on" }, "–") : number(one.stability_index, 2)),
      element("td", { class: "right" }, percent(one.missing)),
      element("td", { class: "right" }, count(one.below + one.above)),
    ),
    open ? element("tr", { class: "opened" }, element("td", { colspan: 7 }, cells(one))) : null,
  );
}

/** @param {any} one @param {number} scale @param {number | null} limit */
function range(one, scale, limit) {
  const x = (/** @type {number} */ value) => (Math.min(1, Math.max(0, value ?? 0) / scale) * 200).toFixed(1);
  return drawn(
    "svg",
    { viewBox: "0 0 200 18", class: "range-bar", role: "img", "aria-label": `${percent(one.shift)}, between ${percent(one.shift_low)} and ${percent(one.shift_high)}${limit === null ? "" : `, limit ${percent(limit)}`}` },
    drawn("line", { class: "range-axis", x1: 0, x2: 200, y1: 9, y2: 9 }),
    one.shift_low === null ? null : drawn("line", { class: "range-band", x1: x(one.shift_low), x2: x(one.shift_high), y1: 9, y2: 9 }),
    limit === null ? null : drawn("line", { class: "range-limit", x1: x(limit), x2: x(limit), y1: 1, y2: 17 }),
    drawn("circle", { class: "range-point", cx: x(one.shift), cy: 9, r: 4 }),
  );
}

/** Reference and live, cell by cell. @param {any} one */
function cells(one) {
  const most = Math.max(...one.cells.flatMap((/** @type {any} */ cell) => [cell.reference, cell.share, cell.prior_week ?? 0]), 0.001);
  const shown = one.cells.filter((/** @type {any} */ cell) => cell.reference > 0 || cell.share > 0);
  return element(
    "div",
    { class: "cells" },
    element("p", { class: "soft small legend-line" }, element("span", { class: "key key-reference" }), " reference ", element("span", { class: "key key-live" }), " this window ", shown.some((/** @type {any} */ cell) => cell.prior_week !== undefined) ? [element("span", { class: "key key-week" }), " a week before"] : null),
    element(
      "ul",
      { class: "cell-list" },
      shown.map((/** @type {any} */ cell) =>
        element(
          "li",
          { key: cell.cell },
          element("span", { class: "cell-name", title: cell.cell }, cell.cell),
          element("span", { class: "cell-bars", "aria-hidden": "true", vars: { "--reference": cell.reference / most, "--live": cell.share / most, "--week": (cell.prior_week ?? 0) / most } }, element("i", { class: "bar-reference" }), element("i", { class: "bar-live" }), cell.prior_week === undefined ? null : element("i", { class: "bar-week" })),
          element("span", { class: "cell-numbers" }, `${percent(cell.reference)} → `, element("strong", {}, percent(cell.share))),
        )),
    ),
    one.new_categories.length ? element("p", { class: "soft small" }, `New: ${one.new_categories.slice(0, 10).map((/** @type {any} */ found) => `${found.value} (${count(found.rows)})`).join(", ")}`) : null,
    one.lowest === null || one.lowest === undefined ? null : element("p", { class: "soft small" }, `From ${number(one.lowest)} to ${number(one.highest)}; ${count(one.retyped)} of another type.`),
  );
}
