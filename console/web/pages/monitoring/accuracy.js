// @ts-check
/** How right each version is: of the trial that runs, of all that was labelled, over time; and how labels stand. */

import { element } from "../../page/element.js";
import { empty } from "../../page/states.js";
import { facts, panel, table } from "../../parts/panels.js";
import { told } from "../../parts/values.js";
import { count, number, percent, stretch } from "../../words/numbers.js";
import { moment } from "../../words/times.js";

/** @type {Array<[string, string, (value: any) => string]>} */
const FIGURES = [
  ["accuracy", "Accuracy", percent], ["precision", "Precision", percent], ["recall", "Recall", percent], ["auc", "AUC", number],
  ["log_loss", "Log loss", number], ["calibration_error", "Calibration", percent], ["mae", "MAE", number], ["rmse", "RMSE", number],
  ["bias", "Bias", number],
];

/** @param {any} endpoint  its view: `accuracy` is of the trial that runs */
export function trial(endpoint) {
  const rows = endpoint.accuracy;
  const about = "both versions on the same labelled requests";
  if (!rows.length) return null;
  return panel(
    "Accuracy of this trial by cohort",
    { about },
    table(
      "Accuracy by cohort",
      ["Cohort", { name: "Labels", right: true }, { name: endpoint.incumbent.version, right: true }, { name: endpoint.candidate?.version ?? "candidate", right: true }, { name: "Difference", right: true }, ""],
      rows.map((/** @type {any} */ one) => ({
        key: one.cohort || "all",
        cells: [
          one.cohort || element("strong", {}, "everybody"), count(one.labels),
          element("span", { class: "incumbent" }, percent(one.incumbent)), element("span", { class: "candidate" }, percent(one.candidate)),
          difference(one.candidate - one.incumbent), bars(one),
        ],
      })),
    ),
  );
}

/** @param {number} share */
function difference(share) {
  const sign = share > 0 ? "+" : share < 0 ? "−" : "±";
  return element("span", { class: share < -0.005 ? "bad" : share > 0.005 ? "good" : "soft" }, `${sign}${number(Math.abs(share) * 100, 2)} points`);
}

/** @param {any} one */
function bars(one) {
  return element(
    "span",
    { class: "pair-bars", "aria-hidden": "true", vars: { "--incumbent-share": one.incumbent, "--candidate-share": one.candidate } },
    element("i", { class: "bar-incumbent" }),
    element("i", { class: "bar-candidate" }),
  );
}

/** All that was labelled, by version and cohort. @param {any} endpoint @param {any} right  `…/accuracy`, or null */
export function versions(endpoint, right) {
  const groups = right?.groups ?? [];
  if (!groups.length) {
    return panel("Accuracy of every version", {}, empty(
      "No labels in this window",
      "Post what was really true to /api/v1/labels, or run pointsman labels import FILE. They are joined with the prediction log, weeks later too.",
    ));
  }
  const shown = FIGURES.filter(([key]) => groups.some((/** @type {any} */ one) => typeof one[key] === "number"));
  const arms = { [endpoint.incumbent.version]: "incumbent", [endpoint.candidate?.version]: "candidate" };
  return panel(
    "Accuracy of every version",
    { about: "all labels of the window, joined with the prediction log; served and mirrored answers" },
    right.failure ? element("p", { class: "call call-bad" }, right.failure) : null,
    table(
      "Figures by version and cohort",
      ["Version", "Cohort", { name: "Labels", right: true }, ...shown.map(([, name]) => ({ name, right: true }))],
      groups.slice(0, 100).map((/** @type {any} */ one) => ({
        key: `${one.version} ${one.cohort}`,
        cells: [
          element("span", { class: arms[one.version] }, one.version), one.cohort || element("strong", {}, "everybody"), count(one.labels),
          ...shown.map(([key, , format]) => format(one[key])),
        ],
      })),
    ),
    groups.length > 100 ? element("p", { class: "soft small" }, `and ${count(groups.length - 100)} more groups`) : null,
  );
}

/**
 * Accuracy over time as a curve needs it: a column of instants, a series for each version. Pure.
 * @param {any[]} groups  by version and time
 * @param {Object<string, string>} looks  the arm of each version
 */
export function overTime(groups, looks) {
  const instants = [...new Set(groups.map((one) => Date.parse(one.from) / 1000))].sort((one, other) => one - other);
  const names = [...new Set(groups.map((one) => one.version))];
  const key = groups.some((one) => typeof one.accuracy === "number") ? "accuracy" : "mae";
  const found = new Map(groups.map((one) => [`${one.version} ${Date.parse(one.from) / 1000}`, one[key] ?? null]));
  const series = names.map((name) => ({ name, look: looks[name] ?? "other", values: instants.map((at) => found.get(`${name} ${at}`) ?? null) }));
  return { key, at: instants, series };
}

/** @param {string} name @param {any} status  `GET /api/v1/labels` */
export function labels(name, status) {
  const found = (status.endpoints ?? []).find((/** @type {any} */ one) => one.endpoint === name);
  const unfit = (status.unfit ?? []).filter((/** @type {any} */ one) => one.endpoint === name);
  return panel(
    "Labels",
    { about: "how late what was really true becomes known" },
    status.failure ? element("p", { class: "call call-bad" }, status.failure) : null,
    facts(...told(
      ["Joined", found ? count(found.joined) : "none yet"],
      ["Newest", found ? element("span", {}, moment(found.newest_at), `, ${stretch(found.age_seconds)} old`) : null],
      ["Corrected", found?.corrected ? count(found.corrected) : null],
      ["Do not fit", found?.unfit ? count(found.unfit) : null],
      ["Wait to be joined", status.behind || status.waiting ? count(status.behind + status.waiting) : null],
      ["Of requests nobody knows", status.unknown?.count ? `${count(status.unknown.count)}, such as ${status.unknown.newest.slice(0, 3).join(", ")}` : null],
    )),
    unfit.length ? element("ul", { class: "notes small" }, unfit.slice(0, 5).map((/** @type {any} */ one) => element("li", { class: "bad" }, `${one.request_id}: ${one.detail}`))) : null,
  );
}
