// @ts-check
/** What a release rests on: gates, approvals, and every step that it took. */

import { element } from "../../page/element.js";
import { address } from "../../page/router.js";
import { empty } from "../../page/states.js";
import { badge, verdict } from "../../parts/badges.js";
import { panel, table } from "../../parts/panels.js";
import { phase } from "../../parts/phases.js";
import { digest } from "../../parts/values.js";
import { number, stretch } from "../../words/numbers.js";
import { moment } from "../../words/times.js";

/** @param {any} endpoint @param {any} found  what the last run of the gates found; null: nothing is known */
export function gates(endpoint, found) {
  if (!endpoint.release.gated) return null;
  if (found === null || !found.results.length) {
    return panel("Gates", {}, empty("No gate was executed yet", found?.detail || "They are executed when a release begins, and on demand."));
  }
  return panel(
    "Gates",
    { about: verdict(found.verdict) },
    found.void ? element("p", { class: "call call-wait" }, `These results hold for nothing any more: ${found.void}.`) : null,
    found.detail ? element("p", { class: "soft" }, found.detail) : null,
    table(
      "Gates with their verdicts",
      ["Gate", "Verdict", "What it found", "Numbers", { name: "Took", right: true }, "Executed", "Data"],
      found.results.map((/** @type {any} */ one) => ({
        key: one.gate,
        cells: [
          one.gate,
          verdict(one.verdict),
          one.sentence,
          numbers(one.numbers),
          stretchOf(one.ended - one.started),
          moment(one.ended),
          one.data.length ? element("span", { title: one.data.map((/** @type {any} */ file) => `${file.path} ${file.digest}`).join("\n") }, digest(one.data_digest)) : "–",
        ],
      })),
    ),
  );
}

/** @param {number} seconds */
function stretchOf(seconds) {
  return seconds < 1 ? `${Math.max(1, Math.round(seconds * 1000))} ms` : stretch(seconds);
}

/** @param {Object<string, number>} values */
function numbers(values) {
  const known = Object.entries(values);
  if (!known.length) return "–";
  return element("span", { class: "mono small" }, known.map(([name, value]) => `${name} ${number(value)}`).join(", "));
}

/** @param {any} release */
export function agreement(release) {
  const { wanted, missing, given, void: refused } = release.approvals;
  const about = missing ? `${missing} of ${wanted} still missing` : "everybody has approved";
  return panel(
    "Approvals",
    { about },
    given.length || refused.length
      ? table("Approvals", ["Who", "Counts", "Why", "When", "How the name is known"], [
          ...given.map((/** @type {any} */ one) => ({ key: one.by, cells: [one.by, badge("good", "counts"), one.reason, moment(one.at), one.authentication] })),
          ...refused.map((/** @type {any} */ one) => ({ key: `void ${one.by}`, cells: [one.by, badge("none", "void"), one.reason, "–", "–"] })),
        ])
      : empty("Nobody has approved it yet", `It takes ${wanted} ${wanted === 1 ? "person" : "people"} who did not start it. People add to the gates and replace none.`),
  );
}

const TRIGGERS = {
  aborted: "aborted", tripped: "the switch tripped", rearmed: "re-armed", gates_passed: "every gate passed",
  gates_failed: "a gate failed", gates_broken: "a gate could not measure", gates_void: "the gates hold no more",
  approved: "approved, and the gates hold", evidence: "enough pairs, every guard passed", guards_broken: "a guard could not measure",
  patience_over: "patience is over", watch_over: "the watch is over",
};

/** @param {any} release */
export function history(release) {
  if (!release) return null;
  const steps = [...release.history].reverse();
  return panel(
    "Steps it took",
    { about: element("span", {}, "opened ", moment(release.opened), " by ", release.by || "nobody known") },
    element(
      "ol",
      { class: "timeline" },
      steps.map((one) =>
        element(
          "li",
          { key: String(one.steps) },
          moment(one.since),
          phase(one.phase),
          element(
            "span",
            {},
            ["shadow", "canary"].includes(one.phase) ? `stage ${one.stage + 1}. ` : "",
            element("span", { class: "soft" }, /** @type {any} */ (TRIGGERS)[one.trigger] ?? one.trigger),
            one.reason && !repeats(one) ? `: ${one.reason}` : "",
          ),
        )),
      element("li", { key: "opened" }, moment(release.opened), badge("none", "opened"), element("span", { class: "soft" }, `by ${release.by || "nobody known"}`)),
    ),
  );
}

/** Whether the reason only says the trigger in other words. @param {any} step */
function repeats(step) {
  return ["every gate PASS", "pairs, PASS of every guard, least time", "the switch tripped", "re-armed"].includes(step.reason);
}

/** @param {string} endpoint @param {any[]} releases @param {any} release */
export function earlier(endpoint, releases, release) {
  if (releases.length < 2) return null;
  return panel(
    "All releases",
    {},
    table("Releases of this endpoint, the newest first", ["Release", "Candidate", "Phase", "Opened", "Last step", "Why"],
      releases.slice(0, 50).map((one) => ({
        key: one.id,
        cells: [
          element("a", { href: address("endpoints", endpoint, "release", { release: one.id }), "aria-current": one.id === release?.id ? "true" : false }, one.id.slice(0, 8)),
          one.candidate, phase(one.phase), moment(one.opened), moment(one.since), one.reason,
        ],
      }))),
  );
}
