// @ts-check
/** What people do with a release; each asks first, and says what came of it. */

import { part } from "../../page/api.js";
import { ask } from "../../page/dialogs.js";
import { element } from "../../page/element.js";

/** @typedef {import("../../page/context.js").Context} Context */

/** The field for a name where nobody is logged in: names are claimed then. @param {Context} context @param {boolean} required */
function person(context, required) {
  if (context.identity?.authentication) return [];
  return [{ name: "as", label: required ? "Your name" : "Your name, where approvals are wanted", required }];
}

/** @param {Object<string, string>} given */
function named(given) {
  return given.as ? { as: given.as.trim() } : {};
}

/** @param {Context} context @param {string} endpoint */
export async function start(context, endpoint) {
  const done = await ask({
    title: `Start a release on ${endpoint}?`,
    text: "Its gates are executed first. Then it goes through its plan by evidence.",
    act: "Start",
    fields: person(context, false),
    run: (given) => context.api.post("api/v1/releases", { endpoint, ...named(given) }),
  });
  if (!done) return;
  context.announce(`A release of ${done.candidate} has started.`);
  context.refresh();
}

/** @param {Context} context @param {any} release */
export async function approve(context, release) {
  const done = await ask({
    title: `Approve ${release.candidate} on ${release.endpoint}?`,
    text: element("p", {}, "Its gates have passed and still have to hold. Who started a release does not approve it. Your name is kept."),
    act: "Approve",
    reason: "What you looked at",
    fields: person(context, true),
    run: (given) => context.api.post(`api/v1/releases/${part(release.id)}/approve`, { reason: given.reason, ...named(given) }),
  });
  if (!done) return;
  context.announce(done.approvals?.missing ? `Approved. ${done.approvals.missing} more to come.` : "Approved.");
  context.refresh();
}

/** @param {Context} context @param {any} release */
export async function abort(context, release) {
  const done = await ask({
    title: `Abort the release of ${release.candidate}?`,
    text: `${release.incumbent} answers everybody from then on. Another attempt is a new release.`,
    act: "Abort the release",
    grave: true,
    reason: "Why",
    run: (given) => context.api.post(`api/v1/releases/${part(release.id)}/abort`, { reason: given.reason }),
  });
  if (!done) return;
  context.announce(`The release of ${release.candidate} is aborted.`);
  context.refresh();
}

/** @param {Context} context @param {string} endpoint */
export async function execute(context, endpoint) {
  const done = await ask({
    title: `Execute the gates of ${endpoint}?`,
    text: "They ask the real model servers. No client gets these answers.",
    act: "Execute",
    run: () => context.api.post(`api/v1/gates/${part(endpoint)}/run`),
  });
  if (!done) return;
  context.announce(`Gates of ${endpoint}: ${done.verdict}.`);
  context.refresh();
}
