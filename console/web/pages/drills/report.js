// @ts-check
/** What one drill has shown, as a line of time from its first bad answer on. */

import { element } from "../../page/element.js";
import { facts, panel } from "../../parts/panels.js";
import { phase } from "../../parts/phases.js";
import { told } from "../../parts/values.js";
import { count, number, oneIn, percent } from "../../words/numbers.js";
import { moment } from "../../words/times.js";

/** @type {Array<[string, string]>} */
const MOMENTS = [
  ["began_at", "began"], ["first_bad_at", "first bad answer"], ["breach_at", "a guard failed"],
  ["trip_at", "workers were told"], ["confirmed_at", "the last worker obeyed"], ["last_bad_served_at", "last bad answer"],
];

/** The moments of a drill in their order, with milliseconds since the first bad answer. Pure. @param {any} drill */
export function course(drill) {
  return MOMENTS.filter(([key]) => drill[key])
    .map(([key, name]) => ({ name, at: drill[key], after: micros(drill[key], drill.first_bad_at ?? drill.began_at) }))
    .sort((one, other) => one.after - other.after);
}

/** Milliseconds from `from` to `at`, both ISO 8601 with microseconds, which a Date would cut. @param {string} at @param {string} from */
function micros(at, from) {
  const whole = Date.parse(at.slice(0, 19) + "Z") - Date.parse(from.slice(0, 19) + "Z");
  return whole + (fraction(at) - fraction(from)) / 1000;
}

/** @param {string} at */
function fraction(at) {
  return Number((/\.(\d{1,6})/.exec(at)?.[1] ?? "0").padEnd(6, "0"));
}

/** @param {any} drill */
export function report(drill) {
  return panel(
    "Report",
    { about: phase(drill.state), class: "drill-report", key: `report ${drill.id}` },
    element("p", { class: ["call", drill.passed ? "call-good" : drill.state === "failed" ? "call-bad" : "call-wait"] }, element("strong", {}, drill.reason || "It is under way.")),
    element(
      "ol",
      { class: "drill-course" },
      course(drill).map((one) =>
        element("li", { key: one.name }, element("span", { class: "drill-after" }, `${one.after >= 0 ? "+" : "−"}${number(Math.abs(one.after))} ms`), element("span", {}, one.name), element("span", { class: "soft" }, moment(one.at)))),
    ),
    facts(...told(
      ["Version", drill.version],
      ["Fault", `${drill.fault}, ${percent(drill.share)} of ${drill.served ? "the answers, clients included" : "the mirrors"}`],
      ["Recovered in", drill.recovery_ms === null ? "–" : `${number(drill.recovery_ms)} ms, of ${number(drill.limit_ms)} ms allowed`],
      ["After detection", drill.after_detection_ms === null ? null : `${number(drill.after_detection_ms)} ms`],
      ["Seen by", drill.cause ? `${drill.cause} after ${count(drill.detection_pairs)} pairs` : null],
      ["Evidence", drill.evidence === null ? null : `${oneIn(drill.evidence)}: ${percent(drill.estimate)} against a limit of ${percent(drill.tolerance)}`],
      ["Bad answers", `${count(drill.spoilt)}, of these to clients ${count(drill.spoilt_served)}`],
      ["Could not be altered", drill.unaltered ? count(drill.unaltered) : null],
      ["Requests of clients", `${count(drill.requests)}, failed ${count(drill.failed_requests)}`],
      ["Afterwards", !["passed", "failed"].includes(drill.state) ? null : drill.restored ? "the trial goes on with its evidence" : "the trial starts anew"],
      ["By", drill.by],
    )),
  );
}
