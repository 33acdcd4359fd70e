// @ts-check
/** Values of the API that are no numbers and no times: digests, documents, and whatever else there may be. */

import { element } from "../page/element.js";

const SHOWN = 12;

/** A digest, as much of it as tells it from others; all of it for whoever points at it. @param {string|null|undefined} text */
export function digest(text) {
  if (!text) return null;
  const scheme = /^[a-z0-9]+:/.exec(text)?.[0] ?? "";
  const rest = text.slice(scheme.length);
  return element("code", { title: text }, rest.length > SHOWN + 2 ? `${scheme}${rest.slice(0, SHOWN)}…` : text);
}

/** Anything, in one line. @param {any} value */
export function written(value) {
  return typeof value === "string" ? value : JSON.stringify(value);
}

/** A document for those who want it whole; made when it is opened. @param {string} name @param {any} value @param {string} [key] */
export function whole(name, value, key = name) {
  return element(
    "details",
    { class: "whole", key },
    element("summary", {}, name),
    element("pre", { tabindex: 0 }, JSON.stringify(value, null, 2)),
  );
}

/** Only those rows of names and values that are known. @param {...([string, any] | null | false)} rows @returns {Array<[string, any]>} */
export function told(...rows) {
  return /** @type {Array<[string, any]>} */ (
    rows.filter((one) => one && one[1] !== null && one[1] !== undefined && one[1] !== "" && one[1] !== false)
  );
}
