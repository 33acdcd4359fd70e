// @ts-check
/** Answers of both versions to the same requests, side by side, what differs marked. */

import { Problem, part } from "../page/api.js";
import { show } from "../page/dialogs.js";
import { element } from "../page/element.js";
import { morph } from "../page/morph.js";
import { address } from "../page/router.js";
import { empty, loading } from "../page/states.js";
import { badge } from "../parts/badges.js";
import { text, written } from "../parts/documents.js";
import { switcher } from "../parts/panels.js";
import { curl } from "../words/curl.js";
import { latency, percent } from "../words/numbers.js";
import { ago, moment } from "../words/times.js";

/** @typedef {import("../page/context.js").Context} Context */

const FIRST = 20;
const MOST = 200;
const WORST = /** @type {Array<[string, string]>} */ ([
  ["divergence", "most divergent"], ["errors", "only the candidate failed"], ["latency_p95", "slowest candidate"], ["confidence", "confidence furthest apart"],
]);

/** @param {Context} context @returns {import("../page/context.js").Page} */
export function page(context) {
  const { endpoint } = context.parameters;
  const list = element("div", { class: "stack" }, loading(8, "Loading the pairs"));
  const controls = element("div", { class: "row" });
  const asked = {
    order: context.query.order === "latest" ? "latest" : "worst",
    guard: WORST.some(([name]) => name === context.query.by) ? context.query.by : "divergence",
    cohort: context.query.cohort ?? "",
    flips: context.query.flips === "only",
    most: FIRST,
  };
  /** @type {any[] | null} */
  let pairs = null;
  /** @type {any} */
  let view = null;
  let last = "";

  /** @param {Partial<typeof asked>} change */
  function change(change) {
    Object.assign(asked, change);
    last = "";
    context.requery({ order: asked.order === "latest" ? "latest" : null, by: asked.guard === "divergence" ? null : asked.guard, cohort: asked.cohort || null, flips: asked.flips ? "only" : null });
    if (pairs) render();
    context.refresh();
  }

  function render() {
    const known = /** @type {any[]} */ (pairs);
    morph(controls, choices(asked, cohorts(known), change));
    const fitting = known.filter((one) => (!asked.cohort || one.cohorts.includes(asked.cohort)) && (!asked.flips || one.flip));
    morph(list, element("div", { class: "stack" }, fitting.length ? fitting.map((one) => pair(context, view, one)) : nothing(view, known, asked), more(known, asked, change)));
  }

  return {
    title: `Pairs of ${endpoint}`,
    node: element(
      "div",
      {},
      element("div", { class: "page-head" }, element("div", {}, element("h1", {}, "Pairs"), element("p", {}, "Both versions' answers to the same requests of ", element("a", { href: address("endpoints", endpoint) }, endpoint), ".")), controls),
      list,
    ),
    async update() {
      const path = `api/v1/endpoints/${part(endpoint)}`;
      const query = asked.order === "latest" ? { latest: asked.most } : { worst: asked.most, guard: asked.guard };
      const [told, shown] = await Promise.all([context.api.get(`${path}/pairs`, query), context.api.get(path, { cached: true })]);
      const now = JSON.stringify(told.pairs.map((/** @type {any} */ one) => one.request_id));
      view = shown;
      if (now === last) return false;
      last = now;
      pairs = told.pairs;
      render();
      return true;
    },
  };
}

/** @param {any[]} known @param {any} asked @param {(change: any) => void} change */
function more(known, asked, change) {
  if (known.length < asked.most || asked.most >= MOST) return null;
  return element("p", { class: "row", key: "more" }, element("button", { type: "button", on: { click: () => change({ most: Math.min(MOST, asked.most * 3) }) } }, "Show more"));
}

/** @param {any[]} pairs */
function cohorts(pairs) {
  return [...new Set(pairs.flatMap((one) => one.cohorts))].sort().slice(0, 100);
}

/** @param {any} asked @param {string[]} known @param {(change: any) => void} change */
function choices(asked, known, change) {
  const options = asked.cohort && !known.includes(asked.cohort) ? [asked.cohort, ...known] : known;
  return element(
    "div",
    { class: "row" },
    switcher("Order", [["worst", "Worst"], ["latest", "Latest"]], asked.order, (order) => change({ order })),
    asked.order === "worst" ? select("By", WORST, asked.guard, (guard) => change({ guard })) : null,
    options.length ? select("Of", [["", "everybody"], ...options.map((one) => /** @type {[string, string]} */ ([one, one]))], asked.cohort, (cohort) => change({ cohort })) : null,
    element("label", { class: "row tight" }, element("input", { type: "checkbox", checked: asked.flips, on: { change: (/** @type {any} */ event) => change({ flips: event.target.checked }) } }), "flips only"),
  );
}

