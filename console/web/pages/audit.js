// @ts-check
/** The audit chain: searched, read page by page, verified. */

import { element } from "../page/element.js";
import { morph } from "../page/morph.js";
import { address } from "../page/router.js";
import { empty, failed, loading } from "../page/states.js";
import { badge } from "../parts/badges.js";
import { facts, panel } from "../parts/panels.js";
import { record } from "../parts/records.js";
import { digest, told } from "../parts/values.js";
import { count } from "../words/numbers.js";
import { moment } from "../words/times.js";

const PAGE = 50;
const RENEWED = 3_000;

/** What may be asked for: the key of the query, the label, an example. @type {Array<[string, string, string, string]>} */
const FIELDS = [
  ["text", "Text", "search", "any word"],
  ["action", "Action begins with", "text", "switch."],
  ["name", "Of", "text", "rain"],
  ["actor", "By", "text", "ada"],
  ["since", "Since", "datetime-local", ""],
  ["until", "Until", "datetime-local", ""],
];

/** @type {Array<[string, Object<string, string>]>} */
const USUAL = [
  ["Everything", {}], ["Trips and re-arms", { action: "switch." }], ["Releases", { action: "release." }],
  ["Configuration", { action: "configuration." }], ["Drills", { action: "drill." }], ["Refused", { action: "refused." }],
];

/** @param {import("../page/context.js").Context} context @returns {import("../page/context.js").Page} */
export function page(context) {
  const node = element("div", { class: "stack" }, loading(8, "Records"));
  /** @type {Object<string, string>} */
  let query = Object.fromEntries(FIELDS.map(([key]) => [key, context.query[key] ?? ""]));
  const single = Number(context.query.record) || null;
  const state = { events: /** @type {any[]} */ ([]), before: /** @type {number | null} */ (null), size: 0, looked: 0, learned: 0, fresh: true, older: false };
  /** @type {{busy: boolean, found: any, error: unknown}} */
  const proof = { busy: false, found: null, error: null };

  /** @param {import("../page/live.js").Happening} [happening] */
  async function update(happening) {
    if (single) return state.size ? false : one();
    const due = !state.older && (happening || Date.now() - state.learned > RENEWED);
    if (!state.fresh && !due) return false;
    state.fresh = false;
    state.learned = Date.now();
    const asked = query;
    const found = await context.api.get("api/v1/audit/search", { ...sent(query), limit: PAGE });
    if (asked !== query) return false;
    Object.assign(state, { events: found.events, before: found.before, size: found.size, looked: found.looked_at });
    draw();
  }

  async function one() {
    const found = await context.api.get("api/v1/audit", { after: Number(single) - 1, limit: 1 });
    Object.assign(state, { events: found.events, size: found.size });
    draw();
  }

  async function more() {
    const found = await context.api.get("api/v1/audit/search", { ...sent(query), limit: PAGE, before: state.before });
    state.older = true;
    state.events = [...state.events, ...found.events];
    state.looked += found.looked_at;
    state.before = found.before;
    draw();
  }

  async function verify() {
    Object.assign(proof, { busy: true, error: null });
    draw();
    try {
      proof.found = await context.api.get("api/v1/audit/verify");
      context.announce(proof.found.intact ? `The chain is intact: ${count(proof.found.size)} records.` : `The chain is broken at record ${proof.found.sequence}.`, !proof.found.intact);
    } catch (error) {
      proof.error = error;
    }
    proof.busy = false;
    draw();
  }

  /** @param {Object<string, string>} wanted */
  function search(wanted) {
    query = { ...Object.fromEntries(FIELDS.map(([key]) => [key, ""])), ...wanted };
    Object.assign(state, { fresh: true, older: false });
    window.history.replaceState(null, "", address("audit", query));
    for (const [key] of FIELDS) {
      const input = /** @type {HTMLInputElement | null} */ (node.querySelector(`[name="${key}"]`));
      if (input && input.value !== query[key]) input.value = query[key];
    }
    context.refresh();
  }

  function draw() {
    morph(node, shown());
  }

  function shown() {
    return element(
      "div",
      { class: "stack" },
      element(
        "header",
        { class: "page-head" },
        element("div", {}, element("h1", {}, "Audit"), element("p", {}, `${count(state.size)} records: who did what, when, why, and what was true afterwards`)),
        element(
          "div",
          { class: "row" },
          element("button", { type: "button", key: "verify", class: "primary", disabled: proof.busy, on: { click: verify } }, proof.busy ? "Reading the chain …" : "Verify the chain"),
          element("a", { class: "button", href: "api/v1/audit/export", download: "audit.jsonl" }, "Export"),
        ),
      ),
      verdict(proof),
      single ? element("p", { class: "call" }, `Record ${single} by itself. `, element("a", { href: "#/audit" }, "Search all records")) : form(query, search),
      list(),
    );
  }

  function list() {
    const { events, before, looked } = state;
    if (!events.length) {
      return panel("Records", {}, before
        ? element("div", { class: "empty" }, element("p", { class: "empty-title" }, `Nothing among the latest ${count(looked)} records`), older())
        : empty("No record matches", "Ask for less: part of a word is enough, and the times are your own time zone's."));
    }
    return panel(
      "Records",
      { about: "newest first" },
      element("ol", { class: "records" }, events.map((event) => record(event, { open: Boolean(single) }))),
      before && !single ? older() : null,
    );
  }

  function older() {
    return element("p", { class: "more" }, element("button", { type: "button", key: "older", on: { click: () => void more().catch((error) => context.announce(String(error.message), true)) } }, "Older records"));
  }

  const shortcuts = [
    { keys: "/", does: "Search", run: () => /** @type {HTMLElement | null} */ (node.querySelector("[name=text]"))?.focus() },
    { keys: "v", does: "Verify the chain", run: () => void verify() },
  ];
  return { title: "Audit", node, update, shortcuts };
}

