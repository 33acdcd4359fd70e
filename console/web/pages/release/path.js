// @ts-check
/** The plan as a path: its steps in order, where the release stands on it, and how it got there. Pure. */

import { count, percent, stretch } from "../../words/numbers.js";

/**
 * @typedef {"done"|"current"|"stopped"|"waiting"} Place
 * @typedef {object} Step
 * @property {string} id
 * @property {string} title
 * @property {string} detail  what it takes
 * @property {Place} place
 * @property {number | null} weight  the share of the units that it gives to the candidate
 */

const ENDED = new Set(["halted", "aborted", "rolled back"]);

/** @param {{mode: string, weight: number}} stage */
export function stageName(stage) {
  if (stage.mode === "shadow") return "Shadow";
  return `${stage.mode === "guarded" ? "Guarded" : "Canary"} ${percent(stage.weight)}`;
}

/**
 * The steps of the path of an endpoint, and of its release where it has one.
 * @param {any} standing  `release` of the endpoint's view
 * @param {any} release  the release with its history, or null
 * @returns {Step[]}
 */
export function path(standing, release) {
  const steps = planned(standing, release);
  const at = steps.findIndex((one) => one.id === position(standing, release));
  const stopped = release !== null && ENDED.has(release.phase);
  return steps.map((one, index) => ({ ...one, place: placed(index, at, stopped, release) }));
}

/** @param {number} index @param {number} at @param {boolean} stopped @param {any} release @returns {Place} */
function placed(index, at, stopped, release) {
  if (index < at) return "done";
  if (index > at) return "waiting";
  if (stopped) return "stopped";
  return release?.phase === "done" ? "done" : "current";
}

/** @param {any} standing @param {any} release @returns {Array<Omit<Step, "place">>} */
function planned(standing, release) {
  const steps = [];
  if (standing.gated) steps.push({ id: "gates", title: "Gates", detail: "a PASS of every gate", weight: 0 });
  if (standing.approvals) {
    const people = `${standing.approvals} ${standing.approvals === 1 ? "person approves" : "people approve"}`;
    steps.push({ id: "approvals", title: "Approvals", detail: people, weight: 0 });
  }
  if (stageOf(standing, release) === -1) {
    steps.push({ id: "stage--1", title: "Shadow", detail: "again, after the re-arm", weight: 0 });
  }
  standing.plan.forEach((/** @type {any} */ stage, /** @type {number} */ index) => {
    const last = index === standing.plan.length - 1 && !standing.watch_seconds;
    steps.push({ id: `stage-${index}`, title: stageName(stage), detail: takes(stage, last), weight: stage.weight });
  });
  if (standing.watch_seconds) {
    steps.push({ id: "watch", title: "Promoted", detail: `100 %, guards on for ${stretch(standing.watch_seconds)}`, weight: 1 });
    steps.push({ id: "done", title: "Done", detail: "keeps 100 %", weight: 1 });
  }
  return steps;
}

/** @param {any} stage @param {boolean} last */
function takes(stage, last) {
  const parts = [];
  if (stage.pairs) parts.push(`${count(stage.pairs)} pairs`);
  if (stage.at_least_seconds) parts.push(`at least ${stretch(stage.at_least_seconds)}`);
  return parts.length ? parts.join(", ") : last ? "stays" : "a PASS of every guard";
}

/** The stage a release is in, or was in when it ended. @param {any} standing @param {any} release @returns {number} */
function stageOf(standing, release) {
  return release === null ? standing.stage : release.stage;
}

/** The id of the step where it stands, or stopped. @param {any} standing @param {any} release @returns {string} */
function position(standing, release) {
  if (release === null) return `stage-${standing.stage}`;
  const phase = ENDED.has(release.phase) ? lastOpen(standing, release) : release.phase;
  if (phase === "gating") return "gates";
  if (phase === "approving") return "approvals";
  if (phase === "promoted") return "watch";
  if (phase === "done") return "done";
  return `stage-${release.stage}`;
}

/** The phase before a release ended: by its history, without one its first. @param {any} standing @param {any} release */
function lastOpen(standing, release) {
  const taken = (release.history ?? []).filter((/** @type {any} */ one) => !ENDED.has(one.phase));
  if (taken.length) return taken[taken.length - 1].phase;
  return standing.gated ? "gating" : standing.approvals ? "approving" : "shadow";
}

/**
 * What has to come before the next step, each with how far it is.
 * @typedef {{what: string, held: number|null, needed: number|null, detail: string, met: boolean}} Demand
 * @param {any} endpoint  the endpoint's view
 * @param {any} release
 * @param {number} now  seconds since 1970
 * @returns {Demand[]}
 */
export function demands(endpoint, release, now) {
  const standing = endpoint.release;
  const phase = release?.phase ?? standing.mode;
  if (!["shadow", "canary", "guarded"].includes(phase)) return [];
  const last = standing.stage === standing.plan.length - 1 && !standing.watch_seconds;
  if (last) return [];
  const stage = standing.plan[standing.stage] ?? { at_least_seconds: 0 };
  const found = [];
  if (standing.pairs_needed) {
    found.push({
      what: "Pairs judged in this stage", held: standing.pairs, needed: standing.pairs_needed, detail: "",
      met: standing.pairs >= standing.pairs_needed,
    });
  }
  const since = Date.parse(standing.since) / 1000;
  if (stage.at_least_seconds) {
    const gone = Math.max(0, now - since);
    found.push({
      what: "Least time", held: Math.min(gone, stage.at_least_seconds), needed: stage.at_least_seconds,
      detail: gone >= stage.at_least_seconds ? "over" : `${stretch(stage.at_least_seconds - gone)} left`,
      met: gone >= stage.at_least_seconds,
    });
  }
  const passed = endpoint.guards.filter((/** @type {any} */ one) => one.verdict === "pass").length;
  if (endpoint.guards.length) {
    found.push({
      what: "Guards that say PASS", held: passed, needed: endpoint.guards.length, detail: "",
      met: passed === endpoint.guards.length,
    });
  }
  return found;
}

/** How many pairs are still needed, at least; null: at this rate of flips it never passes. @param {any} endpoint */
export function pairsStillNeeded(endpoint) {
  const standing = endpoint.release;
  let most = Math.max(0, standing.pairs_needed - standing.pairs);
  for (const guard of endpoint.guards) {
    if (guard.verdict === "pass") continue;
    if (guard.pairs_needed === null) return null;
    most = Math.max(most, guard.pairs_needed);
  }
  return most;
}
