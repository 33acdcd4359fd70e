// @ts-check
/** Drills: rehearsed rollbacks, how long each took, when the next one is due, and how to run one. */

import { ask } from "../page/dialogs.js";
import { element } from "../page/element.js";
import { morph } from "../page/morph.js";
import { address } from "../page/router.js";
import { empty, loading } from "../page/states.js";
import { badge } from "../parts/badges.js";
import { panel, table } from "../parts/panels.js";
import { phase } from "../parts/phases.js";
import { number, percent, stretch } from "../words/numbers.js";
import { ago, date, moment } from "../words/times.js";
import { recoveries } from "./drills/recoveries.js";
import { report } from "./drills/report.js";

const RENEWED = 3_000;

/** @param {import("../page/context.js").Context} context @returns {import("../page/context.js").Page} */
export function page(context) {
  const node = element("div", { class: "stack" }, loading(6, "Drills"));
  const state = { learned: 0, chosen: context.query.drill ?? "" };
  /** @type {{drills: any[], schedule: any[]}} */
  let known = { drills: [], schedule: [] };

  /** @param {import("../page/live.js").Happening} [happening] */
  async function update(happening) {
    const open = known.drills.some((one) => !["passed", "failed"].includes(one.state));
    if (!happening && !open && Date.now() - state.learned < RENEWED) return false;
    state.learned = Date.now();
    known = await context.api.get("api/v1/drills");
    draw();
  }

  function draw() {
    morph(node, shown());
  }

  /** @param {string} id */
  function choose(id) {
    state.chosen = state.chosen === id ? "" : id;
    window.history.replaceState(null, "", address("drills", { drill: state.chosen }));
    draw();
  }

  /** @param {any} plan */
  async function start(plan) {
    const done = await ask({
      title: `Run a drill on ${plan.endpoint}?`,
      text: element(
        "p",
        {},
        `${percent(plan.share)} of the candidate's answers are spoilt on purpose, until the guards trip the switch. `,
        plan.served ? element("strong", {}, "Clients of the canary get bad answers.") : "Only mirrors are spoilt: no client sees them.",
      ),
      act: "Run the drill",
      grave: plan.served,
      fields: [{ name: "fault", label: `Fault: ${plan.faults.join(", ")}`, value: plan.fault, required: true }],
      run: (given) => context.api.post("api/v1/drills", { endpoint: plan.endpoint, fault: given.fault.trim() }),
    });
    if (!done) return;
    state.chosen = done.id;
    state.learned = 0;
    context.announce(`A drill of ${plan.endpoint} has begun.`);
    context.refresh();
  }

  function shown() {
    const chosen = known.drills.find((one) => one.id === state.chosen);
    return element(
      "div",
      { class: "stack" },
      element("header", { class: "page-head" }, element("div", {}, element("h1", {}, "Drills"), element("p", {}, "A way back that was never taken is only believed in."))),
      schedule(),
      known.drills.length ? null : empty("No drill was run yet", "A drill makes the candidate answer badly on purpose and measures how long the way back takes.", element("p", {}, "Run one above, or ", element("code", {}, "pointsman drill run ENDPOINT"), ".")),
      charts(),
      chosen ? report(chosen) : null,
      list(),
    );
  }

  function schedule() {
    if (!known.schedule.length) return panel("Next runs", {}, empty("No endpoint has a candidate", "There is nothing to take out."));
    return panel(
      "Next runs",
      { about: "schedules are in UTC" },
      table("When each endpoint has its next drill", ["Endpoint", "Last", { name: "Recovered in", right: true }, "Next", "What is done", ""],
        known.schedule.map((one) => {
          const last = known.drills.find((drill) => drill.endpoint === one.endpoint);
          return {
            key: one.endpoint,
            cells: [
              element("a", { href: address("endpoints", one.endpoint) }, one.endpoint),
              last ? element("span", {}, phase(last.state), " ", element("span", { class: "soft" }, ago(last.began_at))) : element("span", { class: "soft" }, "never"),
              last?.recovery_ms === null || !last ? "–" : `${number(last.recovery_ms)} ms`,
              next(one),
              element("span", { class: "soft" }, `${one.fault} to ${percent(one.share)} of ${one.served ? "the answers, clients included" : "the mirrors"}, within ${stretch(one.within_seconds)}`),
              action(one),
            ],
          };
        })),
    );
  }

  /** @param {any} one */
  function action(one) {
    if (one.under_way) return badge("wait", "under way");
    if (!one.here) return element("span", { class: "soft" }, `only in ${one.environment}`);
    if (!context.may("release", one.endpoint)) return null;
    return element("button", { type: "button", key: "run", "aria-label": `Run a drill on ${one.endpoint}`, on: { click: () => start(one) } }, "Run");
  }

  function charts() {
    const names = [...new Set(known.drills.map((one) => one.endpoint))];
    if (!names.length) return null;
    return panel(
      "Recovery times",
      { about: "from the first bad answer to the last; the line is what is allowed" },
      names.map((name) => recoveries(name, known.drills.filter((one) => one.endpoint === name), state.chosen, choose)),
    );
  }

  function list() {
    if (!known.drills.length) return null;
    return panel(
      "All drills",
      { about: "newest first; choose one for its report" },
      table("Drills, the newest first", ["Began", "Endpoint", "Outcome", "Fault", { name: "Recovered in", right: true }, { name: "After detection", right: true }, "By"],
        known.drills.slice(0, 100).map((one) => ({
          key: one.id,
          cells: [
            element("button", { type: "button", class: "link", "aria-expanded": String(one.id === state.chosen), on: { click: () => choose(one.id) } }, moment(one.began_at)),
            one.endpoint, phase(one.state, one.reason), one.fault,
            one.recovery_ms === null ? "–" : `${number(one.recovery_ms)} ms`,
            one.after_detection_ms === null ? "–" : `${number(one.after_detection_ms)} ms`,
            one.by,
          ],
        }))),
    );
  }

  return { title: "Drills", node, update };
}

/** @param {any} one */
function next(one) {
  if (!one.here) return element("span", { class: "soft" }, "not here");
  if (!one.every) return element("span", { class: "soft" }, "on demand only");
  return element("span", {}, moment(one.next), " ", element("span", { class: "soft" }, ago(date(one.next))), one.overdue ? [" ", badge("bad", "overdue")] : null);
}
