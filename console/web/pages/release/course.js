// @ts-check
/** The path of a release, drawn as a list, and what has to come before its next step. */

import { element } from "../../page/element.js";
import { badge, verdict } from "../../parts/badges.js";
import { meter } from "../../parts/meter.js";
import { panel, table } from "../../parts/panels.js";
import { count, number, oneIn, percent, rate, stretch } from "../../words/numbers.js";
import { spoken } from "../../words/standing.js";
import { demands, pairsStillNeeded, path } from "./path.js";

const PLACES = { done: "done", current: "here", stopped: "stopped here", waiting: "to come" };

/** @param {any} endpoint @param {any} release @param {boolean} newest */
export function course(endpoint, release, newest) {
  const steps = path(endpoint.release, release);
  return panel(
    "Path",
    { about: release?.tier ? `tier ${release.tier}` : "moved by evidence, never by time alone" },
    element(
      "ol",
      { class: "course" },
      steps.map((one) =>
        element(
          "li",
          { class: ["step", `step-${one.place}`], key: one.id, "aria-current": one.place === "current" ? "step" : false },
          element("span", { class: "step-mark", "aria-hidden": "true" }),
          element("span", { class: "step-title" }, one.title),
          element("span", { class: "step-detail" }, one.detail),
          element("span", { class: "step-place" }, PLACES[one.place]),
        )),
    ),
    newest ? null : element("p", { class: "soft small" }, "The plan is the one that is configured now."),
  );
}

/**
 * @param {any} endpoint @param {any} release @param {number} now
 * @param {import("./pace.js").Pace} pace
 */
export function waiting(endpoint, release, now, pace) {
  const wanted = demands(endpoint, release, now);
  if (!wanted.length) return null;
  return panel(
    "What it waits for",
    { about: "no data is not a pass" },
    element("ul", { class: "demands" }, wanted.map((one) =>
      element(
        "li",
        { key: one.what },
        one.met ? badge("good", "met") : badge("wait", "not yet"),
        element("span", { class: "name" }, one.what),
        one.what === "Least time"
          ? element("span", { class: "soft" }, one.detail)
          : meter(one.held ?? 0, one.needed ?? 0, one.what.startsWith("Guards") ? "guards" : "pairs"),
      ))),
    element("p", { class: "still" }, still(endpoint, pace)),
    guards(endpoint),
  );
}

/** @param {any} endpoint @param {import("./pace.js").Pace} pace */
function still(endpoint, pace) {
  const needed = pairsStillNeeded(endpoint);
  if (needed === null) return "By what was seen so far at least one guard will never pass: it is too close to its limit, or beyond it.";
  if (needed === 0) return "No more pairs are needed.";
  const speed = pace.perSecond;
  const time = speed ? `: about ${stretch(needed / speed)} at ${rate(speed)}` : "";
  return `${count(needed)} more pairs are needed, at least${time}.`;
}

/** @param {any} endpoint */
function guards(endpoint) {
  return table(
    "Guards and what each of them still needs",
    ["Guard", "Verdict", { name: "Estimate", right: true }, { name: "Limit", right: true }, { name: "Bounds (95 %)", right: true }, { name: "Evidence", right: true, title: "How rare it would be if the candidate kept the limit" }, { name: "Votes", right: true }, { name: "Still needed", right: true }],
    endpoint.guards.map((/** @type {any} */ one) => ({
      key: `${one.guard} ${one.cohort}`,
      cells: [
        element("span", { title: one.sentence }, one.cohort ? `${spoken(one.guard)} (${one.cohort.replace(/^feature:/, "")})` : spoken(one.guard), one.soft ? element("span", { class: "soft" }, " warns") : null),
        verdict(one.verdict, one.sentence),
        size(one.guard, one.estimate),
        size(one.guard, one.limit),
        one.bound_low === null ? "–" : `${size(one.guard, one.bound_low)} … ${size(one.guard, one.bound_high)}`,
        oneIn(one.evidence),
        count(one.count),
        one.verdict === "pass" ? "none" : one.pairs_needed === null ? element("span", { class: "bad" }, "never at this rate") : count(one.pairs_needed),
      ],
    })),
  );
}


/** Divergence is a score; what the other guards watch are shares. @param {string} guard @param {number | null} value */
function size(guard, value) {
  return guard === "divergence" ? number(value) : percent(value);
}
