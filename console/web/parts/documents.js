// @ts-check
/** What a model wrote, as an indented document; the values that differ are marked. Any text, and only as text. */

import { element } from "../page/element.js";

const LONGEST = 600;
const MOST_LINES = 400;

/** @typedef {import("../page/element.js").Child} Child */

/**
 * @param {any} value
 * @param {Set<string>} marked  JSON pointers of what differs
 */
export function written(value, marked) {
  const budget = { lines: MOST_LINES };
  return element("pre", { class: "document" }, lines(value, "", 0, "", marked, budget), budget.lines < 0 ? "…" : null);
}

/**
 * @param {any} value @param {string} pointer @param {number} depth @param {string} end
 * @param {Set<string>} marked @param {{lines: number}} budget @returns {Child[]}
 */
function lines(value, pointer, depth, end, marked, budget) {
  budget.lines -= 1;
  if (budget.lines < 0) return [];
  if (Array.isArray(value) && value.length && value.every((one) => typeof one !== "object" || one === null) && value.length <= 12) {
    return ["[", value.map((one, at) => [at ? ", " : "", leaf(one, `${pointer}/${at}`, marked)]), `]${end}\n`];
  }
  const list = Array.isArray(value);
  if (typeof value !== "object" || value === null || !Object.keys(value).length) {
    return [leaf(value, pointer, marked), `${end}\n`];
  }
  const entries = Object.entries(value);
  const inner = "  ".repeat(depth + 1);
  return [
    list ? "[\n" : "{\n",
    entries.map(([name, one], at) => [
      inner,
      list ? null : element("span", { class: "document-name" }, name),
      list ? null : ": ",
      lines(one, `${pointer}/${name.replaceAll("~", "~0").replaceAll("/", "~1")}`, depth + 1, at < entries.length - 1 ? "," : "", marked, budget),
    ]),
    `${"  ".repeat(depth)}${list ? "]" : "}"}${end}\n`,
  ];
}

/** @param {any} value @param {string} pointer @param {Set<string>} marked */
function leaf(value, pointer, marked) {
  const text = typeof value === "number" && !Number.isInteger(value) ? String(Number(value.toPrecision(6))) : JSON.stringify(value) ?? "null";
  const shown = text.length > LONGEST ? `${text.slice(0, LONGEST)}…` : text;
  return marked.has(pointer) ? element("mark", {}, shown) : shown;
}

/** Two texts told apart by words: what only one has is marked. @param {Array<[string, string]>} pieces @param {"-"|"+"} side */
export function text(pieces, side) {
  return element("p", { class: "words" }, pieces.filter(([kind]) => kind === "=" || kind === side).map(([kind, words]) => (kind === "=" ? words : element("mark", {}, words))));
}
