// @ts-check
/** What whoever looks may do. The server decides; here it is only about what is offered. */

import { Problem } from "./api.js";

const ROLES = ["nobody", "viewer", "operator", "release", "admin"];

export class Permissions {
  /** @param {import("./api.js").Api} api */
  constructor(api) {
    this.api = api;
    /** @type {any} */
    this.identity = null;
    this.learned = false;
  }

  /** Ask who we are, once. Where the server has no such route everybody who gets here may do everything. */
  async learn() {
    if (this.learned) return;
    try {
      this.identity = await this.api.get("api/v1/whoami");
      this.learned = true;
    } catch (error) {
      if (!(error instanceof Problem)) return;
      this.learned = error.status === 404;
    }
  }

  forget() {
    this.identity = null;
    this.learned = false;
  }

  /** @param {string} role @param {string} [endpoint] */
  may(role, endpoint) {
    if (!this.identity) return true;
    const { role: everywhere, endpoints } = this.identity;
    const held = (endpoint && endpoints?.[endpoint]) || everywhere;
    return held === undefined || ROLES.indexOf(held) >= ROLES.indexOf(role);
  }
}
