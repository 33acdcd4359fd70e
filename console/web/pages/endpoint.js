// @ts-check
/** One endpoint: how it stands in a sentence, what to press, and the numbers behind it. */

import { part } from "../page/api.js";
import { element } from "../page/element.js";
import { morph } from "../page/morph.js";
import { address } from "../page/router.js";
import { empty, loading } from "../page/states.js";
import { badge } from "../parts/badges.js";
import { facts, figure, panel, switcher, table } from "../parts/panels.js";
import { points } from "../parts/points.js";
import { kill, rearm } from "../parts/switching.js";
import { count, latency, percent, rate, several } from "../words/numbers.js";
import { moment } from "../words/times.js";
import { actor, standing } from "../words/standing.js";
import { Curves } from "./endpoint/curves.js";
import { GuardCurves, chosen, list } from "./endpoint/guards.js";
import { History } from "./endpoint/history.js";

/** @typedef {import("../page/context.js").Context} Context */

/** @param {Context} context @returns {import("../page/context.js").Page} */
export function page(context) {
  return new Endpoint(context);
}

class Endpoint {
  /** @param {Context} context */
  constructor(context) {
    this.context = context;
    this.name = context.parameters.endpoint;
    this.title = this.name;
    this.history = new History(context.api, this.name, context.query.span === "long" ? "long" : "recent");
    this.guard = context.query.guard;
    this.head = element("div", { class: "stack" }, loading(4, `Loading ${this.name}`));
    this.guards = element("div", { class: "stack" });
    this.rest = element("div", { class: "among" });
    this.guardCurves = new GuardCurves();
    /** @type {Curves | null} */
    this.curves = null;
    this.body = element("div", { class: "stack" });
    this.node = element("div", { class: "stack" }, this.head, this.body);
    /** @type {any} */
    this.view = null;
    this.shortcuts = [
      { keys: "k", does: "Kill the candidate", run: () => this.kill() },
      { keys: "r", does: "Re-arm it", run: () => this.rearm() },
    ];
  }

  async update() {
    const [view] = await Promise.all([
      this.context.api.get(`api/v1/endpoints/${part(this.name)}`, { cached: true }),
      this.history.refresh(),
    ]);
    this.show(view);
    return true;
  }

  leave() {
    this.guardCurves.end();
    this.curves?.end();
  }

  kill() {
    const { view } = this;
    if (view?.candidate && this.context.may("operator", this.name)) void kill(this.context, this.name, view.candidate.version, view.incumbent.version);
  }

  rearm() {
    const { view } = this;
    if (view?.switch.kills.length && this.context.may("release", this.name)) void rearm(this.context, this.name, view.candidate?.version ?? "the candidate", view.switch.kills);
  }

  /** @param {any} view */
  show(view) {
    const pair = `${view.incumbent.version} ${view.candidate?.version ?? ""}`;
    if (this.pair !== pair) {
      this.pair = pair;
      this.curves?.end();
      this.curves = new Curves(view);
      this.body.replaceChildren(
        this.guards, this.guardPanel(), this.spans(), element("div", { class: "panels" }, this.curves.node, this.rest),
      );
    }
    this.view = view;
    morph(this.head, this.top(view));
    const looked = chosen(view, this.guard);
    morph(this.guards, this.guardList(view, looked));
    this.guardNode.hidden = !looked;
    if (looked) this.guardCurves.update(looked, this.history);
    this.curves?.update(this.history);
    morph(this.rest, rest(view));
  }

  /** @param {any} view */
  top(view) {
    const told = standing(view);
    return element(
      "div",
      { class: "stack" },
      element("div", { class: "page-head" }, element("h1", {}, this.name), element("p", { class: "soft" }, view.protocol, " at ", element("code", {}, view.path))),
      element(
        "section",
        { class: `call call-${told.mood} standing`, "aria-label": "How it stands" },
        element("div", { class: "standing-text" }, badge(told.mood, told.word), element("p", { class: "standing-sentence" }, told.sentence), element("p", { class: "soft" }, told.todo)),
        element("div", { class: "standing-act" }, this.actions(view)),
      ),
      view.warnings.map((/** @type {string} */ one) => element("p", { class: "call call-wait", key: one }, one)),
      element("section", { class: "panel live", "aria-label": "Live" }, points(flow(view, this.history)), figures(view, this.history)),
    );
  }

  /** @param {any} view */
  actions(view) {
    const { context } = this;
    const found = [];
    if (view.switch.kills.length && context.may("release", this.name)) {
      found.push(element("button", { key: "rearm", type: "button", class: "primary", on: { click: () => this.rearm() } }, "Re-arm ", element("kbd", {}, "r")));
    }
    if (view.candidate && context.may("operator", this.name) && !view.switch.tripped) {
      found.push(element("button", { key: "kill", type: "button", class: "grave", on: { click: () => this.kill() } }, "Kill ", element("kbd", {}, "k")));
    }
    if (view.candidate) found.push(element("a", { key: "pairs", class: "button", href: address("endpoints", this.name, "pairs") }, "Worst pairs"));
    return found;
  }

  /** @param {any} view @param {any} looked */
  guardList(view, looked) {
    if (!view.candidate) {
      return element("div", { class: "stack" }, panel("Guards", {}, empty("No candidate: nothing to compare", "Name one under endpoints: in the configuration, as candidate: {version, urls}, or follow an alias of the registry.")));
    }
    const choose = (/** @type {string} */ name) => {
      this.guard = name;
      this.context.requery({ guard: name });
      if (this.view) this.show(this.view);
    };
    return element("div", { class: "stack" }, panel("Guards", { about: "a guard trips when its evidence reaches its threshold" }, list(view, looked, choose)));
  }

