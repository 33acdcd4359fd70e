// @ts-check
/** One sentence: where the release stands, and what is needed. */

import { element } from "../../page/element.js";
import { phase as badge } from "../../parts/phases.js";
import { address } from "../../page/router.js";
import { percent } from "../../words/numbers.js";
import { actor } from "../../words/standing.js";
import { moment } from "../../words/times.js";

/** What each phase means for those who are served. @type {Object<string, (release: any, endpoint: any) => string>} */
const MEANS = {
  gating: () => "Its gates are executed. It serves nobody; it is mirrored to.",
  approving: () => "Its gates have passed. It serves nobody until people have approved it.",
  shadow: () => "It is asked as well, and nobody gets its answers.",
  canary: (release, endpoint) => `It answers ${percent(endpoint.release.weight)} of the units that may see it.`,
  promoted: () => "It answers everybody who may see it, and the guards are still on.",
  done: () => "It answers everybody who may see it. Name it as the incumbent in the configuration.",
  halted: () => "It serves nobody. Start a new release when the cause is gone.",
  "rolled back": (release) => `The switch tripped: ${release.incumbent} answers everybody until a person re-arms it.`,
  aborted: (release) => `It serves nobody; ${release.incumbent} answers everybody.`,
};

const MOODS = { promoted: "call-good", done: "call-good", halted: "call-bad", "rolled back": "call-bad" };

/** @param {any} endpoint @param {any} release @param {boolean} newest */
export function headline(endpoint, release, newest) {
  if (release === null) return ungoverned(endpoint);
  const tripped = newest && endpoint.switch.tripped;
  const waits = release.waits_for ? `It waits for ${grouped(release.waits_for)}.` : "";
  return element(
    "div",
    { class: ["call", /** @type {any} */ (MOODS)[release.phase]], key: "headline" },
    element(
      "p",
      { class: "row" },
      badge(release.phase),
      element("strong", {}, `${release.candidate} is ${said(release.phase)}.`),
      element("span", {}, newest ? MEANS[release.phase]?.(release, endpoint) : ""),
    ),
    element(
      "p",
      { class: "soft small" },
      `Since `, moment(release.since), release.reason ? `: ${release.reason}. ` : ". ",
      newest ? element("span", { class: "waits" }, waits) : null,
    ),
    newest && release.phase === "rolled back" ? why(endpoint) : null,
    tripped && release.phase !== "rolled back" ? element("p", { class: "bad" }, "The switch is tripped: nobody is served by the candidate.") : null,
  );
}

/** What tripped it, and where to go from here. @param {any} endpoint */
function why(endpoint) {
  const kills = endpoint.switch.kills;
  return [
    kills.map((/** @type {any} */ one) => element("p", { key: one.id }, element("strong", {}, moment(one.at), ` ${actor(one.actor)}: `), one.reason)),
    element(
      "p",
      { class: "small" },
      element("a", { href: address("endpoints", endpoint.endpoint) }, "Look at it and re-arm"), " · ",
      element("a", { href: address("endpoints", endpoint.endpoint, "diagnosis") }, "What changed?"), " · ",
      element("a", { href: address("time", { at: before(kills[0]), endpoint: endpoint.endpoint }) }, "What was live before?"),
    ),
  ];
}

/** An instant just before a kill, when whoever was affected still was. @param {any} kill */
function before(kill) {
  return kill ? new Date(Date.parse(kill.at) - 100).toISOString() : null;
}

/** Thousands apart, as everywhere here. @param {string} text */
function grouped(text) {
  return text.replace(/\d{4,}/g, (digits) => Number(digits).toLocaleString("en"));
}

/** @param {string} phase */
function said(phase) {
  const words = { gating: "before its gates", approving: "waiting for people", canary: "in canary", shadow: "in shadow" };
  return /** @type {any} */ (words)[phase] ?? phase;
}

/** An endpoint whose stages go by evidence alone. @param {any} endpoint */
function ungoverned(endpoint) {
  const standing = endpoint.release;
  return element(
    "div",
    { class: "call", key: "headline" },
    element(
      "p",
      {},
      element("strong", {}, `${endpoint.candidate.version} is in stage ${standing.stage + 1} of ${standing.stages}, ${standing.mode}. `),
      "No gates, no watch and no approvals are configured: it moves by evidence alone.",
    ),
    element("p", { class: "soft small" }, "Start a release to have its steps kept, and to be able to abort it."),
  );
}
