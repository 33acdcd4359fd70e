// @ts-check
/** Take a candidate out, and let it back in: asked for with a reason, and told how it went. */

import { part } from "../page/api.js";
import { ask } from "../page/dialogs.js";
import { element } from "../page/element.js";
import { actor } from "../words/standing.js";
import { latency, several } from "../words/numbers.js";
import { moment } from "../words/times.js";

/** @typedef {import("../page/context.js").Context} Context */

/**
 * @param {Context} context @param {string} endpoint @param {string} candidate @param {string} incumbent
 */
export async function kill(context, endpoint, candidate, incumbent) {
  const settled = await ask({
    title: `Take ${candidate} out of ${endpoint}?`,
    text: element("p", {}, element("strong", { class: "incumbent" }, incumbent), " serves everybody from then on, on every worker at once. It stays so until somebody re-arms it."),
    act: "Kill",
    grave: true,
    reason: "Why?",
    run: (given) => context.api.post(`api/v1/endpoints/${part(endpoint)}/kill`, { reason: given.reason }),
  });
  if (!settled) return;
  context.announce(told(candidate, settled), true);
  context.refresh();
}

/** @param {string} candidate @param {any} settled */
function told(candidate, settled) {
  const confirmed = settled.confirmed_ms === null
    ? "A worker has not confirmed it yet."
    : `${several(settled.workers, "worker")} confirmed it after ${latency(settled.confirmed_ms / 1000)}.`;
  const kept = settled.durable ? "" : " It is not on disk yet: that is tried again until it is.";
  return `${candidate} is out. ${confirmed}${kept}`;
}

/**
 * @param {Context} context @param {string} endpoint @param {string} candidate @param {any[]} kills  those that are looked at
 */
export async function rearm(context, endpoint, candidate, kills) {
  const cleared = await ask({
    title: `Let ${candidate} back into ${endpoint}?`,
    text: [
      element("p", {}, `It starts again from shadow, with no evidence. ${several(kills.length, "kill")} will be cleared, and no other:`),
      element("ul", { class: "kills" }, kills.map((one) =>
        element("li", { key: one.id }, element("p", {}, element("strong", {}, actor(one.actor)), ", ", moment(one.at), ": ", one.reason), element("p", { class: "soft small" }, "kill ", element("code", {}, one.id))))),
    ],
    act: "Re-arm",
    reason: "Why is it safe now?",
    run: (given) => context.api.post(`api/v1/endpoints/${part(endpoint)}/rearm`, { reason: given.reason, kills: kills.map((one) => one.id) }),
  });
  if (!cleared) return;
  context.announce(`${candidate} is armed again: ${several(cleared.cleared.length, "kill")} cleared. It starts from shadow.`);
  context.refresh();
}
