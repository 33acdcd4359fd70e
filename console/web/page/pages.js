// @ts-check
/**
 * The views there are. A page is a module that exports `page(context)`, see `page/context.js`; it is loaded when
 * it is first looked at. `keys`: the shortcut that leads there; `of`: `endpoint` for those below an endpoint.
 */

/**
 * @typedef {object} Entry
 * @property {string} pattern
 * @property {() => Promise<{page: (context: import("./context.js").Context) => import("./context.js").Page}>} load
 * @property {string} [name]  as it is called in the navigation; without: it is not there
 * @property {string} [keys]
 * @property {"endpoint"} [of]
 * @property {boolean} [bare]  whether it stands alone, without navigation, and needs no identity
 */

/** @type {Entry[]} */
export const ENTRIES = [
  { pattern: "/", name: "Overview", keys: "g o", load: () => import("../pages/overview.js") },
  { pattern: "/endpoints/:endpoint", name: "Endpoint", keys: "g e", of: "endpoint", load: () => import("../pages/endpoint.js") },
  { pattern: "/endpoints/:endpoint/pairs", name: "Pairs", keys: "g p", of: "endpoint", load: () => import("../pages/pairs.js") },
  { pattern: "/endpoints/:endpoint/release", name: "Release", keys: "g r", of: "endpoint", load: () => import("../pages/release.js") },
  { pattern: "/endpoints/:endpoint/monitoring", name: "Monitoring", keys: "g m", of: "endpoint", load: () => import("../pages/monitoring.js") },
  { pattern: "/endpoints/:endpoint/diagnosis", name: "Diagnosis", keys: "g c", of: "endpoint", load: () => import("../pages/diagnosis.js") },
  { pattern: "/time", name: "Time machine", keys: "g t", load: () => import("../pages/time.js") },
  { pattern: "/drills", name: "Drills", keys: "g d", load: () => import("../pages/drills.js") },
  { pattern: "/audit", name: "Audit", keys: "g a", load: () => import("../pages/audit.js") },
  { pattern: "/log-in", bare: true, load: () => import("../pages/log-in.js") },
  { pattern: "/why", name: "Why", keys: "g w", load: () => import("../pages/why.js") },
];
