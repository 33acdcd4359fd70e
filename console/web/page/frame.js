// @ts-check
/** What is around every page: navigation, connection, theme, keys, and the beat by which pages are updated. */

import { Api, Problem, Unreachable } from "./api.js";
import { show } from "./dialogs.js";
import { element, fill } from "./element.js";
import { Keyboard } from "./keyboard.js";
import { Live } from "./live.js";
import { morph } from "./morph.js";
import { masthead, navigation } from "./masthead.js";
import { ENTRIES } from "./pages.js";
import { address, found } from "./router.js";
import { failed } from "./states.js";
import { turn } from "./theme.js";
import { Notices } from "./notices.js";
import { Permissions } from "./permissions.js";
import { ago, clock } from "../words/times.js";

const BEAT = 1_000;
const LOG_IN = "/log-in";

export class Frame {
  /** @param {HTMLElement} body */
  constructor(body) {
    this.body = body;
    this.live = new Live(() => new EventSource("api/v1/events"), (one) => this.happened(one), () => this.connection());
    this.api = new Api({
      reached: () => this.live.reached(),
      unreached: (why) => this.live.unreached(why),
      unknown: () => this.unknown(),
    });
    this.permissions = new Permissions(this.api);
    this.keyboard = new Keyboard();
    this.head = element("header", { class: "masthead" });
    this.banner = element("div", { class: "banner", role: "status", hidden: true });
    this.notices = new Notices();
    this.main = element("main", { id: "main", tabindex: -1 });
    /** @type {import("./context.js").Page | null} */
    this.page = null;
    /** @type {import("./router.js").Place | null} */
    this.place = null;
    this.endpoint = "";
    this.busy = false;
    this.wanted = false;
    this.shows = 0;
    /** @type {{at: number, asked: Promise<any>} | null} */
    this.known = null;
  }

  begin() {
    const skip = element("a", { class: "skip", href: "#main", on: { click: (/** @type {Event} */ event) => this.skip(event) } }, "Skip to the content");
    fill(this.body, skip, this.head, this.banner, this.main, this.notices.node);
    this.keys();
    window.addEventListener("hashchange", () => this.open());
    document.addEventListener("visibilitychange", () => this.seen());
    window.addEventListener("pagehide", () => this.live.end());
    window.addEventListener("pageshow", () => this.live.begin());
    this.live.begin();
    if (found(ENTRIES, location.hash)?.entry === ENTRIES[0]) void this.overview().catch(() => null);
    this.open();
    window.setInterval(() => this.beat(), BEAT);
  }

  // Pages.

  async open() {
    const number = ++this.shows;
    const place = found(ENTRIES, location.hash);
    this.page?.leave?.();
    this.page = null;
    this.place = place;
    this.keyboard.local = [];
    if (place?.parameters.endpoint) this.endpoint = place.parameters.endpoint;
    this.navigate();
    if (!place) {
      this.retitle("Nothing here");
      fill(this.main, failed(new Error(`No view has the address ${location.hash}.`)));
      return;
    }
    try {
      const [module] = await Promise.all([place.entry.load(), place.entry.bare ? null : this.permissions.learn()]);
      if (number !== this.shows) return;
      this.navigate();
      const page = module.page(this.context(place));
      this.page = page;
      this.keyboard.local = page.shortcuts ?? [];
      fill(this.main, page.node);
      this.retitle(page.title);
      window.scrollTo(0, 0);
      this.main.focus({ preventScroll: true });
      await this.update();
    } catch (error) {
      if (number === this.shows) fill(this.main, failed(error, () => this.open()));
    }
  }

  /** @param {import("./router.js").Place} place @returns {import("./context.js").Context} */
  context(place) {
    return {
      parameters: place.parameters,
      query: place.query,
      api: this.api,
      endpoint: place.parameters.endpoint ?? this.endpoint,
      overview: () => this.overview(),
      go: (hash, replace = false) => this.go(hash, replace),
      requery: (query) => this.requery(place, query),
      refresh: () => void this.update(),
      announce: (text, grave = false) => this.notices.say(text, grave),
      may: (role, endpoint) => this.permissions.may(role, endpoint),
      identity: this.permissions.identity,
      retitle: (title) => this.retitle(title),
    };
  }

  /** @param {string} hash @param {boolean} replace */
  go(hash, replace = false) {
    if (location.hash === hash) return void this.update();
    if (replace) location.replace(hash);
    else location.hash = hash;
  }

  /** @param {import("./router.js").Place} place @param {Object<string, any>} query */
  requery(place, query) {
    Object.assign(place.query, query);
    const names = place.path.split("/").filter(Boolean).map(decodeURIComponent);
    history.replaceState(null, "", address(...names, place.query));
  }

