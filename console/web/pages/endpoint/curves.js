// @ts-check
/** How both arms went: what was asked of them, how long they took, how far they are apart, how sure they were. */

import { element } from "../../page/element.js";
import { Curve } from "../../charts/curve.js";
import { shares } from "../../charts/small.js";
import { panel, switcher } from "../../parts/panels.js";
import { morph } from "../../page/morph.js";
import { latency, percent, rate } from "../../words/numbers.js";

/** @typedef {import("./history.js").History} History */

/** Samples of which class shares are the mean. */
const LATEST = 30;

export class Curves {
  /** @param {any} view */
  constructor(view) {
    this.names = { incumbent: view.incumbent.version, candidate: view.candidate?.version ?? "" };
    this.quantile = "p95";
    this.flow = new Curve({ name: "Requests", format: rate, least: 1, empty: "No requests yet" });
    this.errors = new Curve({ name: "Failed requests", format: rate, least: 0.2, height: 110, empty: "No requests yet" });
    this.latency = new Curve({ name: "Latency", format: latency, least: 0.001, empty: "No answers yet" });
    this.divergence = new Curve({ name: "Divergence", format: percent, least: 0.01, most: 1.02, empty: "No pairs: nothing to compare" });
    this.confidence = new Curve({ name: "Confidence", format: percent, floor: 1, most: 1.02, empty: "These predictions say no confidence" });
    this.quantiles = element("div", {});
    this.classes = element("div", { class: "shares" });
    this.node = element(
      "div",
      { class: "among", "data-own": true },
      panel("Requests and failures", { about: "what clients were served, by arm" }, this.flow.node, this.errors.node),
      panel("Latency", { about: "of both arms, on the same requests", end: this.quantiles }, this.latency.node),
      panel("Divergence", { about: "mean of the latest pairs, and the share that flipped" }, this.divergence.node),
      panel("Classes", { about: "share of the predictions in the latest minute" }, this.classes),
      panel("Confidence", { about: "mean of the latest pairs" }, this.confidence.node),
    );
  }

  /** @param {History} history */
  update(history) {
    this.history = history;
    const { at, marks } = history;
    const arms = (/** @type {string} */ column) =>
      [["incumbent", this.names.incumbent], ["candidate", this.names.candidate]]
        .filter(([, name]) => name)
        .map(([arm, name]) => ({ name, look: arm, values: history.row(arm, column) }));
    this.flow.update({ at, marks, series: arms("requests") });
    this.errors.update({ at, marks, series: arms("errors") });
    this.latency.update({ at, marks, series: arms(this.quantile) });
    this.confidence.update({ at, marks, series: arms("confidence") });
    this.divergence.update({
      at,
      marks,
      series: [
        { name: "divergence", look: "estimate", values: history.row("divergence") },
        { name: "flips", look: "neutral", values: history.row("flips") },
      ],
    });
    this.choose();
    this.share(history);
  }

  choose() {
    const choices = /** @type {Array<[string, string]>} */ ([["p50", "p50"], ["p95", "p95"], ["p99", "p99"]]);
    const fresh = switcher("Quantile", choices, this.quantile, (value) => {
      this.quantile = value;
      if (this.history) this.update(this.history);
    });
    morph(this.quantiles, element("div", {}, fresh));
  }

  /** @param {History} history */
  share(history) {
    const rows = history.below("classes").map((name) => ({
      name,
      incumbent: mean(history.row("classes", name, "incumbent")),
      candidate: mean(history.row("classes", name, "candidate")),
    }));
    rows.sort((one, other) => (other.incumbent ?? 0) - (one.incumbent ?? 0));
    const fresh = rows.some((one) => one.incumbent !== null || one.candidate !== null)
      ? shares(rows)
      : element("div", { class: "shares" }, element("p", { class: "soft" }, "No pairs of late, or predictions that are no classes."));
    morph(this.classes, fresh);
  }

  end() {
    for (const one of [this.flow, this.errors, this.latency, this.divergence, this.confidence]) one.end();
  }
}

/** @param {Array<number|null>} row */
function mean(row) {
  const known = /** @type {number[]} */ (row.slice(-LATEST).filter((one) => one !== null));
  return known.length ? known.reduce((sum, one) => sum + one, 0) / known.length : null;
}
