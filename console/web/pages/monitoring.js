// @ts-check
/** Monitoring: how far requests have moved, how right each version is, how late labels come, which slices are slow. */

import { part, Problem } from "../page/api.js";
import { ask } from "../page/dialogs.js";
import { element } from "../page/element.js";
import { morph } from "../page/morph.js";
import { address } from "../page/router.js";
import { empty, loading } from "../page/states.js";
import { Curve } from "../charts/curve.js";
import { panel, switcher } from "../parts/panels.js";
import { percent, number } from "../words/numbers.js";
import { labels, overTime, trial, versions } from "./monitoring/accuracy.js";
import { alarm, columns } from "./monitoring/drift.js";
import { slow } from "./monitoring/slices.js";

const WINDOWS = /** @type {Array<[string, string]>} */ ([["1", "1 hour"], ["24", "1 day"], ["168", "1 week"]]);
const RENEWED = 5_000;

/** @param {import("../page/context.js").Context} context @returns {import("../page/context.js").Page} */
export function page(context) {
  const name = context.parameters.endpoint;
  const node = element("div", { class: "stack" }, loading(8, "Monitoring"));
  const state = { hours: context.query.hours ?? "24", column: context.query.column ?? "", learned: 0 };
  const curve = new Curve({ name: "Accuracy over time", format: (value) => (value !== null && value <= 1 ? percent(value) : number(value)), height: 150 });
  /** @type {any} */
  let known = null;

  /** @param {import("../page/live.js").Happening} [happening] */
  async function update(happening) {
    const due = happening?.data?.endpoint === name || Date.now() - state.learned > RENEWED;
    if (!due) return false;
    state.learned = Date.now();
    const since = new Date(Date.now() - Number(state.hours) * 3_600_000).toISOString();
    const path = `api/v1/endpoints/${part(name)}/accuracy`;
    const [endpoint, drift, right, timed, lag] = await Promise.all([
      context.api.get(`api/v1/endpoints/${part(name)}`),
      had(context.api.get(`api/v1/endpoints/${part(name)}/drift`, { hours: state.hours })),
      had(context.api.get(path, { by: "version,cohort", since })),
      had(context.api.get(path, { by: "version,time", since })),
      had(context.api.get("api/v1/labels")),
    ]);
    known = { endpoint, drift, right, lag, times: courseOf(endpoint, timed) };
    draw();
  }

  /** @param {any} endpoint @param {any} timed */
  function courseOf(endpoint, timed) {
    const looks = { [endpoint.incumbent.version]: "incumbent", [endpoint.candidate?.version]: "candidate" };
    const found = overTime(timed?.groups ?? [], looks);
    curve.update({ at: found.at, series: found.series });
    return found;
  }

  function draw() {
    if (known) morph(node, shown());
  }

  /** @param {Partial<typeof state>} wanted */
  function turn(wanted) {
    Object.assign(state, wanted);
    history.replaceState(null, "", address("endpoints", name, "monitoring", { hours: state.hours === "24" ? null : state.hours, column: state.column }));
    if (wanted.hours) {
      state.learned = 0;
      context.refresh();
    } else draw();
  }

  async function relearn() {
    const done = await ask({
      title: `Learn another reference for ${name}?`,
      text: "What requests were compared with is retired, and what comes from now on is the reference. Do it when a change is wanted, and lasts.",
      act: "Learn anew",
      reason: "Why what comes now is right",
      run: (given) => context.api.post(`api/v1/endpoints/${part(name)}/drift/relearn`, { reason: given.reason }),
    });
    if (!done) return;
    context.announce(`${name}: another reference is being learned.`);
    turn({ hours: state.hours });
  }

  function shown() {
    const { endpoint, drift, right, lag } = known;
    return element(
      "div",
      { class: "stack" },
      element(
        "header",
        { class: "page-head" },
        element("div", {}, element("h1", {}, `Monitoring of ${name}`), element("p", {}, element("a", { href: address("endpoints", name, "diagnosis") }, "What changed?"), " explains what moves here")),
        switcher("Window", WINDOWS, state.hours, (hours) => turn({ hours })),
      ),
      drift ? alarm(drift, context.may("release", name) ? relearn : undefined) : empty("Drift is not watched here", "This gateway has no such route: it is older than this console."),
      drift ? columns(drift, state.column, (column) => turn({ column: column === state.column ? "" : column })) : null,
      versions(endpoint, right),
      known.times.at.length > 1 ? panel(known.times.key === "accuracy" ? "Accuracy over time" : "Mean absolute error over time", {}, kept(curve.node)) : null,
      trial(endpoint),
      lag ? labels(name, lag) : null,
      drift ? slow(drift) : null,
    );
  }

  return { title: `${name}: monitoring`, node, update, leave: () => curve.end() };
}

/** A node that draws itself: where it is in the page already, a mark for `morph` to leave it there. @param {HTMLElement} node */
function kept(node) {
  return node.isConnected ? element("figure", { class: "chart", "data-own": true }) : node;
}

/** What can be had: a route that is not there, or has nothing, is null. @param {Promise<any>} asked */
async function had(asked) {
  try {
    return await asked;
  } catch (error) {
    if (error instanceof Problem && [404, 405, 422].includes(error.status)) return null;
    throw error;
  }
}
