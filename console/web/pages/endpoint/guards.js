// @ts-check
/** The guards: how each stands, and of one of them the two curves by which it decides. */

import { element } from "../../page/element.js";
import { empty } from "../../page/states.js";
import { mood, verdict } from "../../parts/badges.js";
import { way } from "../../charts/small.js";
import { Curve } from "../../charts/curve.js";
import { count, oneIn, percent } from "../../words/numbers.js";
import { closeness, foremost, spoken } from "../../words/standing.js";

/** How a guard is called in the history and in the address. @param {any} guard */
export function called(guard) {
  return guard.cohort ? `${guard.guard} ${guard.cohort}` : guard.guard;
}

/** The guard that is looked at: the one that is asked for, the one that tripped, the worst. @param {any} view @param {string} [wanted] */
export function chosen(view, wanted) {
  const cause = view.switch.tripped ? view.last_trip?.cause ?? "" : "";
  return (
    view.guards.find((/** @type {any} */ one) => called(one) === wanted) ??
    view.guards.find((/** @type {any} */ one) => `guard:${one.guard}` === cause) ??
    foremost(view.guards)
  );
}

/**
 * @param {any} view @param {any} looked  the guard that is looked at @param {(name: string) => void} choose
 */
export function list(view, looked, choose) {
  if (!view.guards.length) return empty("No guard watches this endpoint", "Guards are limits under guards: in the endpoint's configuration.");
  return element(
    "div",
    { class: "scroll", tabindex: 0, role: "region", "aria-label": "Table of guards" },
    element(
      "table",
      { class: "guards" },
      element("caption", { class: "unseen" }, "Guards, their estimates against their limits, and their evidence"),
      element("thead", {}, element("tr", {}, [["Guard"], ["Verdict"], ["Now", true], ["95 % bounds", true], ["Limit", true], ["Evidence", true], ["Votes", true]].map(([name, right]) => element("th", { scope: "col", class: right && "right" }, /** @type {string} */ (name))))),
      element("tbody", {}, view.guards.map((/** @type {any} */ one) => row(one, one === looked, choose))),
    ),
  );
}

/** @param {any} guard @param {boolean} looked @param {(name: string) => void} choose */
function row(guard, looked, choose) {
  const name = called(guard);
  const needed = guard.verdict === "inconclusive" && guard.pairs_needed ? `about ${count(guard.pairs_needed)} to go` : "";
  const look = closeness(guard) >= 0.5 || mood(guard.verdict) === "bad" ? "bad" : mood(guard.verdict);
  return element(
    "tr",
    { key: name, class: looked && "looked" },
    element("th", { scope: "row" }, element("button", { type: "button", class: "quiet guard-name", "aria-pressed": String(looked), on: { click: () => choose(name) } }, spoken(guard.guard)), guard.cohort ? element("span", { class: "soft small" }, ` ${guard.cohort}`) : null),
    element("td", {}, verdict(guard.verdict, guard.sentence), guard.soft ? element("span", { class: "soft small" }, " warns only") : null),
    element("td", { class: "right" }, element("strong", {}, percent(guard.estimate))),
    element("td", { class: "right soft" }, guard.count ? `${percent(guard.bound_low)} to ${percent(guard.bound_high)}` : "–"),
    element("td", { class: "right" }, percent(guard.limit)),
    element("td", { class: "right" }, element("span", { class: "way-cell" }, way(closeness(guard), /** @type {any} */ (look)), element("span", {}, oneIn(guard.evidence)))),
    element("td", { class: "right soft" }, count(guard.count), needed ? element("div", { class: "small" }, needed) : null),
  );
}

/** The two curves of the guard that is looked at. */
export class GuardCurves {
  constructor() {
    const none = "No votes yet";
    this.estimate = new Curve({ name: "Estimate", format: percent, height: 190, floor: 0, empty: none });
    this.evidence = new Curve({ name: "Evidence", format: told, height: 190, least: 1, empty: none });
    this.heads = [element("h3", {}), element("h3", {})];
    this.node = element(
      "div",
      { class: "guard-curves", "data-own": true },
      element("div", {}, this.heads[0], this.estimate.node),
      element("div", {}, this.heads[1], this.evidence.node),
    );
  }

  /** @param {any} guard @param {import("./history.js").History} history */
  update(guard, history) {
    const name = called(guard);
    const row = (/** @type {string} */ column) => history.row("guards", name, column);
    this.heads[0].textContent = `${spoken(guard.guard)}: estimate and its 95 % bounds, against the limit`;
    this.heads[1].textContent = `${spoken(guard.guard)}: evidence against the candidate; it trips at ${oneIn(guard.threshold)}`;
    const { at, marks } = history;
    this.estimate.update({
      at,
      marks,
      series: [{ name: "estimate", look: "estimate", values: row("estimate"), band: { low: row("low"), high: row("high") } }],
      threshold: { value: guard.limit, name: `limit ${percent(guard.limit)}` },
    });
    this.evidence.update({
      at,
      marks,
      series: [{ name: "evidence", look: "evidence", values: row("evidence").map((one) => (one === null ? null : Math.max(0, one))) }],
      threshold: { value: Math.log10(guard.threshold), name: `trips at ${oneIn(guard.threshold)}` },
    });
  }

  end() {
    this.estimate.end();
    this.evidence.end();
  }
}

/** @param {number|null} exponent */
function told(exponent) {
  return exponent === null ? "–" : oneIn(10 ** exponent);
}
