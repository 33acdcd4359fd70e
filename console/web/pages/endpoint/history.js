// @ts-check
/**
 * How an endpoint's numbers went, asked for piece by piece: only what is new comes over the wire, and is put behind
 * what is known. When the control process began anew, so does this.
 */

import { part } from "../../page/api.js";

/** @typedef {Array<number|null>} Row */

const KEPT = { recent: 300, long: 360 };

export class History {
  /** @param {import("../../page/api.js").Api} api @param {string} endpoint @param {"recent"|"long"} span */
  constructor(api, endpoint, span) {
    this.api = api;
    this.path = `api/v1/endpoints/${part(endpoint)}/history`;
    this.span = span;
    this.began = "";
    this.next = 0;
    /** @type {number[]} */
    this.at = [];
    /** @type {Map<string, Row>} */
    this.rows = new Map();
    /** @type {any[]} */
    this.marks = [];
  }

  /** Ask for what is new; whether there was anything. */
  async refresh() {
    const span = this.span;
    const told = await this.api.get(this.path, { span, after: this.next });
    if (span !== this.span) return false;
    if (this.began !== told.began || told.next < this.next) {
      if (this.began && this.next) {
        this.forget();
        return this.refresh();
      }
      this.began = told.began;
    }
    this.marks = told.marks;
    if (!told.at.length) return false;
    this.next = told.next;
    this.append(told.at, flat(told.columns));
    return true;
  }

  forget() {
    this.began = "";
    this.next = 0;
    this.at = [];
    this.rows.clear();
  }

  /** @param {"recent"|"long"} span */
  show(span) {
    this.span = span;
    this.forget();
  }

  /** @param {number[]} at @param {Map<string, Row>} columns */
  append(at, columns) {
    const before = this.at.length;
    const surplus = Math.max(0, before + at.length - KEPT[this.span]);
    this.at = [...this.at, ...at].slice(surplus);
    for (const name of new Set([...this.rows.keys(), ...columns.keys()])) {
      const known = this.rows.get(name) ?? Array(before).fill(null);
      const fresh = columns.get(name) ?? Array(at.length).fill(null);
      const row = [...known, ...fresh].slice(surplus);
      if (row.every((one) => one === null)) this.rows.delete(name);
      else this.rows.set(name, row);
    }
  }

  /** The numbers called by these names, from the outermost on. @param {...string} names @returns {Row} */
  row(...names) {
    return this.rows.get(names.join("\u0000")) ?? Array(this.at.length).fill(null);
  }

  /** What there is below these names. @param {...string} names @returns {string[]} */
  below(...names) {
    const start = names.map((one) => `${one}\u0000`).join("");
    const found = [...this.rows.keys()].filter((one) => one.startsWith(start)).map((one) => one.slice(start.length).split("\u0000")[0]);
    return [...new Set(found)];
  }
}

/** @param {any} columns @param {string} [start] @param {Map<string, Row>} [into] @returns {Map<string, Row>} */
function flat(columns, start = "", into = new Map()) {
  for (const [name, value] of Object.entries(columns)) {
    if (Array.isArray(value)) into.set(start + name, value);
    else flat(value, `${start}${name}\u0000`, into);
  }
  return into;
}
