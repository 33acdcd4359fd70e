// @ts-check
/** The time machine: what model, data and configuration were live at an instant, and what changed around it. */

import { element } from "../page/element.js";
import { morph } from "../page/morph.js";
import { address } from "../page/router.js";
import { empty, loading } from "../page/states.js";
import { panel, switcher } from "../parts/panels.js";
import { record } from "../parts/records.js";
import { whole } from "../parts/values.js";
import { ago, clock, moment } from "../words/times.js";
import { beside, changes } from "./time/changes.js";
import { lineages, standing } from "./time/standing.js";
import { strip } from "./time/strip.js";

const REACHES = /** @type {Array<[string, string]>} */ ([["600", "10 min"], ["3600", "1 hour"], ["86400", "1 day"], ["604800", "1 week"]]);
const RENEWED = 3_000;

/** @param {import("../page/context.js").Context} context @returns {import("../page/context.js").Page} */
export function page(context) {
  const node = element("div", { class: "stack" }, loading(6, "What was live"));
  const state = {
    at: asked(context.query.at), endpoint: context.query.endpoint ?? "",
    reach: Number(context.query.reach) || 3600, learned: 0, changed: true,
  };
  /** @type {{live: any, records: any[], wrong: any}} */
  let known = { live: null, records: [], wrong: null };

  /** @param {import("../page/live.js").Happening} [happening] */
  async function update(happening) {
    const due = state.at === null && (happening || Date.now() - state.learned > RENEWED);
    if (!state.changed && !due) return false;
    state.changed = false;
    state.learned = Date.now();
    const middle = state.at ?? Date.now();
    const span = { since: iso(middle - state.reach * 1000), until: iso(middle + state.reach * 1000), limit: 200 };
    const [live, found] = await Promise.all([
      context.api.get("api/v1/live", { at: state.at === null ? null : iso(state.at) }).catch((error) => ({ error })),
      context.api.get("api/v1/audit/search", span),
    ]);
    if (live.error && live.error.status !== 422) throw live.error;
    known = { live: live.error ? null : live, records: found.events, wrong: live.error ?? null };
    draw();
  }

  function draw() {
    morph(node, shown());
  }

  /** @param {Partial<typeof state>} wanted */
  function turn(wanted) {
    Object.assign(state, wanted, { changed: true });
    const at = state.at === null ? null : iso(state.at);
    history.replaceState(null, "", address("time", { at, endpoint: state.endpoint, reach: state.reach === 3600 ? null : state.reach }));
    context.refresh();
  }

  /** @param {number} at */
  function go(at) {
    turn({ at: at >= Date.now() ? null : at });
  }

  function shown() {
    const names = [...new Set((known.live?.endpoints ?? []).map((/** @type {any} */ one) => one.endpoint))];
    const held = (known.live?.endpoints ?? []).filter((/** @type {any} */ one) => !state.endpoint || one.endpoint === state.endpoint);
    const versions = new Set(held.flatMap((/** @type {any} */ one) => [one.incumbent?.version, one.candidate?.version]));
    const told = changes(known.records, state.endpoint, versions);
    return element(
      "div",
      { class: "stack" },
      head(names),
      pick(told),
      known.wrong ? empty("Nothing is known of that instant", known.wrong.detail) : answers(held),
      around(told),
      known.live ? lineages(held, state.endpoint) : null,
      known.live ? configurations(held) : null,
    );
  }

  /** @param {string[]} names */
  function head(names) {
    const when = state.at === null ? "now" : element("span", {}, moment(new Date(state.at)), `, ${ago(new Date(state.at))}`);
    return element(
      "header",
      { class: "page-head" },
      element("div", {}, element("h1", {}, "Time machine"), element("p", {}, "What was live: ", when)),
      element(
        "label",
        { class: "row" },
        "Endpoint",
        element(
          "select",
          { on: { change: (/** @type {any} */ event) => turn({ endpoint: event.currentTarget.value }) } },
          element("option", { value: "", selected: !state.endpoint }, "all"),
          names.map((one) => element("option", { value: one, selected: one === state.endpoint }, one)),
        ),
      ),
    );
  }

  /** @param {any[]} told */
  function pick(told) {
    const { before, after } = beside(told, state.at ?? Date.now());
    const input = element("input", {
      type: "datetime-local", step: 1, "aria-label": "Instant, in your own time zone", value: local(state.at ?? Date.now()),
      on: { change: (/** @type {any} */ event) => event.currentTarget.value && go(Date.parse(event.currentTarget.value)) },
    });
    return panel(
      "Instant",
      { about: "pick one, click on the strip, or go from change to change", class: "instant" },
      element(
        "div",
        { class: "row" },
        state.at === null ? element("span", { class: "soft" }, "live") : null,
        input,
        step("earlier", "← Change before", before, "["),
        step("later", "Change after →", after, "]"),
        element("button", { type: "button", key: "now", disabled: state.at === null, on: { click: () => turn({ at: null }) } }, "Now"),
        switcher("How far around", REACHES, String(state.reach), (value) => turn({ reach: Number(value) })),
      ),
      strip(told, state.at ?? Date.now(), state.reach * 1000, go),
    );
  }

  /** @param {string} key @param {string} text @param {any} one @param {string} shortcut */
  function step(key, text, one, shortcut) {
    const title = one ? `${clock(one.at)} (${shortcut})` : "none in this stretch of time";
    return element("button", { type: "button", key, disabled: !one, title, on: { click: () => one && go(Math.ceil(Date.parse(one.at)) + 1) } }, text);
  }

  /** @param {any[]} held */
  function answers(held) {
    if (!held.length) return empty("Nothing was live", "No gateway served at that instant.");
    const several = new Set(held.map((one) => one.replica)).size > 1;
    return element("div", { class: "panels" }, held.map((one) => standing(one, several)));
  }

  /** @param {any[]} told */
  function around(told) {
    if (!told.length) return panel("What changed around it", {}, empty("Nothing changed in this stretch of time", "Look further around, or at another instant."));
    return panel(
      "What changed around it",
      { about: `${told.length === 200 ? "the latest 200" : told.length}, newest first` },
      element("ol", { class: "records" }, told.map((one) =>
        record(one, { at: () => element("button", { type: "button", class: "quiet", "aria-label": `Go to ${clock(one.at)}`, on: { click: () => go(Math.ceil(Date.parse(one.at)) + 1) } }, "Go there") }))),
    );
  }

  /** @param {any[]} held */
  function configurations(held) {
    const used = new Set(held.map((one) => one.configuration));
    const found = Object.entries(known.live.configurations).filter(([digest]) => used.has(digest));
    if (!found.length) return null;
    return panel("Configuration", { about: "as it was, secrets masked" }, found.map(([digest, document]) => whole(`Digest ${digest.slice(0, 16)}…`, document, digest)));
  }

  const shortcuts = [
    { keys: "[", does: "The change before", run: () => press("earlier") },
    { keys: "]", does: "The change after", run: () => press("later") },
    { keys: "n", does: "Now", run: () => press("now") },
  ];

  /** @param {string} key */
  function press(key) {
    /** @type {HTMLElement | null} */ (node.querySelector(`[data-key="${key}"]`))?.click();
  }

  return { title: "Time machine", node, update, shortcuts };
}

/** @param {string | undefined} text @returns {number | null} */
function asked(text) {
  const at = text ? Date.parse(text) : NaN;
  return Number.isNaN(at) || at > Date.now() ? null : at;
}

/** @param {number} at */
function iso(at) {
  return new Date(at).toISOString();
}

/** As the input wants it: local time without an offset. @param {number} at */
function local(at) {
  return iso(at - new Date(at).getTimezoneOffset() * 60_000).slice(0, 19);
}