/** @param {string} label @param {Array<[string, string]>} options @param {string} chosen @param {(value: string) => void} choose */
function select(label, options, chosen, choose) {
  return element(
    "label",
    { class: "row tight", key: label },
    label,
    element("select", { on: { change: (/** @type {any} */ event) => choose(event.target.value) } }, options.map(([value, shown]) => element("option", { value, selected: value === chosen }, shown))),
  );
}

/** @param {any} view @param {any[]} known @param {any} asked */
function nothing(view, known, asked) {
  if (!view.candidate) return empty("No candidate: nothing to compare", "Pairs come when a candidate is configured and requests are mirrored to it.");
  if (known.length) return empty("None of these pairs fits", "Choose everybody, or let the flips in that are none.");
  if (asked.order === "worst" && asked.guard !== "divergence") return empty("No such pair", "Nothing was bad in this respect since the candidate was armed.");
  if (view.switch.tripped) return empty("No pairs are kept", "The candidate is out, so nothing is mirrored; pairs from before were lost with a restart.");
  return empty("No pairs that differ yet", "Pairs come with the traffic: each request that is mirrored makes one.");
}

/** @param {Context} context @param {any} view @param {any} one */
function pair(context, view, one) {
  const marked = new Set(one.diff.map((/** @type {any} */ found) => found.path));
  return element(
    "article",
    { class: "panel pair", key: one.request_id, "aria-label": `Request ${one.request_id}` },
    element(
      "div",
      { class: "row spread pair-head" },
      element(
        "div",
        { class: "row" },
        one.flip ? badge("bad", "flip") : one.diff.length ? badge("wait", "differs") : badge("good", "same"),
        element("strong", {}, one.score === null ? "not compared" : `divergence ${percent(one.score)}`),
        element("span", { class: "soft" }, one.reason),
      ),
      element(
        "div",
        { class: "row tight" },
        element("button", { type: "button", class: "quiet", on: { click: () => copy(context, view, one) } }, "Copy as curl"),
        element("a", { class: "button quiet", href: address("why", { id: one.request_id }) }, "Why this answer"),
      ),
    ),
    element("p", { class: "small soft pair-about" }, element("code", {}, one.request_id), " · ", moment(one.at), ` (${ago(one.at)}) · the client got the ${one.served}'s answer`, one.cohorts.length ? [" · ", one.cohorts.join(", ")] : null),
    element("div", { class: "sides" }, side("incumbent", one, marked), side("candidate", one, marked)),
    one.noise ? element("p", { class: "small soft" }, `The incumbent against its own second answer: divergence ${percent(one.noise.score)}${one.noise.flip ? ", a flip" : ""}.`) : null,
  );
}

/** @param {"incumbent"|"candidate"} arm @param {any} one @param {Set<string>} marked */
function side(arm, one, marked) {
  const its = one[arm];
  const texts = one.diff.filter((/** @type {any} */ found) => found.text);
  const whole = texts.length === 1 && texts[0].path === "" ? text(texts[0].text, arm === "incumbent" ? "-" : "+") : written(its.prediction, marked);
  return element(
    "div",
    { class: `side side-${arm}` },
    element("h2", {}, element("span", { class: arm }, its.version), element("span", { class: "soft small side-about" }, `${its.outcome === "answered" ? its.status : its.outcome} · ${latency(its.latency_ms / 1000)}`)),
    whole,
  );
}

/** @param {Context} context @param {any} view @param {any} one */
async function copy(context, view, one) {
  const body = await kept(context, one.request_id);
  const command = curl(view.path, body, one.request_id);
  const note = body === null ? "The body of this request is not kept (log.input of the endpoint keeps bodies): put it into request.json." : "";
  try {
    await navigator.clipboard.writeText(command);
    context.announce(`Copied. Set GATEWAY to the gateway's address. ${note}`);
  } catch {
    show("The request as curl", element("p", {}, `Set GATEWAY to the gateway's address. ${note}`), element("pre", { class: "document" }, command));
  }
}

/** The body that the prediction log has kept, or null. @param {Context} context @param {string} id */
async function kept(context, id) {
  try {
    return (await context.api.get(`api/v1/decisions/${part(id)}`)).input?.text ?? null;
  } catch (error) {
    if (error instanceof Problem) return null;
    throw error;
  }
}
