// @ts-check
/**
 * How an endpoint stands, in a sentence or two: what is live, whether the candidate is healthy, why it was stopped,
 * what to do. It is what somebody reads who was woken up by it.
 */

import { element } from "../page/element.js";
import { moment } from "./times.js";
import { count, number, oneIn, percent } from "./numbers.js";

/** @typedef {import("../page/element.js").Child} Child */
/** @typedef {{mood: import("../parts/badges.js").Mood, word: string, sentence: Child[], todo: Child}} Standing */

/** What guards watch, as one says it. @type {Object<string, string>} */
const WATCHED = {
  flips: "of predictions flipped",
  noise_corrected_flips: "of predictions flipped beyond the incumbent's own noise",
  divergence: "mean divergence",
  noise_corrected_divergence: "divergence beyond the incumbent's own noise",
  errors: "more errors than the incumbent",
  latency_p95: "more answers over the latency limit (p95)",
  latency_p99: "more answers over the latency limit (p99)",
  latency_slo: "of answers slower than the objective",
  confidence: "shift of confidence",
  classes: "of the predictions went to other classes",
  drift: "shift of a feature",
  accuracy: "loss of accuracy",
};

/** @param {string} guard */
export function watched(guard) {
  return WATCHED[guard] ?? guard.replaceAll("_", " ");
}

/** @param {string} guard */
export function spoken(guard) {
  return guard.replaceAll("_", " ");
}

/** Who did it, from `operator`, `guard:flips`, `breaker:0`. @param {string} actor */
export function actor(actor) {
  const [kind, name] = String(actor).split(/:(.*)/s);
  if (kind === "guard") return `the ${spoken(name)} guard`;
  if (kind === "breaker") return "the breaker of a worker";
  if (kind === "drill") return "a drill";
  return kind === "operator" && !name ? "an operator" : String(actor);
}

/** @param {string} name */
function incumbent(name) {
  return element("strong", { class: "incumbent" }, name);
}

/** @param {string} name */
function candidate(name) {
  return element("strong", { class: "candidate" }, name);
}

/**
 * @param {any} view  `GET /api/v1/endpoints/{endpoint}`
 * @returns {Standing}
 */
export function standing(view) {
  const live = incumbent(view.incumbent.version);
  if (!view.candidate) {
    return {
      mood: "none", word: "no candidate", sentence: [live, " serves everybody. There is no candidate."],
      todo: "Nothing to do. A candidate is named in the configuration, or followed from the registry.",
    };
  }
  const trial = candidate(view.candidate.version);
  if (view.switch.unreadable) {
    return {
      mood: "bad", word: "state unknown",
      sentence: [live, " serves everybody. Whether the candidate ", trial, " was killed cannot be read, so it is out: ", view.switch.unreadable, "."],
      todo: "Bring the store back; then the candidate stands where it stood.",
    };
  }
  if (view.switch.tripped) return tripped(view, live, trial);
  return running(view, live, trial);
}

/** @param {any} view @param {Child} live @param {Child} trial @returns {Standing} */
function tripped(view, live, trial) {
  const kill = view.switch.kills[0];
  const trip = view.last_trip;
  const told = trip && view.switch.kills.some((/** @type {any} */ one) => one.id === trip.kill);
  const at = kill ? [" at ", moment(kill.at)] : [];
  const by = kill ? [" by ", actor(kill.actor)] : [];
  const affected = told && trip.last_bad_served_at
    ? [" The last client got its answer at ", moment(trip.last_bad_served_at), "."]
    : [];
  return {
    mood: "bad",
    word: "tripped",
    sentence: [live, " serves everybody. The candidate ", trial, " was taken out", at, by, ": ", why(kill, told ? trip : null), ".", affected],
    todo: "Look at the worst pairs. When the cause is gone, re-arm it: the candidate starts again from shadow.",
  };
}

/** @param {any} kill @param {any} trip @returns {Child[]} */
function why(kill, trip) {
  const cause = trip?.cause ?? "";
  if (cause.startsWith("guard:") && trip.estimate !== null) {
    const guard = cause.slice("guard:".length);
    return [
      element("strong", {}, percent(trip.estimate)), ` ${watched(guard)} against a limit of ${percent(trip.tolerance)}`,
      ` (by chance ${oneIn(trip.evidence)}, after ${count(trip.detection_pairs)} votes since it went bad)`,
    ];
  }
  return [kill ? element("q", {}, kill.reason.replace(/\.$/, "")) : "a kill is in force"];
}

/** @param {any} view @param {Child} live @param {Child} trial @returns {Standing} */
function running(view, live, trial) {
  const { mode, weight } = view.release;
  const share = mode === "shadow" || weight === 0
    ? [live, " serves everybody. The candidate ", trial, " is in shadow: it is asked too, and nobody sees its answers."]
    : [live, " serves ", percent(1 - weight), ", the candidate ", trial, " up to ", element("strong", {}, percent(weight)), " of the units that its flag exposes", mode === "guarded" ? ", where it agrees" : "", "."];
  const worst = foremost(view.guards);
  const broken = view.switch.breakers.length;
  if (broken) {
    return { mood: "bad", word: "breaker open", sentence: [share, ` ${broken === 1 ? "A worker has" : `${broken} workers have`} opened the breaker: ${view.switch.breakers[0].reason}.`], todo: "Look at the candidate's servers." };
  }
  if (worst && (worst.verdict === "fail" || worst.verdict === "error")) {
    return { mood: "bad", word: worst.verdict, sentence: [share, ` The ${spoken(worst.guard)} guard: `, worst.sentence, "."], todo: worst.soft ? "It warns and trips nothing; the release does not move on." : "Look at the worst pairs." };
  }
  if (worst && closeness(worst) >= 0.5) {
    return { mood: "wait", word: "watch", sentence: [share, ` The ${spoken(worst.guard)} guard is ${percent(closeness(worst))} of the way to a trip: `, worst.sentence, "."], todo: "Watch it, or kill it now if it looks wrong to you." };
  }
  const waiting = view.guards.filter((/** @type {any} */ one) => one.verdict !== "pass");
  if (!waiting.length && view.guards.length) {
    return { mood: "good", word: "healthy", sentence: [share, ` All ${view.guards.length} guards pass.`], todo: "Nothing to do." };
  }
  const needed = Math.max(0, ...waiting.map((/** @type {any} */ one) => one.pairs_needed ?? 0));
  return {
    mood: "good", word: "on trial",
    sentence: [share, " Nothing speaks against it so far; ", number(waiting.length), waiting.length === 1 ? " guard is" : " guards are", " not sure yet", needed ? `, about ${count(needed)} votes away` : "", "."],
    todo: "Nothing to do.",
  };
}

/** How far the evidence is on its way to a trip, on a logarithmic scale, in [0, 1]. @param {any} guard */
export function closeness(guard) {
  if (guard.closeness !== undefined) return guard.closeness;
  if (!(guard.evidence > 1) || !(guard.threshold > 1)) return 0;
  return Math.min(1, Math.log(guard.evidence) / Math.log(guard.threshold));
}

const SEVERITY = ["pass", "inconclusive", "error", "fail"];

/** The guard that looks worst. @param {any[]} guards */
export function foremost(guards) {
  return [...guards].sort((one, other) =>
    SEVERITY.indexOf(other.verdict) - SEVERITY.indexOf(one.verdict) || closeness(other) - closeness(one))[0];
}
