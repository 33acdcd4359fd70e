// @ts-check
/** A release: where it stands on its path, what it waits for, what it rests on, and how to start or stop it. */

import { element } from "../page/element.js";
import { part } from "../page/api.js";
import { Problem } from "../page/api.js";
import { morph } from "../page/morph.js";
import { address } from "../page/router.js";
import { empty, loading } from "../page/states.js";
import { abort, approve, execute, start } from "./release/acts.js";
import { course, waiting } from "./release/course.js";
import { agreement, earlier, gates, history } from "./release/evidence.js";
import { headline } from "./release/headline.js";
import { Pace } from "./release/pace.js";

const ENDED = new Set(["done", "halted", "aborted"]);

/** @param {import("../page/context.js").Context} context @returns {import("../page/context.js").Page} */
export function page(context) {
  const name = context.parameters.endpoint;
  const node = element("div", { class: "stack" }, loading(6, "The release"));
  const pace = new Pace();
  const told = { gates: /** @type {any} */ (null), releases: /** @type {any[]} */ ([]), asked: 0, changed: true };

  /** @param {import("../page/live.js").Happening} [happening] */
  async function update(happening) {
    if (happening) told.changed = true;
    const endpoint = await context.api.get(`api/v1/endpoints/${part(name)}`);
    if (told.changed || Date.now() - told.asked > 5_000) await learn();
    pace.see(endpoint.release, Date.now() / 1000);
    const wanted = context.query.release;
    const newest = told.releases[0] ?? null;
    const chosen = wanted ? told.releases.find((one) => one.id === wanted) ?? newest : newest;
    const release = chosen ? await context.api.get(`api/v1/releases/${part(chosen.id)}`) : null;
    context.retitle(`${name}: release`);
    morph(node, shown(endpoint, release, chosen === newest));
  }

  async function learn() {
    told.changed = false;
    told.asked = Date.now();
    const [listed, found] = await Promise.all([
      context.api.get("api/v1/releases", { endpoint: name }),
      context.api.get(`api/v1/gates/${part(name)}`).catch(none),
    ]);
    told.releases = listed.releases;
    told.gates = found;
  }

  /** @param {any} endpoint @param {any} release @param {boolean} newest */
  function shown(endpoint, release, newest) {
    if (endpoint.candidate === null && !release) return bare(endpoint);
    const now = Date.now() / 1000;
    const current = newest ? release : null;
    return element(
      "div",
      { class: "stack" },
      head(endpoint, release),
      newest ? null : old(release),
      headline(endpoint, release, newest),
      course(endpoint, release, newest),
      newest ? waiting(endpoint, current, now, pace) : null,
      gates(endpoint, newest ? told.gates : null),
      release?.approvals ? agreement(release) : null,
      history(release),
      earlier(name, told.releases, release),
    );
  }

  /** @param {any} endpoint @param {any} release */
  function head(endpoint, release) {
    const may = context.may("release", name);
    const open = release !== null && !ENDED.has(release.phase);
    return element(
      "header",
      { class: "page-head" },
      element(
        "div",
        {},
        element("h1", {}, `Release of ${endpoint.candidate?.version ?? release?.candidate}`),
        element("p", {}, "on ", element("a", { href: address("endpoints", name) }, name), ", against ", endpoint.incumbent.version),
      ),
      element(
        "div",
        { class: "row" },
        open && release.phase === "approving" && may
          ? element("button", { type: "button", class: "primary", key: "approve", on: { click: () => approve(context, release) } }, "Approve")
          : null,
        !open && endpoint.candidate && may
          ? element("button", { type: "button", class: "primary", key: "start", on: { click: () => start(context, name) } }, "Start a release")
          : null,
        endpoint.release.gated && endpoint.candidate && may
          ? element("button", { type: "button", key: "gates", on: { click: () => execute(context, name) } }, "Execute the gates")
          : null,
        open && context.may("operator", name)
          ? element("button", { type: "button", class: "grave", key: "abort", on: { click: () => abort(context, release) } }, "Abort")
          : null,
      ),
    );
  }

  /** @param {any} release */
  function old(release) {
    return element(
      "p",
      { class: "call" },
      `This is an earlier release, ${release.id.slice(0, 8)}. `,
      element("a", { href: address("endpoints", name, "release") }, "Show the latest one"),
    );
  }

  /** @param {any} endpoint */
  function bare(endpoint) {
    return element(
      "div",
      { class: "stack" },
      element("header", { class: "page-head" }, element("h1", {}, `Release on ${name}`)),
      empty(
        "No candidate: nothing to release",
        `${endpoint.incumbent.version} answers everybody.`,
        element("p", {}, "Add ", element("code", {}, `endpoints.${name}.candidate`), " to the configuration, then run ", element("code", {}, "pointsman check"), ". The file is read again by itself."),
      ),
    );
  }

  const shortcuts = [
    { keys: "s", does: "Start a release", run: () => press("start") },
    { keys: "y", does: "Approve", run: () => press("approve") },
    { keys: "x", does: "Abort", run: () => press("abort") },
  ];

  /** @param {string} key */
  function press(key) {
    /** @type {HTMLElement | null} */ (node.querySelector(`[data-key="${key}"]`))?.click();
  }

  return { title: `${name}: release`, node, update, shortcuts };
}

/** What is not there; anything else is an error. @param {unknown} error */
function none(error) {
  if (error instanceof Problem && [404, 409, 422].includes(error.status)) return null;
  throw error;
}

