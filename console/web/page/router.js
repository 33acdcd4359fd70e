// @ts-check
/**
 * Every view has an address, after the `#`: `#/endpoints/rain/pairs?order=latest`. It can be shared, and what it
 * shows survives a reload. The server knows nothing of it.
 */

/** @typedef {{path: string, parameters: Object<string, string>, query: Object<string, string>, entry: any}} Place */

/**
 * The entry of `entries` (each with a `pattern` such as `/endpoints/:endpoint`) that `hash` leads to, or null.
 * @param {Array<{pattern: string}>} entries
 * @param {string} hash
 * @returns {Place | null}
 */
export function found(entries, hash) {
  const [path, search = ""] = (hash.replace(/^#/, "") || "/").split(/\?(.*)/s);
  const pieces = split(path);
  for (const entry of entries) {
    const parameters = matched(split(entry.pattern), pieces);
    if (parameters) return { path, parameters, query: Object.fromEntries(new URLSearchParams(search)), entry };
  }
  return null;
}

/** @param {string[]} pattern @param {string[]} pieces @returns {Object<string, string> | null} */
function matched(pattern, pieces) {
  if (pattern.length !== pieces.length) return null;
  /** @type {Object<string, string>} */
  const parameters = {};
  for (let at = 0; at < pattern.length; at += 1) {
    if (pattern[at].startsWith(":")) parameters[pattern[at].slice(1)] = spoken(pieces[at]);
    else if (pattern[at] !== pieces[at]) return null;
  }
  return parameters;
}

/** @param {string} path */
function split(path) {
  return path.split("/").filter(Boolean);
}

/** @param {string} piece */
function spoken(piece) {
  try {
    return decodeURIComponent(piece);
  } catch {
    return piece;
  }
}

/**
 * The address of a view: `address("endpoints", "rain", "pairs", {order: "latest"})`.
 * @param {...(string | Object<string, string|number|null|undefined>)} pieces
 */
export function address(...pieces) {
  const names = pieces.filter((one) => typeof one === "string").map((one) => encodeURIComponent(String(one)));
  const query = new URLSearchParams();
  for (const piece of pieces) {
    if (typeof piece === "string") continue;
    for (const [name, value] of Object.entries(piece)) {
      if (value !== null && value !== undefined && value !== "") query.set(name, String(value));
    }
  }
  const search = query.toString();
  return `#/${names.join("/")}${search ? `?${search}` : ""}`;
}
