// @ts-check
/** Every endpoint, those first that need somebody. */

import { part } from "../page/api.js";
import { element } from "../page/element.js";
import { morph } from "../page/morph.js";
import { address } from "../page/router.js";
import { empty, loading } from "../page/states.js";
import { badge, mood, shape } from "../parts/badges.js";
import { kill, rearm } from "../parts/switching.js";
import { trend, way } from "../charts/small.js";
import { count, percent, rate, several } from "../words/numbers.js";
import { ago, moment } from "../words/times.js";
import { actor, closeness, spoken } from "../words/standing.js";

/** @typedef {import("../page/context.js").Context} Context */

/** @type {Object<string, [import("../parts/badges.js").Mood, string]>} */
const ATTENTION = {
  blind: ["bad", "state unknown"],
  out: ["bad", "tripped"],
  watch: ["wait", "watch"],
  trial: ["good", "on trial"],
  none: ["none", "no candidate"],
};

/** @param {Context} context @returns {import("../page/context.js").Page} */
export function page(context) {
  const rows = element("div", { class: "overview" }, loading(6, "Loading the endpoints"));
  const find = element("input", {
    type: "search", "aria-label": "Find an endpoint", placeholder: "Find (press /)", value: context.query.find ?? "", class: "find",
    on: { input: sought },
  });
  const summary = element("p", {});
  const node = element(
    "div",
    {},
    element("div", { class: "page-head" }, element("div", {}, element("h1", {}, "Endpoints"), summary), find),
    rows,
  );
  /** @type {any} */
  let shown = null;

  function sought() {
    if (shown) morph(rows, overview(context, shown, find.value));
  }

  return {
    title: "Overview",
    node,
    async update() {
      const found = await context.overview();
      if (found === shown) return false;
      shown = found;
      morph(summary, element("p", {}, counted(found)));
      sought();
      return true;
    },
    shortcuts: [
      { keys: "/", does: "Find an endpoint", run: () => find.focus() },
      { keys: "n", does: "Next endpoint", run: () => step(rows, 1) },
      { keys: "p", does: "Previous endpoint", run: () => step(rows, -1) },
    ],
  };
}

/** @param {HTMLElement} rows @param {number} by */
function step(rows, by) {
  const links = /** @type {HTMLElement[]} */ ([...rows.querySelectorAll(".entry-name a")]);
  const at = links.indexOf(/** @type {HTMLElement} */ (document.activeElement));
  links[at < 0 ? 0 : (at + by + links.length) % links.length]?.focus();
}

/** @param {any} found */
function counted(found) {
  const of = (/** @type {string} */ one) => found.endpoints.filter((/** @type {any} */ row) => row.attention === one).length;
  const parts = [
    [of("blind"), "of unknown state"], [of("out"), "tripped"], [of("watch"), "to watch"], [of("trial"), "on trial"],
    [of("none"), "without a candidate"],
  ].filter(([amount]) => amount).map(([amount, text]) => `${amount} ${text}`);
  const { workers } = found;
  return `${parts.join(", ") || "None"}. ${workers.connected} of ${several(workers.expected, "worker")}, generation ${found.generation}.`;
}

/** @param {Context} context @param {any} found @param {string} sought */
function overview(context, found, sought) {
  const wanted = sought.trim().toLowerCase();
  const fits = (/** @type {any} */ row) =>
    [row.endpoint, row.incumbent, row.candidate, row.path, (ATTENTION[row.attention] ?? [])[1]].some((one) => String(one ?? "").toLowerCase().includes(wanted));
  const rows = found.endpoints.filter(fits);
  return element(
    "div",
    { class: "overview" },
    found.shortcomings.map((/** @type {string} */ one) => element("p", { class: "call call-bad", key: one }, element("strong", {}, "Not ready: "), one)),
    found.degraded.map((/** @type {string} */ one) => element("p", { class: "call call-wait", key: one }, element("strong", {}, "Degraded: "), one)),
    rows.length
      ? element("ul", { class: "entries" }, rows.map((/** @type {any} */ row) => entry(context, row)))
      : found.endpoints.length
        ? empty(`No endpoint is like “${sought}”`, "Names, versions, paths and states are looked through.")
        : empty("No endpoint yet", "An endpoint is a section under endpoints: in the configuration; the file is watched, so it appears here once it is saved."),
  );
}

