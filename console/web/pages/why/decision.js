// @ts-check
/** One decision: who answered and why, in a sentence; then all that is known of it. */

import { element } from "../../page/element.js";
import { address } from "../../page/router.js";
import { badge } from "../../parts/badges.js";
import { draw, graph } from "../../parts/lineage.js";
import { facts, panel, table } from "../../parts/panels.js";
import { digest, told, whole, written } from "../../parts/values.js";
import { number } from "../../words/numbers.js";
import { moment } from "../../words/times.js";
import { plan } from "../time/standing.js";

const MOST_FEATURES = 50;

/** @param {any} one  as `GET /api/v1/decisions/{request_id}` answers */
export function decision(one) {
  return [
    element(
      "div",
      { class: "call", key: "sentence" },
      element("p", {}, element("strong", { class: one.arm }, one.version), ` (${one.arm}) answered ${said(one.prediction)}${sure(one.confidence)}: `, element("strong", {}, one.reason), "."),
      element("p", { class: "soft small" }, moment(one.at), `, on `, element("a", { href: address("endpoints", one.endpoint) }, one.endpoint), `, status ${one.status} in ${number(one.latency_ms)} ms`),
    ),
    one.notes.length ? element("ul", { class: "call call-wait notes", key: "notes" }, one.notes.map((/** @type {string} */ note) => element("li", {}, note))) : null,
    element("div", { class: "panels", key: "panels" }, answers(one), live(one), asked(one)),
    lineage(one),
  ];
}

/** @param {any} one */
function answers(one) {
  const rows = [{ key: "served", cells: [element("span", { class: [one.arm, "name"] }, one.version), "served", said(one.prediction), number(one.confidence), one.status, `${number(one.latency_ms)} ms`] }];
  const other = one.mirrored;
  if (other) rows.push({ key: "mirrored", cells: [element("span", { class: "name" }, other.version), "asked as well", said(other.prediction), number(other.confidence), other.status || "none", `${number(other.latency_ms)} ms`] });
  const truth = one.label;
  return panel(
    "Answers",
    { about: truth ? verdict(one) : "no label has come" },
    table("Answers to this request", ["Version", "", "Prediction", { name: "Confidence", right: true }, { name: "Status", right: true }, { name: "Latency", right: true }], rows),
    truth ? element("p", {}, "Really: ", element("strong", {}, written(truth.label)), element("span", { class: "soft" }, ", known ", moment(truth.at))) : null,
    other ? null : element("p", { class: "soft small" }, "The other version was not asked."),
    one.drill ? element("p", { class: "soft small" }, `Drill ${one.drill} was under way.`) : null,
  );
}

/** @param {any} one */
function verdict(one) {
  const truth = Array.isArray(one.label.label) ? one.label.label[0] : one.label.label;
  const right = written(truth) === written(one.prediction[0]);
  return badge(right ? "good" : "bad", right ? "it was right" : "it was wrong");
}

/** @param {any} one */
function live(one) {
  const held = one.live;
  return panel(
    "Live at that instant",
    { about: element("a", { href: address("time", { at: one.at, endpoint: one.endpoint }) }, "Time machine") },
    held
      ? facts(...told(
          ["Switch", badge(held.switch.tripped ? "bad" : "good", held.switch.tripped ? "tripped" : "armed")],
          ["Plan", held.mode ? plan(held) : null],
          ["Flag", held.flag ? `${held.flag.name}: ${held.flag.enabled ? "on" : "off"}` : "none"],
          ["Release", held.release],
          ["Gateway", held.replica],
          ["Since", element("span", {}, moment(held.since), ", ", element("a", { href: address("audit", { record: held.sequence }) }, `record ${held.sequence}`))],
        ))
      : element("p", { class: "soft" }, "The audit chain does not tell."),
    facts(...told(
      ["Configuration", digest(one.configuration)],
      ["Generation", one.generation],
      ["Unit", one.unit ? element("span", { title: "A keyed digest: the unit itself is not kept" }, digest(one.unit)) : "none"],
      ["Bucket", element("span", { class: "soft small" }, `${one.bucket}; pointsman why ${one.request_id} --unit UNIT works it out`)],
    )),
  );
}

/** @param {any} one */
function asked(one) {
  const features = Object.entries(one.features);
  return panel(
    "What was asked",
    {},
    features.length
      ? table("Features", ["Feature", { name: "Value", right: true }], features.slice(0, MOST_FEATURES).map(([name, value]) => ({ key: name, cells: [name, typeof value === "number" ? number(value, 4) : written(value)] })))
      : element("p", { class: "soft" }, "No features were kept."),
    facts(...told(
      ["Cohorts", one.cohorts.filter(Boolean).join(", ")],
      ["Input", one.input.digest ? element("span", {}, "SHA-256 ", digest(one.input.digest)) : null],
    )),
    one.input.text || one.input.base64 ? whole("The request's body, as redacted", one.input.text ?? one.input.base64) : null,
  );
}

/** @param {any} one */
function lineage(one) {
  const arms = [{ role: one.arm, version: one.version, lineage: one.lineage }];
  const other = one.mirrored;
  if (other) arms.push({ role: one.arm === "incumbent" ? "candidate" : "incumbent", version: other.version, lineage: other.lineage });
  if (arms.every((arm) => !arm.lineage)) return null;
  return panel("What it was made of", { about: "as the registries said it at that instant" }, draw(graph(one.endpoint, arms)));
}

/** @param {any[]} prediction */
function said(prediction) {
  if (!prediction.length) return "what could not be read";
  const shown = prediction.slice(0, 6).map(written).join(", ");
  return prediction.length > 6 ? `${shown}, …` : shown;
}

/** @param {number | null} confidence */
function sure(confidence) {
  return confidence === null ? "" : ` with a confidence of ${number(confidence)}`;
}