/** @param {Object<string, string>} query @param {(wanted: Object<string, string>) => void} search */
function form(query, search) {
  const submitted = (/** @type {SubmitEvent} */ event) => {
    event.preventDefault();
    const given = /** @type {any} */ (Object.fromEntries(new FormData(/** @type {HTMLFormElement} */ (event.currentTarget))));
    search(given);
  };
  return element(
    "form",
    { class: "panel search", role: "search", "aria-label": "Records", on: { submit: submitted } },
    element(
      "div",
      { class: "search-fields" },
      FIELDS.map(([key, label, type, example]) =>
        element("label", { class: "field", key }, element("span", {}, label), element("input", { name: key, type, value: query[key], placeholder: example || false, maxlength: 200, step: type === "datetime-local" ? 1 : false }))),
      element("button", { type: "submit", class: "primary" }, "Search"),
    ),
    element(
      "div",
      { class: "row small" },
      USUAL.map(([text, wanted]) => {
        const chosen = FIELDS.every(([key]) => (wanted[key] ?? "") === query[key]);
        return element("button", { type: "button", class: "quiet", key: text, "aria-pressed": String(chosen), on: { click: () => search(wanted) } }, text);
      }),
    ),
  );
}

/** Times as the API wants them, with their offset. @param {Object<string, string>} query */
function sent(query) {
  const given = { ...query };
  for (const key of ["since", "until"]) {
    if (given[key]) given[key] = new Date(given[key]).toISOString();
  }
  return given;
}

/** @param {{busy: boolean, found: any, error: unknown}} proof */
function verdict(proof) {
  if (proof.error) return failed(proof.error);
  const found = proof.found;
  if (!found) return null;
  return element(
    "section",
    { class: ["call", found.intact ? (found.problem ? "call-wait" : "call-good") : "call-bad"], key: "proof", "aria-label": "Verification" },
    element(
      "p",
      { class: "row" },
      badge(found.intact ? "good" : "bad", found.intact ? "intact" : "broken"),
      element("strong", {}, found.intact
        ? `All ${count(found.size)} records are as they were written, in their order.`
        : `Record ${found.sequence}: ${found.reason}.`),
    ),
    found.problem ? element("p", { class: "bad" }, found.problem) : null,
    facts(...told(
      ["Root of the tree", digest(found.root)],
      ["Last hash", digest(found.chain)],
      ["Last signed head", found.head ? element("span", {}, `${count(found.head.size)} records, `, moment(found.head.at)) : "none yet: an end that is cut off would not be noticed"],
      ["Signed with", digest(found.key)],
      found.erased ? ["Erased contents", count(found.erased)] : null,
      found.waiting ? ["Not written yet", count(found.waiting)] : null,
    )),
    element("p", { class: "soft small" }, "Who trusts neither this host nor its database: ", element("code", {}, "pointsman audit verify --file audit.jsonl --heads … --key …")),
  );
}