  beat() {
    this.connection();
    if (document.visibilityState === "visible") void this.update();
  }

  /** @param {import("./live.js").Happening} [happening] */
  async update(happening) {
    const page = this.page;
    if (!page?.update) return;
    if (this.busy) {
      this.wanted ||= happening !== undefined;
      return;
    }
    this.busy = true;
    try {
      await page.update(happening);
      if (page === this.page && !page.node.isConnected) fill(this.main, page.node);
    } catch (error) {
      if (page === this.page && !(error instanceof Unreachable)) this.failed(error);
    } finally {
      this.busy = false;
    }
    if (page !== this.page) return void this.update();
    if (this.wanted) {
      this.wanted = false;
      await this.update();
    }
  }

  /** What cannot be had now is asked for again by the next beat; what is refused is not. @param {unknown} error */
  failed(error) {
    if (error instanceof Problem && error.status < 500) this.page = null;
    fill(this.main, failed(error, () => this.open()));
  }

  async overview() {
    const now = performance.now();
    if (!this.known || now - this.known.at > 0.9 * BEAT) this.known = { at: now, asked: this.api.get("api/v1/overview") };
    return this.known.asked;
  }

  // What happens.

  /** @param {import("./live.js").Happening} happening */
  happened(happening) {
    this.known = null;
    this.notices.happened(happening);
    void this.update(happening);
  }

  seen() {
    if (document.visibilityState !== "visible") return;
    this.live.begin();
    void this.update();
  }

  unknown() {
    if (this.place?.path === LOG_IN || !ENTRIES.some((one) => one.pattern === LOG_IN)) return;
    this.permissions.forget();
    this.go(address("log-in", { then: location.hash }), true);
  }

  /** Log out: the session ends everywhere, whoever sits here next has to log in. */
  async leave() {
    await this.api.post("logout");
    this.permissions.forget();
    this.live.end();
    this.go(address("log-in"));
  }

  connection() {
    const { lost, why } = this.live;
    this.body.toggleAttribute("data-stale", lost !== null);
    this.banner.hidden = lost === null;
    if (lost === null) return;
    const text = `Connection lost ${ago(lost)}, at ${clock(lost)} (${why}). What you see is from then. Trying again …`;
    if (this.banner.textContent !== text) this.banner.textContent = text;
  }

  // Around the page.

  navigate() {
    const bare = Boolean(this.place?.entry.bare);
    const fresh = masthead({
      navigation: bare ? null : navigation(ENTRIES, this.place?.entry ?? null, this.endpoint),
      identity: bare ? null : this.permissions.identity,
      theme: () => this.notices.say(`Theme: ${turn()}`),
      help: () => this.help(),
      leave: () => void this.leave(),
    });
    morph(this.head, fresh);
  }

  /** @param {string} title */
  retitle(title) {
    document.title = title ? `${title} · Pointsman` : "Pointsman";
  }

  /** @param {Event} event */
  skip(event) {
    event.preventDefault();
    this.main.focus();
  }

  keys() {
    const pages = ENTRIES.filter((one) => one.keys).map((one) => ({
      keys: /** @type {string} */ (one.keys),
      does: one.name ?? "",
      part: "Go to",
      run: () => this.lead(one),
    }));
    this.keyboard.shared = [
      ...pages,
      { keys: "t", does: "Theme: auto, light, dark", part: "Everywhere", run: () => this.notices.say(`Theme: ${turn()}`) },
      { keys: "?", does: "These keys", part: "Everywhere", run: () => this.help() },
    ];
    this.keyboard.listen();
  }

  /** @param {import("./pages.js").Entry} entry */
  async lead(entry) {
    const name = entry.of ? this.endpoint || (await this.overview()).endpoints[0]?.endpoint : "";
    if (entry.of && !name) return;
    this.go(address(...entry.pattern.split("/").filter(Boolean).map((one) => (one === ":endpoint" ? name : one))));
  }

  help() {
    const rows = [...this.keyboard.local.map((one) => ({ part: "On this page", ...one })), ...this.keyboard.shared];
    const groups = Map.groupBy ? [...Map.groupBy(rows, (one) => one.part ?? "")] : [["", rows]];
    show(
      "Keys",
      groups.map(([part, some]) => [
        element("h3", {}, /** @type {string} */ (part)),
        element("dl", { class: "keys" }, /** @type {any[]} */ (some).map((one) => [
          element("dt", {}, String(one.keys).split(" ").map((key, at) => [at ? " " : "", element("kbd", {}, key)])),
          element("dd", {}, one.does),
        ])),
      ]),
    );
  }
}
