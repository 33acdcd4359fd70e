// @ts-check
/**
 * What a page is given, and what it gives.
 *
 *     export function page(context) { return { title, node, update, leave } }
 *
 * `node` is shown at once, so it begins as a skeleton (`states.loading`). Then `update` is called: at once, once a
 * second while the page is visible, and as soon as anything happens, with that happening. It is never called while an
 * earlier call is under way. What it throws is shown: a problem in place of the page, a lost connection in the banner
 * while the page keeps what it last knew, greyed. `update` may return false: nothing has changed.
 *
 * To show new data make the tree anew and hand it to `morph(node, tree)`: focus, selection and scrolling stay.
 */

/**
 * @typedef {object} Context
 * @property {Object<string, string>} parameters  of the address: `{endpoint: "rain"}`
 * @property {Object<string, string>} query
 * @property {import("./api.js").Api} api
 * @property {string} endpoint  the endpoint of the address, else the one last looked at, else ""
 * @property {() => Promise<any>} overview  `GET /api/v1/overview`, at most a second old
 * @property {(hash: string, replace?: boolean) => void} go  to another address; `replace`: without a step in the history
 * @property {(query: Object<string, string|number|null>) => void} requery  the address of this page with another query; the page goes on
 * @property {() => void} refresh  call `update` now
 * @property {(text: string, grave?: boolean) => void} announce  say and show it for some seconds; `grave`: at once
 * @property {(role: "viewer"|"operator"|"release"|"admin", endpoint?: string) => boolean} may
 * @property {any} identity  who is logged in, as `GET /api/v1/whoami` says; null where nobody needs to be
 * @property {(title: string) => void} retitle
 */

/**
 * @typedef {object} Page
 * @property {string} title
 * @property {HTMLElement} node
 * @property {(happening?: import("./live.js").Happening) => any} [update]
 * @property {() => void} [leave]
 * @property {import("./keyboard.js").Shortcut[]} [shortcuts]
 */

export {};
