// @ts-check
/** The log-in: a token becomes a session. Whoever has an issuer goes there by the server's own page. */

import { element, fill } from "../page/element.js";

const WRONG = {
  401: "This token is not known here, or it has expired or was revoked.",
  403: "This token has no role here: ask an administrator.",
  409: "There is no authentication here: nobody has to log in.",
  429: "Too many failed log-ins from here. Wait a minute.",
  503: "Sessions cannot be kept now. Try again soon.",
};

/** @param {import("../page/context.js").Context} context @returns {import("../page/context.js").Page} */
export function page(context) {
  const wrong = element("p", { class: "bad", role: "alert" });
  const field = element("input", { name: "token", type: "password", required: true, autocomplete: "off", spellcheck: "false", maxlength: 20_000, "aria-describedby": "token-hint" });
  const act = element("button", { type: "submit", class: "primary" }, "Log in");
  const node = element(
    "form",
    { class: "panel log-in", on: { submit: submitted } },
    element("h1", {}, "Log in"),
    element("label", { class: "field" }, element("span", {}, "Token"), field),
    element("p", { class: "hint", id: "token-hint" }, "It begins with pmn_. An administrator makes one: ", element("code", {}, "pointsman token create")),
    wrong,
    element("div", { class: "row spread" }, element("a", { href: "login" }, "Other ways to log in"), act),
  );

  /** @param {SubmitEvent} event */
  async function submitted(event) {
    event.preventDefault();
    act.disabled = true;
    fill(wrong);
    try {
      const headers = { "content-type": "application/json", "x-pointsman-console": "1" };
      const answer = await fetch("login", { method: "POST", headers, body: JSON.stringify({ token: field.value.trim() }), cache: "no-store" });
      if (answer.ok) return void leave();
      fill(wrong, /** @type {any} */ (WRONG)[answer.status] ?? `The server answered ${answer.status}.`);
      field.select();
    } catch {
      fill(wrong, "The control process cannot be reached. Traffic is served all the same.");
    } finally {
      act.disabled = false;
    }
  }

  /** To where whoever logs in wanted to go: a view of this page, nowhere else. */
  function leave() {
    field.value = "";
    const then = context.query.then ?? "";
    context.go(then.startsWith("#/") && !then.startsWith("#/log-in") ? then : "#/", true);
  }

  queueMicrotask(() => field.focus());
  return { title: "Log in", node };
}
