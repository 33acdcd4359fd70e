// @ts-check
/** The head of every page: the name, where one can go, who one is. */

import { drawn, element } from "./element.js";
import { address } from "./router.js";

/**
 * @param {{navigation: HTMLElement | null, identity: any, theme: () => void, help: () => void, leave: () => void}} parts
 */
export function masthead(parts) {
  return element(
    "header",
    { class: "masthead" },
    element("a", { class: "brand", href: "#/" }, sign(), element("span", {}, "Pointsman")),
    parts.navigation,
    element(
      "div",
      { class: "masthead-end" },
      parts.identity?.name ? element("span", { class: "who", title: `Role: ${parts.identity.role ?? "unknown"}` }, parts.identity.name) : null,
      parts.identity?.authentication ? element("button", { type: "button", class: "quiet", on: { click: parts.leave } }, "Log out") : null,
      element("button", { type: "button", class: "quiet", on: { click: parts.theme }, title: "Light, dark, or as the machine has it (t)" }, "Theme"),
      element("button", { type: "button", class: "quiet", on: { click: parts.help }, title: "Keys (?)", "aria-label": "Keys" }, "?"),
    ),
  );
}

/**
 * @param {import("./pages.js").Entry[]} entries
 * @param {import("./pages.js").Entry | null} current
 * @param {string} endpoint
 */
export function navigation(entries, current, endpoint) {
  const items = entries.filter((one) => one.name && (!one.of || endpoint));
  const last = items.findLastIndex((one) => one.of);
  return element(
    "nav",
    { "aria-label": "Pages" },
    element("ul", {}, items.map((one, at) =>
      element(
        "li",
        { class: [one.of && "of-endpoint", at === last && "of-last"], key: one.pattern },
        one.of && items.findIndex((other) => other.of) === at ? element("span", { class: "nav-name", title: endpoint }, endpoint) : null,
        element("a", { href: path(one, endpoint), "aria-current": one === current ? "page" : false }, one.name),
      ))),
  );
}

/** @param {import("./pages.js").Entry} entry @param {string} endpoint */
function path(entry, endpoint) {
  return address(...entry.pattern.split("/").filter(Boolean).map((one) => (one === ":endpoint" ? endpoint : one)));
}

/** A track, and one that leaves it. */
function sign() {
  return drawn(
    "svg",
    { viewBox: "0 0 32 32", width: 24, height: 24, "aria-hidden": "true", class: "sign" },
    drawn("path", { d: "M3 23h26", class: "sign-main" }),
    drawn("path", { d: "M8 23c8 0 8-13 20-13", class: "sign-branch" }),
    drawn("circle", { cx: 9, cy: 23, r: 3.4, class: "sign-point" }),
  );
}
