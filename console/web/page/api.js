// @ts-check
/** The admin API, from the same origin and by the same routes that everybody has. */

/** An answer that says why not (RFC 9457). */
export class Problem extends Error {
  /** @param {number} status @param {string} title @param {string} detail @param {Array<{field: string, detail: string}>} errors */
  constructor(status, title, detail, errors = []) {
    super(detail || title);
    this.status = status;
    this.title = title;
    this.detail = detail;
    this.errors = errors;
  }
}

/** No answer: the control process is not there, or the way to it. */
export class Unreachable extends Error {}

/** Milliseconds that an answer may take before whoever answers counts as gone. */
const PATIENCE = 15_000;

/** What may be remembered of answers, so that "nothing new" costs nothing. */
const MOST_REMEMBERED = 32;

/** Makes it impossible for a form of another site to ask for the same. */
const OURS = { "x-pointsman-console": "1" };

/** @typedef {{reached: () => void, unreached: (why: string) => void, unknown: () => void}} Watcher */

export class Api {
  /** @param {Watcher} watcher  is told after each request: answered, not answered, answered by 401 */
  constructor(watcher) {
    this.watcher = watcher;
    /** @type {Map<string, {tag: string, body: any}>} */
    this.remembered = new Map();
  }

  /**
   * What is at `path`. The same object as last time while the server says that nothing has changed.
   * Throws Problem and Unreachable.
   * @param {string} path
   * @param {Object<string, string|number|boolean|null|undefined>} [query]
   * @returns {Promise<any>}
   */
  async get(path, query = {}) {
    const address = path + asked(query);
    const known = this.remembered.get(address);
    const headers = known ? { "if-none-match": known.tag } : {};
    const answer = await this.ask(address, { headers });
    if (answer.status === 304 && known) {
      await answer.arrayBuffer(); // there is none, but until it was read the request counts as unfinished
      return known.body;
    }
    const body = await this.read(answer);
    const tag = answer.headers.get("etag");
    if (tag) this.remember(address, tag, body);
    return body;
  }

  /**
   * Change something. Throws Problem and Unreachable.
   * @param {string} path @param {any} [body] @param {string} [method] @returns {Promise<any>}
   */
  async post(path, body = {}, method = "POST") {
    const headers = { "content-type": "application/json", ...OURS };
    return this.read(await this.ask(path, { method, headers, body: JSON.stringify(body) }));
  }

  /** @param {string} address @param {RequestInit} options */
  async ask(address, options) {
    let answer;
    try {
      answer = await fetch(address, { ...options, signal: AbortSignal.timeout(PATIENCE), cache: "no-store" });
    } catch (error) {
      const why = error instanceof Error && error.name === "TimeoutError" ? "no answer in time" : "no connection";
      this.watcher.unreached(why);
      throw new Unreachable(why);
    }
    if (answer.status === 502 || answer.status === 504) this.watcher.unreached(`answered ${answer.status}`);
    else this.watcher.reached();
    if (answer.status === 401) this.watcher.unknown();
    return answer;
  }

  /** @param {Response} answer */
  async read(answer) {
    const json = /json/.test(answer.headers.get("content-type") ?? "");
    const body = json ? await answer.json() : await answer.text();
    if (answer.ok) return body;
    const told = json && body ? body : { title: answer.statusText, detail: "" };
    throw new Problem(answer.status, told.title ?? "", told.detail ?? "", told.errors ?? []);
  }

  /** @param {string} address @param {string} tag @param {any} body */
  remember(address, tag, body) {
    this.remembered.delete(address);
    this.remembered.set(address, { tag, body });
    if (this.remembered.size > MOST_REMEMBERED) {
      this.remembered.delete(/** @type {string} */ (this.remembered.keys().next().value));
    }
  }
}

/** @param {Object<string, string|number|boolean|null|undefined>} query */
function asked(query) {
  const given = Object.entries(query).filter(([, value]) => value !== null && value !== undefined && value !== "");
  return given.length ? `?${new URLSearchParams(given.map(([name, value]) => [name, String(value)]))}` : "";
}

/** One part of a path, however it is spelled. @param {string} text */
export function part(text) {
  return encodeURIComponent(text);
}