/** @param {Context} context @param {any} row */
function entry(context, row) {
  const [state, word] = ATTENTION[row.attention] ?? ["none", row.attention];
  return element(
    "li",
    { class: ["entry", `entry-${state}`], key: row.endpoint },
    element(
      "div",
      { class: "entry-name" },
      element("a", { href: address("endpoints", row.endpoint) }, row.endpoint),
      badge(state, word),
      row.switch.drill ? badge("wait", "drill", "A drill is under way: what is wrong is rehearsed") : null,
      element("p", { class: "entry-why" }, why(row)),
    ),
    cell("Live", versions(row)),
    cell("Guards", guards(row)),
    cell("Requests", flow(row)),
    element("div", { class: "entry-act" }, act(context, row)),
  );
}

/** @param {string} name @param {...import("../page/element.js").Child} children */
function cell(name, ...children) {
  return element("div", { class: "entry-cell" }, element("span", { class: "entry-label" }, name), children);
}

/** @param {any} row */
function why(row) {
  if (row.switch.unreadable) return ["Everybody is served by ", row.incumbent, ": ", row.switch.unreadable];
  if (row.switch.tripped) {
    return ["Out since ", moment(row.switch.since), ` (${ago(row.switch.since)}) by ${actor(row.switch.actor)}: `, row.trip ?? row.switch.reason];
  }
  if (!row.candidate) return "Nothing is on trial.";
  const { release } = row;
  const progress = release.pairs_needed ? `${count(release.pairs)} of ${count(release.pairs_needed)} pairs` : `${count(release.pairs)} pairs`;
  const phase = release.phase ? `release ${release.phase.replace("_", " ")}, ` : "";
  return `${phase}stage ${Math.max(0, release.stage) + 1} of ${release.stages}, ${progress}`;
}

/** @param {any} row */
function versions(row) {
  const { release } = row;
  const out = row.switch.tripped || !row.candidate;
  const share = out || release.mode === "shadow" ? 0 : release.weight;
  return [
    element("div", {}, element("span", { class: "incumbent name" }, row.incumbent), " ", element("span", { class: "soft" }, percent(1 - share))),
    row.candidate
      ? element("div", {}, element("span", { class: ["candidate name", out && "out"] }, row.candidate), " ", element("span", { class: "soft" }, out ? "out" : release.mode === "shadow" ? "shadow" : `${release.mode} ${percent(share)}`))
      : element("div", { class: "soft" }, "no candidate"),
  ];
}

/** @param {any} row */
function guards(row) {
  if (!row.candidate || !row.guards.length) return element("span", { class: "soft" }, "–");
  const [first] = row.guards;
  const states = row.guards.map((/** @type {any} */ one) => `${spoken(one.guard)} ${one.verdict}`).join(", ");
  return [
    element("div", { class: "glyphs", role: "img", "aria-label": `Guards: ${states}`, title: states }, row.guards.map((/** @type {any} */ one) => element("span", { class: `glyph glyph-${mood(one.verdict)}` }, shape(mood(one.verdict))))),
    element("div", { class: "small soft row tight" }, way(closeness(first), closeness(first) >= 0.5 || mood(first.verdict) === "bad" ? "bad" : mood(first.verdict)), `${spoken(first.guard)} ${percent(first.estimate)} of ${percent(first.limit)}`),
  ];
}

/** @param {any} row */
function flow(row) {
  const { incumbent, candidate, trend: values } = row.flow;
  const requests = (incumbent.requests ?? 0) + (candidate.requests ?? 0);
  const errors = (incumbent.errors ?? 0) + (candidate.errors ?? 0);
  const share = requests ? errors / requests : 0;
  return [
    element("div", { class: "row tight" }, element("strong", {}, incumbent.requests === null ? "–" : rate(requests)), trend(values, `Requests of the last minute, now ${rate(requests)}`)),
    element("div", { class: ["small", errors ? "bad" : "soft"] }, errors ? `${percent(share)} failed` : "no errors"),
  ];
}

/** @param {Context} context @param {any} row */
function act(context, row) {
  if (!row.candidate) return null;
  if (row.switch.tripped) {
    if (row.switch.unreadable || row.switch.drill || !context.may("release", row.endpoint)) return null;
    return element("button", { type: "button", on: { click: () => back(context, row) }, "aria-label": `Re-arm ${row.endpoint}` }, "Re-arm");
  }
  if (!context.may("operator", row.endpoint)) return null;
  return element("button", { type: "button", class: "kill", on: { click: () => kill(context, row.endpoint, row.candidate, row.incumbent) }, "aria-label": `Kill the candidate of ${row.endpoint}` }, "Kill");
}

/** The kills that it clears are shown first. @param {Context} context @param {any} row */
async function back(context, row) {
  const view = await context.api.get(`api/v1/endpoints/${part(row.endpoint)}`);
  await rearm(context, row.endpoint, row.candidate, view.switch.kills);
}
