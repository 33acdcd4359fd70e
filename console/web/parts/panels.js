// @ts-check
/** A titled part of a page, and what stands in many of them. */

import { element } from "../page/element.js";

/** @typedef {import("../page/element.js").Child} Child */

/**
 * @param {string} title @param {{about?: Child, key?: string, class?: string, end?: Child}} [more] @param {...Child} children
 */
export function panel(title, more = {}, ...children) {
  const id = `panel-${title.toLowerCase().replace(/[^a-z0-9]+/g, "-")}`;
  return element(
    "section",
    { class: ["panel", more.class], key: more.key ?? title, "aria-labelledby": id },
    element("div", { class: "panel-head" }, element("h2", { id }, title), more.about ? element("p", {}, more.about) : null, more.end ?? null),
    children,
  );
}

/** Names and values. @param {...[string, Child]} rows */
export function facts(...rows) {
  return element("dl", { class: "facts" }, rows.map(([name, value]) => [element("dt", {}, name), element("dd", {}, value)]));
}

/** A number with its name above it. @param {string} name @param {Child} value @param {string} [title] */
export function figure(name, value, title) {
  return element("div", { title: title ?? false }, element("div", { class: "figure-name" }, name), element("div", { class: "figure-value" }, value));
}

/**
 * A table in a box that scrolls by itself where it is wider than the page.
 * @param {string} caption  what it shows, for those who do not see it
 * @param {Array<string | {name: string, right?: boolean, title?: string}>} columns
 * @param {Array<{key?: string, cells: Child[]} | Child[]>} rows  the first cell of a row is its heading
 */
export function table(caption, columns, rows) {
  const heads = columns.map((one) => (typeof one === "string" ? { name: one } : one));
  return element(
    "div",
    { class: "scroll", tabindex: 0, role: "region", "aria-label": caption },
    element(
      "table",
      {},
      element("caption", { class: "unseen" }, caption),
      element("thead", {}, element("tr", {}, heads.map((one) => element("th", { scope: "col", class: one.right && "right", title: /** @type {any} */ (one).title ?? false }, one.name)))),
      element("tbody", {}, rows.map((row) => line(row, heads))),
    ),
  );
}

/** @param {any} row @param {any[]} heads */
function line(row, heads) {
  const cells = Array.isArray(row) ? row : row.cells;
  return element(
    "tr",
    { key: Array.isArray(row) ? null : row.key },
    cells.map((/** @type {Child} */ cell, /** @type {number} */ at) =>
      element(at ? "td" : "th", { scope: at ? false : "row", class: heads[at]?.right && "right" }, cell)),
  );
}

/**
 * One of a few, as buttons.
 * @param {string} label @param {Array<[string, string]>} choices  value and text @param {string} chosen
 * @param {(value: string) => void} choose
 */
export function switcher(label, choices, chosen, choose) {
  return element(
    "div",
    { class: "switcher", role: "group", "aria-label": label },
    choices.map(([value, text]) =>
      element("button", { type: "button", key: value, "aria-pressed": String(value === chosen), on: { click: () => choose(value) } }, text)),
  );
}