  guardPanel() {
    this.guardNode = element("section", { class: "panel", "aria-label": "Curves of the guard" }, this.guardCurves.node);
    return this.guardNode;
  }

  spans() {
    const node = element("div", { class: "row spread spans" });
    const choose = (/** @type {string} */ span) => {
      this.history.show(span === "long" ? "long" : "recent");
      this.context.requery({ span: span === "long" ? "long" : null });
      morph(node, made());
      this.context.refresh();
    };
    const made = () => element("div", { class: "row spread spans" }, element("h2", {}, "Both arms over time"), switcher("Stretch of time", [["recent", "10 minutes"], ["long", "6 hours"]], this.history.span, choose));
    morph(node, made());
    return node;
  }
}

/** @param {any} view @param {History} history @returns {import("../parts/points.js").Flow} */
function flow(view, history) {
  return {
    incumbent: view.incumbent.version,
    candidate: view.candidate?.version ?? null,
    tripped: view.switch.tripped,
    mode: view.release.mode,
    weight: view.release.weight,
    toIncumbent: late(history, "incumbent", "requests"),
    toCandidate: late(history, "candidate", "requests"),
    mirrors: late(history, "mirrors"),
  };
}

/** The mean of the latest ten seconds, or of the latest sample where one is a minute. @param {History} history @param {...string} names */
function late(history, ...names) {
  const known = history.row(...names).slice(history.span === "long" ? -1 : -5).filter((one) => one !== null);
  return known.length ? /** @type {number[]} */ (known).reduce((sum, one) => sum + one, 0) / known.length : null;
}

/** @param {any} view @param {History} history */
function figures(view, history) {
  const requests = (late(history, "incumbent", "requests") ?? 0) + (late(history, "candidate", "requests") ?? 0);
  const errors = (late(history, "incumbent", "errors") ?? 0) + (late(history, "candidate", "errors") ?? 0);
  const { release, pairs } = view;
  return element(
    "div",
    { class: "figures" },
    figure("Failed", requests ? percent(errors / requests) : "–", "Answers to clients with status 500 and above, of the latest ten seconds"),
    figure("p95 incumbent", latency(late(history, "incumbent", "p95"))),
    view.candidate ? figure("p95 candidate", latency(late(history, "candidate", "p95"))) : null,
    view.candidate ? figure("Pairs judged", count(pairs.judged)) : null,
    view.candidate ? figure("Flipped", pairs.judged ? percent(pairs.flips / pairs.judged) : "–", `${count(pairs.flips)} of ${count(pairs.judged)}`) : null,
    view.candidate ? figure("Stage", `${Math.max(0, release.stage) + 1} of ${release.stages}`, release.mode) : null,
  );
}

/** @param {any} view */
function rest(view) {
  const trip = view.last_trip;
  return element(
    "div",
    { class: "among" },
    trip ? panel("The last trip", {}, facts(
      ["Cause", [actor(trip.cause), ": ", trip.reason]],
      ["Went bad", [moment(trip.first_bad_at), trip.first_bad_at ? " (estimated)" : ""]],
      ["Noticed", moment(trip.breach_at)],
      ["Every worker had it", [moment(trip.confirmed_at), trip.trip_ms === null ? "" : `, ${latency(trip.trip_ms / 1000)} later`]],
      ["Last client it answered", moment(trip.last_bad_served_at)],
      ["Kill", element("code", {}, trip.kill)],
    )) : null,
    view.cohorts.length ? panel("Who is affected", { about: "groups whose predictions differ more than those of the rest" }, table(
      "Groups of requests", ["Group", { name: "Differ", right: true }, { name: "The rest", right: true }, { name: "Votes", right: true }],
      view.cohorts.slice(0, 8).map((/** @type {any} */ one) => ({ key: one.cohort, cells: [[one.cohort, one.certain ? element("strong", { class: "bad" }, " certain") : ""], percent(one.mean), percent(one.rest), count(one.votes)] })),
    )) : null,
    view.paths.length ? panel("Where documents differ", {}, table(
      "Paths", ["Path", { name: "Between arms", right: true }, { name: "Incumbent's noise", right: true }],
      view.paths.slice(0, 8).map((/** @type {any} */ one) => ({ key: one.path, cells: [element("code", {}, one.path), percent(one.arms.comparisons ? one.arms.differing / one.arms.comparisons : null), percent(one.noise.comparisons ? one.noise.differing / one.noise.comparisons : null)] })),
    )) : null,
    panel("How it is set up", {}, facts(
      ["Incumbent", version(view.incumbent)],
      view.candidate ? ["Candidate", version(view.candidate)] : ["Candidate", "none"],
      ["Flag", view.flag ? element("code", {}, view.flag) : "none: everybody may be exposed"],
      ["Pairs", `${count(view.pairs.judged)} judged, ${count(view.pairs.faults)} not comparable, ${count(view.pairs.stale)} too late, ${count(view.pairs.shed)} shed`],
      ["Workers", `${several(view.workers.length, "worker")}, generation ${view.generation}`],
      ["Configuration", element("code", { class: "clip" }, view.config_digest.slice(0, 19))],
    )),
  );
}

/** @param {any} one */
function version(one) {
  const { record, condition } = one.lineage;
  const made = record ? [record.commit ? ["commit ", element("code", {}, String(record.commit).slice(0, 10))] : null, record.datasets?.[0] ? `, data ${record.datasets[0].name} ${record.datasets[0].version ?? ""}` : null] : `lineage ${condition}`;
  return [element("strong", {}, one.version), " ", element("span", { class: "soft" }, made, element("br"), one.urls.join(", "))];
}
