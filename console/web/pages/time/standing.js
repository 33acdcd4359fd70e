// @ts-check
/** What an endpoint served at an instant, and what its versions were made of. */

import { element } from "../../page/element.js";
import { address } from "../../page/router.js";
import { badge } from "../../parts/badges.js";
import { draw, graph } from "../../parts/lineage.js";
import { facts, panel } from "../../parts/panels.js";
import { digest, told } from "../../parts/values.js";
import { percent } from "../../words/numbers.js";
import { moment } from "../../words/times.js";
import { sentence } from "./changes.js";

/** @param {any} held  an entry of `endpoints` of `GET /api/v1/live` @param {boolean} several  whether gateways have to be told apart */
export function standing(held, several) {
  const kills = held.switch.kills.map((/** @type {any} */ one) =>
    element("li", { key: one.id }, moment(one.since), ` by ${one.actor}: ${one.reason}`));
  return panel(
    several ? `${held.endpoint} on ${held.replica}` : held.endpoint,
    { about: held.candidate ? badge(held.switch.tripped ? "bad" : "good", held.switch.tripped ? "tripped" : "armed") : badge("none", "no candidate"), class: "held" },
    element("p", { class: "held-said" }, sentence(held)),
    held.silent_since ? element("p", { class: "bad" }, "Not heard of since ", moment(held.silent_since), ": it may have been dead.") : null,
    facts(...told(
      ["Incumbent", element("span", { class: "incumbent name" }, held.incumbent?.version ?? "–")],
      held.candidate ? ["Candidate", element("span", { class: "candidate name" }, held.candidate.version)] : null,
      held.mode ? ["Plan", plan(held)] : null,
      held.flag ? ["Flag", `${held.flag.name}: ${held.flag.enabled ? "on" : "off"}`] : null,
      kills.length ? ["Kills", element("ul", {}, kills, held.switch.more ? element("li", {}, `and ${held.switch.more} more`) : null)] : null,
      ["Configuration", digest(held.configuration)],
      ["Since", element("span", {}, moment(held.since), ", ", element("a", { href: address("audit", { record: held.sequence }) }, `record ${held.sequence}`))],
    )),
  );
}

/** @param {any} held */
export function plan(held) {
  const stage = held.stage < 0 ? "again, after a re-arm" : `stage ${held.stage + 1}`;
  return held.mode === "shadow" ? `shadow, ${stage}` : `${held.mode}, ${percent(held.weight)} of the units, ${stage}`;
}

/** Lineage of each endpoint that has any. @param {any[]} held @param {string} chosen */
export function lineages(held, chosen) {
  const seen = new Set();
  const with_ = held.filter((one) => {
    if (seen.has(one.endpoint)) return false;
    seen.add(one.endpoint);
    return chosen || one.incumbent?.lineage || one.candidate?.lineage;
  });
  if (!with_.length) return null;
  return panel(
    "What the versions were made of",
    { about: "as the registries said it then; what differs is marked" },
    with_.map((one) => {
      const arms = /** @type {any[]} */ ([["incumbent", one.incumbent], ["candidate", one.candidate]]);
      const known = arms.filter(([, version]) => version).map(([role, version]) => ({ role, version: version.version, lineage: version.lineage }));
      return element("figure", { class: "lineage-of", key: one.endpoint }, element("figcaption", { class: "name" }, one.endpoint), draw(graph(one.endpoint, known)));
    }),
  );
}
