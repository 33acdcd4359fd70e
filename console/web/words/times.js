// @ts-check
/** Moments and how long ago they were. Shown in the reader's own time zone; in UTC, in full, on demand. */

import { element } from "../page/element.js";
import { stretch } from "./numbers.js";

/** @param {string|number|Date} at  ISO 8601, seconds since 1970, or a date */
export function date(at) {
  return at instanceof Date ? at : new Date(typeof at === "number" ? at * 1000 : at);
}

/** `03:12:07`, with the day when it is another one. @param {string|number|Date} at @param {Date} [now] */
export function clock(at, now = new Date()) {
  const moment = date(at);
  const time = moment.toLocaleTimeString("en-GB");
  return moment.toDateString() === now.toDateString() ? time : `${day(moment, now)} ${time}`;
}

/** @param {Date} moment @param {Date} now */
function day(moment, now) {
  /** @type {Intl.DateTimeFormatOptions} */
  const shown = { day: "numeric", month: "short" };
  if (moment.getFullYear() !== now.getFullYear()) shown.year = "numeric";
  return moment.toLocaleDateString("en-GB", shown);
}

/** `4 min ago`. @param {string|number|Date} at @param {Date} [now] */
export function ago(at, now = new Date()) {
  const seconds = (now.getTime() - date(at).getTime()) / 1000;
  if (seconds < -1) return `in ${stretch(-seconds)}`;
  return seconds < 1 ? "just now" : `${stretch(seconds)} ago`;
}

/**
 * A moment as an element: its clock time, and for whoever points at it all of it, in UTC.
 * @param {string|number|Date|null|undefined} at
 * @param {(at: Date) => string} [shown]
 */
export function moment(at, shown = (one) => clock(one)) {
  if (at === null || at === undefined || at === "") return "–";
  const when = date(at);
  if (Number.isNaN(when.getTime())) return String(at);
  const full = when.toISOString();
  return element("time", { datetime: full, title: full.replace("T", " ").replace("Z", " UTC") }, shown(when));
}
