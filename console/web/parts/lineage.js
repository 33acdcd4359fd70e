// @ts-check
/** What versions were made of, as a graph: data, code, features and settings; versions; the endpoint they serve. */

import { drawn, element } from "../page/element.js";
import { number } from "../words/numbers.js";

const COLUMNS = [0, 400, 730];
const WIDTHS = [300, 230, 190];
const HEIGHT = 44;
const PITCH = 54;
const MOST_LETTERS = [40, 30, 24];

/**
 * @typedef {object} Node
 * @property {string} id
 * @property {string} kind  data, code, features, settings, run, version or endpoint
 * @property {string} title
 * @property {string} detail
 * @property {number} column
 * @property {number} y
 * @property {string} role  incumbent, candidate, both, or "" for the endpoint
 * @property {boolean} differs  whether the other version was made of another one
 * @typedef {{nodes: Node[], edges: Array<{from: Node, to: Node, role: string}>, height: number}} Graph
 */

/**
 * The graph of an endpoint's versions. Pure.
 * @param {string} endpoint
 * @param {Array<{role: "incumbent"|"candidate", version: string, lineage: any}>} arms
 * @returns {Graph}
 */
export function graph(endpoint, arms) {
  /** @type {Map<string, Node>} */
  const made = new Map();
  /** @type {Array<{role: "incumbent"|"candidate", version: Node, from: Node[]}>} */
  const versions = [];
  for (const arm of arms) {
    const from = sources(arm.lineage).map((one) => {
      const id = `${one.kind}|${one.title}|${one.detail}`;
      const known = made.get(id);
      if (known) known.role = known.role === arm.role ? known.role : "both";
      const node = known ?? { ...one, id, column: 0, y: 0, role: arm.role, differs: false };
      made.set(id, node);
      return node;
    });
    const version = { id: `version|${arm.role}`, kind: "version", title: arm.version, detail: quality(arm.lineage), column: 1, y: 0, role: arm.role, differs: false };
    versions.push({ role: arm.role, version, from });
  }
  const left = [...made.values()].sort((one, other) => order(one.kind) - order(other.kind));
  mark(left, arms.length);
  left.forEach((node, index) => { node.y = index * PITCH; });
  place(versions);
  const height = Math.max(left.length * PITCH, versions.length * PITCH * 1.5, PITCH) + 4;
  const last = { id: "endpoint", kind: "endpoint", title: endpoint, detail: "endpoint", column: 2, y: mean(versions.map((one) => one.version.y)), role: "", differs: false };
  const edges = versions.flatMap((one) => [
    ...one.from.map((from) => ({ from, to: one.version, role: one.role })),
    { from: one.version, to: last, role: one.role },
  ]);
  return { nodes: [...left, ...versions.map((one) => one.version), last], edges, height };
}

const ORDER = ["data", "code", "features", "settings", "run"];

/** @param {string} kind */
function order(kind) {
  return ORDER.indexOf(kind);
}

/** What is in one version only, while the other has something else of that kind. @param {Node[]} left @param {number} arms */
function mark(left, arms) {
  if (arms < 2) return;
  for (const node of left) {
    node.differs = node.role !== "both" && left.some((other) => other.kind === node.kind && other.role !== node.role);
  }
}

/** @param {Array<{version: Node, from: Node[]}>} versions */
function place(versions) {
  let least = 0;
  for (const one of versions) {
    one.version.y = Math.max(least, one.from.length ? mean(one.from.map((node) => node.y)) : least);
    least = one.version.y + PITCH * 1.2;
  }
}

/** @param {number[]} values */
function mean(values) {
  return values.length ? values.reduce((sum, one) => sum + one, 0) / values.length : 0;
}

/** @param {any} lineage @returns {Array<{kind: string, title: string, detail: string}>} */
function sources(lineage) {
  if (!lineage) return [];
  const found = [];
  for (const one of lineage.datasets ?? []) {
    found.push({ kind: "data", title: [one.name, one.version].filter(Boolean).join(" "), detail: one.digest ?? one.location ?? one.role ?? "" });
  }
  if (lineage.commit) found.push({ kind: "code", title: lineage.commit, detail: lineage.repository ?? "" });
  if (lineage.schema || lineage.transformation) {
    found.push({ kind: "features", title: lineage.schema ?? "", detail: lineage.transformation ? `transformation ${lineage.transformation}` : "" });
  }
  const settings = Object.entries(lineage.hyperparameters ?? {});
  if (settings.length) {
    found.push({ kind: "settings", title: settings.slice(0, 4).map(([name, value]) => `${name} ${value}`).join(", "), detail: settings.length > 4 ? `and ${settings.length - 4} more` : "hyperparameters" });
  }
  for (const run of (lineage.runs ?? []).slice(0, 2)) found.push({ kind: "run", title: run, detail: lineage.author ?? "" });
  return found;
}

/** @param {any} lineage */
function quality(lineage) {
  if (!lineage) return "no lineage is known";
  const metrics = Object.entries(lineage.metrics ?? {}).slice(0, 2);
  return metrics.length ? metrics.map(([name, value]) => `${name} ${number(value)}`).join(", ") : lineage.source ?? "";
}

/** @param {Graph} graph */
export function draw(graph) {
  const width = COLUMNS[2] + WIDTHS[2];
  return element(
    "div",
    { class: "scroll", tabindex: 0, role: "region", "aria-label": "Lineage graph" },
    drawn(
      "svg",
      { class: "lineage", viewBox: `-2 -2 ${width + 4} ${graph.height}`, width, height: graph.height, role: "img", "aria-label": spoken(graph) },
      graph.edges.map((one) => drawn("path", { class: `edge edge-${one.role}`, d: bend(one.from, one.to) })),
      graph.nodes.map(box),
    ),
  );
}

/** @param {Node} from @param {Node} to */
function bend(from, to) {
  const [x0, y0] = [COLUMNS[from.column] + WIDTHS[from.column], from.y + HEIGHT / 2];
  const [x1, y1] = [COLUMNS[to.column], to.y + HEIGHT / 2];
  const half = (x0 + x1) / 2;
  return `M${x0} ${y0}C${half} ${y0} ${half} ${y1} ${x1} ${y1}`;
}

/** @param {Node} node */
function box(node) {
  const x = COLUMNS[node.column];
  const letters = MOST_LETTERS[node.column];
  return drawn(
    "g",
    { class: ["node", `node-${node.kind}`, node.role && `node-${node.role}`, node.differs && "node-differs"], key: node.id },
    drawn("title", {}, [node.kind, node.title, node.detail].filter(Boolean).join(": ")),
    drawn("rect", { x, y: node.y, width: WIDTHS[node.column], height: HEIGHT, rx: 6 }),
    drawn("text", { x: x + 12, y: node.y + 19, class: "node-title" }, cut(node.title, letters)),
    drawn("text", { x: x + 12, y: node.y + 35, class: "node-detail" }, cut([node.kind === "version" ? node.role : node.kind === "endpoint" ? "" : node.kind, node.detail].filter(Boolean).join(" · "), letters + 8)),
  );
}

/** @param {string} text @param {number} most */
function cut(text, most) {
  const letters = [...text];
  return letters.length > most ? `${letters.slice(0, most - 1).join("")}…` : text;
}

/** @param {Graph} graph */
function spoken(graph) {
  const versions = graph.nodes.filter((one) => one.kind === "version");
  return versions
    .map((version) => {
      const from = graph.edges.filter((one) => one.to === version).map((one) => `${one.from.kind} ${one.from.title}`);
      return `${version.role} ${version.title}: ${from.join(", ") || "no lineage is known"}`;
    })
    .join(". ");
}
