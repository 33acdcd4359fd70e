// @ts-check
/** Records of the audit chain, in words. */

import { element } from "../page/element.js";
import { address } from "../page/router.js";
import { moment } from "../words/times.js";
import { digest, whole } from "./values.js";

/** What an action says, where that is shorter than its name. @type {Object<string, (one: any) => string>} */
const SAID = {
  "gateway.started": () => "gateway started",
  "gateway.stopped": () => "gateway stopped",
  "configuration.loaded": () => "configuration loaded",
  "endpoint.served": (one) => `${one.name} is served`,
  "endpoint.configured": (one) => `${one.name} is configured otherwise`,
  "endpoint.removed": (one) => `${one.name} is not served any more`,
  "endpoint.followed": (one) => `${one.name} took a version from the registry`,
  "flags.submitted": () => "flags were submitted",
  "flag.changed": (one) => `the flag of ${one.name} changed`,
  "stage.moved": (one) => `${one.name} moved to ${stage(one.after)}`,
  "release.moved": (one) => `the release of ${one.after?.endpoint ?? one.name} is ${one.after?.phase ?? "moved"}`,
  "release.approved": () => "a release was approved",
  "release.restarted": (one) => `${one.name} starts again from shadow`,
  "switch.tripped": (one) => `${one.name}: ${one.after?.version ?? "the candidate"} was taken out${rehearsed(one) ? " by a drill" : ""}`,
  "switch.rearmed": (one) => (rehearsed(one) ? `${one.name}: the drill put the candidate back` : `${one.name} was armed again`),
  "lineage.changed": (one) => `the lineage of ${one.name} changed`,
  "gate.executed": (one) => `${one.actor.replace("gate:", "gate ")} of ${one.name}: ${one.after?.verdict ?? one.evidence?.verdict ?? "executed"}`,
  "drill.begun": (one) => `a drill of ${one.after?.endpoint ?? one.name} began`,
  "drill.passed": (one) => `a drill of ${one.after?.endpoint ?? one.name} passed`,
  "drill.failed": (one) => `a drill of ${one.after?.endpoint ?? one.name} failed`,
  "drill.staged": (one) => `a drill changes what ${one.name} serves`,
};

/** @param {any} after */
function stage(after) {
  if (!after) return "another stage";
  const share = typeof after.weight === "number" ? ` ${after.weight / 100} %` : "";
  return `${after.mode ?? "stage"}${after.mode === "shadow" ? "" : share}`;
}

/** @param {any} one */
export function said(one) {
  if (one.erased) return "erased when its time was over";
  return SAID[one.action]?.(one) ?? `${one.action.replace(".", " ").replace("_", " ")}: ${one.name}`;
}

/** Whether a trip or a re-arm was only a drill's. @param {any} one */
function rehearsed(one) {
  return String(one.after?.kill ?? "").startsWith("drill:") || one.actor.startsWith("drill:");
}

/** How much it matters to whoever looks for what went wrong. @param {any} one @returns {"bad"|"good"|"plain"|"access"} */
export function weightOf(one) {
  const action = String(one.action);
  if (action.startsWith("switch.") && rehearsed(one)) return "plain";
  if (action === "switch.tripped" || action === "drill.failed" || action === "gateway.stopped") return "bad";
  if (action === "switch.rearmed" || action === "release.approved" || action === "drill.passed") return "good";
  if (/^(refused|access|token|session)\./.test(action)) return "access";
  return "plain";
}

/**
 * A record as an item of a list; opened it shows all that was kept.
 * @param {any} one
 * @param {{at?: (one: any) => any, open?: boolean}} [more]  `at`: what stands beside it
 */
export function record(one, more = {}) {
  if (one.erased) {
    return element("li", { key: String(one.sequence), class: "record" }, element("p", { class: "soft" }, `${one.sequence}: ${said(one)}`));
  }
  return element(
    "li",
    { key: String(one.sequence), class: ["record", `record-${weightOf(one)}`] },
    element(
      "details",
      { open: more.open ?? false, key: "details" },
      element(
        "summary",
        {},
        element("span", { class: "record-at" }, moment(one.at)),
        element("span", { class: "record-said" }, said(one), one.late ? element("span", { class: "soft" }, " (recorded late)") : null),
        element("span", { class: "record-why soft" }, why(one)),
      ),
      element(
        "div",
        { class: "record-body" },
        element("dl", { class: "facts" }, rows(one).map(([name, value]) => [element("dt", {}, name), element("dd", {}, value)])),
        one.after ? whole("What was true afterwards", one.after, `after ${one.sequence}`) : null,
        one.evidence ? whole("What it rests on", one.evidence, `evidence ${one.sequence}`) : null,
      ),
    ),
    more.at?.(one) ?? null,
  );
}

/** Who and why, in a line: ids of drills say nothing to people. @param {any} one */
function why(one) {
  const actor = one.actor.startsWith("drill:") ? "drill" : one.actor;
  return [actor, one.reason.replace(/\b[0-9a-f]{32}\b/g, "").replace(/ {2,}/g, " ")].filter(Boolean).join(": ");
}

/** @param {any} one @returns {Array<[string, any]>} */
function rows(one) {
  const known = /** @type {Array<[string, any]>} */ ([
    ["Record", element("a", { href: address("audit", { record: one.sequence }) }, `number ${one.sequence}`)],
    ["Action", element("code", {}, one.action)],
    ["Of", `${one.kind} ${one.name}`],
    ["By", [one.actor, one.authentication ? ` (${one.authentication})` : ""]],
    ["Why", one.reason],
    ["Result", one.result],
    ["At", one.at],
    ["Gateway", one.replica],
    ["Request", one.request],
    ["Before", digest(one.before)],
    ["Hash", digest(one.hash)],
  ]);
  return known.filter(([, value]) => value !== "" && value !== null);
}
