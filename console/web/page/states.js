// @ts-check
/** What a page shows while there is nothing to show: it loads, there is nothing, it could not be had. */

import { element } from "./element.js";
import { Problem, Unreachable } from "./api.js";

/** Lines of about what will be here. @param {number} [lines] @param {string} [what] */
export function loading(lines = 5, what = "Loading") {
  const bars = Array.from({ length: lines }, (_, at) => element("span", { class: ["bone", `bone-${at % 4}`] }));
  return element("div", { class: "skeleton", role: "status", "aria-label": `${what} …` }, bars);
}

/**
 * Nothing is there: what that means, and how to change it.
 * @param {string} title @param {...import("./element.js").Child} more
 */
export function empty(title, ...more) {
  return element("div", { class: "empty" }, element("p", { class: "empty-title" }, title), more.map(paragraph));
}

/** @param {import("./element.js").Child} one */
function paragraph(one) {
  return typeof one === "string" ? element("p", {}, one) : one;
}

/**
 * It could not be had: why, in the server's words, and what can be done.
 * @param {unknown} error @param {(() => void)=} again
 */
export function failed(error, again) {
  const [title, detail] = told(error);
  return element(
    "div",
    { class: "failed", role: "alert" },
    element("p", { class: "empty-title" }, title),
    detail ? element("p", {}, detail) : null,
    element(
      "p",
      {},
      again ? element("button", { type: "button", on: { click: again } }, "Try again") : null,
      " ",
      element("a", { class: "button", href: "#/" }, "All endpoints"),
    ),
  );
}

/** A heading and a sentence. @param {unknown} error @returns {[string, string]} */
export function told(error) {
  if (error instanceof Problem) {
    if (error.status === 404) return ["There is nothing here", error.detail];
    if (error.status === 403) return ["Your role does not allow this", error.detail];
    if (error.status === 401) return ["Please log in", error.detail];
    if (error.status === 503) return ["Not now", error.detail];
    return [error.title || `The server answered ${error.status}`, error.detail];
  }
  if (error instanceof Unreachable) {
    return ["The control process cannot be reached", `${error.message}; traffic is served all the same.`];
  }
  return ["This page has a fault", error instanceof Error ? error.message : String(error)];
}
