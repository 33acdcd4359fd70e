// @ts-check
/** Which slices of the requests are slow: by cohort, and by ranges of features. */

import { element } from "../../page/element.js";
import { empty } from "../../page/states.js";
import { badge } from "../../parts/badges.js";
import { panel, table } from "../../parts/panels.js";
import { count, latency, percent } from "../../words/numbers.js";

const MOST = 12;

/** @param {any} drift */
export function slow(drift) {
  const found = drift.latency;
  if (!found?.all) return null;
  const rows = found.slices.slice(0, MOST).map((/** @type {any} */ one) => line(`${one.by} ${one.value}`, `${one.by.replace(/^(feature|header):/, "")} ${one.value}`, one));
  return panel(
    "Slow slices",
    { about: "by cohort and by ranges of features; slow ones are certainly slower than all others" },
    rows.length
      ? table("Latency by slice", ["Slice", "", { name: "Requests", right: true }, { name: "p50", right: true }, { name: "p95", right: true }, { name: "p99", right: true }, { name: "Beyond the p95 of all", right: true }], [line("all", "all requests", found.all), ...rows])
      : empty("No slices yet", "They come with requests; cohorts are configured by the endpoint's cohorts."),
  );
}

/** @param {string} key @param {string} name @param {any} one */
function line(key, name, one) {
  return {
    key,
    cells: [
      element("span", { class: "slice-name" }, name), one.slow ? badge("bad", "slow") : null, count(one.rows),
      latency(one.p50), latency(one.p95), latency(one.p99), one.beyond === null || one.beyond === undefined ? "–" : percent(one.beyond),
    ],
  };
}
