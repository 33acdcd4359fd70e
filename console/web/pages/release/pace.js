// @ts-check
/** How fast pairs come in, by what was seen while the page was open. */

const KEPT = 30;
const LEAST = 4;

export class Pace {
  constructor() {
    /** @type {Array<{at: number, pairs: number}>} */
    this.seen = [];
    this.stage = "";
  }

  /** @param {{stage: number, pairs: number, since: string}} standing @param {number} now  seconds since 1970 */
  see(standing, now) {
    const stage = `${standing.stage} ${standing.since}`;
    if (stage !== this.stage) this.seen = [];
    this.stage = stage;
    this.seen.push({ at: now, pairs: standing.pairs });
    if (this.seen.length > KEPT) this.seen.shift();
  }

  /** Pairs a second; null while that is not known, or none come. */
  get perSecond() {
    const first = this.seen[0];
    const last = this.seen[this.seen.length - 1];
    if (!first || last.at - first.at < LEAST || last.pairs <= first.pairs) return null;
    return (last.pairs - first.pairs) / (last.at - first.at);
  }
}
