// @ts-check
/** What happens, said to whoever looks and to whoever listens: trips at once, all else when there is a pause. */

import { element } from "./element.js";
import { address } from "./router.js";
import { percent } from "../words/numbers.js";

const SHOWN = 8_000;
const SHOWN_GRAVE = 30_000;
const MOST = 4;

/** What is said of an event; what is not here is not said. @type {Object<string, (data: any) => string>} */
const SAID = {
  trip: (data) => `${data.endpoint}: the candidate ${data.version ?? ""} was taken out. ${data.sentence ?? data.reason ?? ""}`,
  rearm: (data) => `${data.endpoint}: armed again. The candidate starts from shadow.`,
  stage: (data) => `${data.endpoint}: the release is at ${data.mode ?? "another stage"}${data.weight ? `, ${percent(data.weight)} of the units` : ""}.`,
  release: (data) => `${data.endpoint}: the release is ${String(data.phase ?? data.state ?? "moving").replace("_", " ")}.`,
  approval: (data) => `${data.endpoint}: an approval was given or is wanted.`,
  config: () => "The configuration was changed.",
  drill: (data) => `${data.endpoint}: the drill ${data.state ?? data.outcome ?? "has news"}.`,
};

export class Notices {
  constructor() {
    this.polite = element("div", { class: "unseen", "aria-live": "polite" });
    this.assertive = element("div", { class: "unseen", "aria-live": "assertive" });
    this.list = element("ul", { class: "notices" });
    this.node = element("div", { class: "notices-place" }, this.list, this.polite, this.assertive);
  }

  /** @param {import("./live.js").Happening} happening */
  happened(happening) {
    const say = SAID[happening.kind];
    if (say) this.say(say(happening.data), happening.kind === "trip", happening.data.endpoint);
  }

  /** @param {string} text @param {boolean} [grave] @param {string} [endpoint] */
  say(text, grave = false, endpoint) {
    (grave ? this.assertive : this.polite).textContent = text;
    const close = () => item.remove();
    const item = element(
      "li",
      { class: ["notice", grave && "notice-grave"] },
      element("p", {}, text, endpoint ? [" ", element("a", { href: address("endpoints", endpoint) }, "Look")] : null),
      element("button", { type: "button", class: "quiet", "aria-label": "Dismiss", on: { click: close } }, "✕"),
    );
    this.list.prepend(item);
    while (this.list.childElementCount > MOST) this.list.lastElementChild.remove();
    window.setTimeout(close, grave ? SHOWN_GRAVE : SHOWN);
  }
}
