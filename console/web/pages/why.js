// @ts-check
/** Why this answer: one request by its id. */

import { part, Problem } from "../page/api.js";
import { element } from "../page/element.js";
import { morph } from "../page/morph.js";
import { address } from "../page/router.js";
import { empty, failed, loading } from "../page/states.js";
import { decision } from "./why/decision.js";

/** @param {import("../page/context.js").Context} context @returns {import("../page/context.js").Page} */
export function page(context) {
  let id = context.query.id ?? "";
  let asked = "";
  const answer = element("div", { class: "stack" });
  const node = element("div", { class: "stack" }, head(), answer);

  async function update() {
    if (id === asked) return false;
    asked = id;
    if (!id) return void morph(answer, element("div", { class: "stack" }, nothing()));
    morph(answer, element("div", { class: "stack" }, loading(5, "The decision")));
    try {
      const found = await context.api.get(`api/v1/decisions/${part(id)}`);
      if (asked === id) morph(answer, element("div", { class: "stack" }, decision(found)));
    } catch (error) {
      if (!(error instanceof Problem)) asked = "";
      morph(answer, element("div", { class: "stack" }, error instanceof Problem && error.status === 404 ? unknown(error) : failed(error)));
    }
  }

  function head() {
    const submitted = (/** @type {SubmitEvent} */ event) => {
      event.preventDefault();
      id = String(new FormData(/** @type {HTMLFormElement} */ (event.currentTarget)).get("id") ?? "").trim();
      asked = "\u0000";
      window.history.replaceState(null, "", address("why", { id }));
      context.refresh();
    };
    return element(
      "form",
      { class: "panel why-form", role: "search", "aria-label": "A request by its id", on: { submit: submitted } },
      element("h1", {}, "Why this answer?"),
      element("div", { class: "row" },
        element("label", { class: "field grow" }, element("span", {}, "Request id, as in the answer's x-request-id"), element("input", { name: "id", type: "search", value: id, required: true, maxlength: 200, autocomplete: "off", spellcheck: "false" })),
        element("button", { type: "submit", class: "primary" }, "Explain")),
    );
  }

  const shortcuts = [{ keys: "/", does: "Another request", run: () => /** @type {HTMLElement | null} */ (node.querySelector("[name=id]"))?.focus() }];
  return { title: "Why this answer", node, update, shortcuts };
}

function nothing() {
  return empty("Which request?", "Every answer carries its id in x-request-id. With it you see which model answered, for which reason, from what it was made, and what was really true.");
}

/** @param {Problem} error */
function unknown(error) {
  return empty("There is no record of it", error.detail);
}
