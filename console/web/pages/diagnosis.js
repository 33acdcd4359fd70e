// @ts-check
/** What changed on an endpoint: code, model or data, the best explanation first. */

import { part, Problem } from "../page/api.js";
import { element } from "../page/element.js";
import { morph } from "../page/morph.js";
import { address } from "../page/router.js";
import { empty, failed, loading } from "../page/states.js";
import { badge } from "../parts/badges.js";
import { panel, table } from "../parts/panels.js";
import { whole } from "../parts/values.js";
import { count, number } from "../words/numbers.js";
import { moment } from "../words/times.js";

const SIGNALS = ["", "divergence", "errors", "latency", "confidence", "predictions", "accuracy", "drift"];
const AXES = { code: "CODE", model: "MODEL", data: "DATA" };

/** @param {import("../page/context.js").Context} context @returns {import("../page/context.js").Page} */
export function page(context) {
  const name = context.parameters.endpoint;
  const query = { at: context.query.at ?? "", signal: context.query.signal ?? "" };
  const answer = element("div", { class: "stack" }, loading(6, "Reading the prediction log"));
  const node = element("div", { class: "stack" }, head(), answer);
  let due = true;

  async function update() {
    if (!due) return false;
    due = false;
    try {
      const found = await context.api.get(`api/v1/diagnoses/${part(name)}`, query);
      morph(answer, element("div", { class: "stack" }, shown(found)));
    } catch (error) {
      if (!(error instanceof Problem)) {
        due = true;
        throw error;
      }
      morph(answer, element("div", { class: "stack" }, failed(error, again)));
    }
  }

  function again() {
    due = true;
    morph(answer, element("div", { class: "stack" }, loading(6, "Reading the prediction log")));
    context.refresh();
  }

  function head() {
    const submitted = (/** @type {SubmitEvent} */ event) => {
      event.preventDefault();
      const given = new FormData(/** @type {HTMLFormElement} */ (event.currentTarget));
      const at = String(given.get("at") ?? "");
      query.at = at ? new Date(at).toISOString() : "";
      query.signal = String(given.get("signal") ?? "");
      window.history.replaceState(null, "", address("endpoints", name, "diagnosis", query));
      again();
    };
    return element(
      "form",
      { class: "panel", on: { submit: submitted }, "aria-label": "What to explain" },
      element("h1", {}, `What changed on ${name}?`),
      element(
        "div",
        { class: "search-fields" },
        element("label", { class: "field" }, element("span", {}, "Near (else the last trip, else now)"), element("input", { type: "datetime-local", name: "at", step: 1, value: query.at ? local(query.at) : "" })),
        element("label", { class: "field" }, element("span", {}, "Signal"), element("select", { name: "signal" }, SIGNALS.map((one) => element("option", { value: one, selected: one === query.signal }, one || "the most certain")))),
        element("button", { type: "submit", class: "primary" }, "Diagnose"),
      ),
    );
  }

  /** @param {any} one */
  function shown(one) {
    return [sentence(one), explanations(one), concentrations(one), changes(one)];
  }

  /** @param {any} one */
  function sentence(one) {
    const signal = one.signal ?? "no signal";
    if (one.changed_at === null) {
      return element("div", { class: "call" }, element("p", {}, element("strong", {}, `${signal} has not changed`), " around ", moment(one.about), one.trip ? `, when ${one.trip.cause} tripped it.` : "."), notes(one));
    }
    const levels = one.before && one.after ? ` from ${number(one.before.mean)} to ${number(one.after.mean)}` : "";
    return element(
      "div",
      { class: "call call-bad" },
      element("p", {}, element("strong", {}, `${signal} changed${levels}`), " at ", moment(one.changed_at), ": ", element("strong", {}, one.axis ? /** @type {any} */ (AXES)[one.axis] : "nothing explains it"), "."),
      element("p", { class: "soft small" }, `Between `, moment(one.changed_from), " and ", moment(one.changed_until), `, by ${count(one.requests)} requests; by chance with ${number(one.p)}.`),
      notes(one),
    );
  }

  return { title: `${name}: what changed`, node, update };
}

/** @param {any} one */
function notes(one) {
  return one.notes.length ? element("ul", { class: "notes soft small" }, one.notes.map((/** @type {string} */ note) => element("li", {}, note))) : null;
}

/** @param {any} one */
function explanations(one) {
  if (!one.explanations.length) {
    return one.changed_at === null ? null : panel("Explanations", {}, empty("Nothing that is recorded explains it", "Look at the changes below, and at what this gateway does not see: servers, networks, other systems."));
  }
  return panel(
    "Explanations",
    { about: "best first; it names where to look, and is no proof" },
    element("ol", { class: "explanations" }, one.explanations.map((/** @type {any} */ found, /** @type {number} */ index) =>
      element(
        "li",
        { key: `${index} ${found.sentence}` },
        element("span", { class: "score" }, element("meter", { min: 0, max: 1, low: 0.3, high: 0.5, optimum: 1, value: found.score, "aria-label": `Score ${found.score.toFixed(2)}` }), ` ${found.score.toFixed(2)}`),
        badge("none", found.axis),
        element("div", {}, element("p", {}, found.sentence),
          element("p", { class: "soft small" }, found.at ? moment(found.at) : "with it", found.record ? [", ", element("a", { href: address("audit", { record: found.record }) }, `record ${found.record}`)] : null),
          whole("How the score comes about", found.evidence ?? {}, `evidence ${index}`)),
      ))),
  );
}

/** @param {any} one */
function concentrations(one) {
  if (!one.concentrations.length) return null;
  return panel("Where it concentrates", { about: "certain for all places together" },
    table("Places where the signal is higher", ["Place", { name: "There", right: true }, { name: "Elsewhere", right: true }, { name: "Values", right: true }],
      one.concentrations.map((/** @type {any} */ place) => ({ key: place.place, cells: [place.place, number(place.mean), number(place.rest), count(place.values)] }))));
}

/** @param {any} one */
function changes(one) {
  if (!one.changes.length) return panel("Recorded in the day before", {}, empty("Nothing was changed", "By the audit chain code, models and flags were the same for a day."));
  return panel("Recorded in the day before", { about: "latest first" },
    table("Changes", ["When", "Axis", "What", "Record"],
      one.changes.slice(0, 50).map((/** @type {any} */ change, /** @type {number} */ index) => ({
        key: `${index} ${change.at}`,
        cells: [moment(change.at), change.axis, change.sentence, change.record ? element("a", { href: address("audit", { record: change.record }) }, String(change.record)) : "–"],
      }))));
}

/** @param {string} at */
function local(at) {
  const moment = new Date(at);
  return new Date(moment.getTime() - moment.getTimezoneOffset() * 60_000).toISOString().slice(0, 19);
}
