// @ts-check
/**
 * Whether there is a connection, and what happens meanwhile: one stream of server-sent events for the page.
 * A browser opens a stream again by itself, but not always, and not slowly: here that is ours.
 */

const FIRST_PAUSE = 500;
const LONGEST_PAUSE = 5_000;

export const KINDS = [
  "trip", "rearm", "stage", "release", "approval", "follow", "gates", "config", "flags", "flag_off", "drill",
  "rollout", "lineage", "drift", "labels",
];

/** @typedef {{kind: string, data: any, number: number}} Happening */

export class Live {
  /**
   * @param {() => EventSource} open
   * @param {(happening: Happening) => void} told  is given each event
   * @param {() => void} changed  is called when the connection is lost, and when it is there again
   */
  constructor(open, told, changed) {
    this.open = open;
    this.told = told;
    this.changed = changed;
    /** @type {Date | null} */
    this.lost = null;
    this.why = "";
    this.pause = FIRST_PAUSE;
    /** @type {EventSource | null} */
    this.stream = null;
    this.streaming = false;
    this.waiting = 0;
  }

  begin() {
    if (this.stream || this.waiting) return;
    const stream = this.open();
    this.stream = stream;
    stream.onopen = () => {
      this.streaming = true;
      this.pause = FIRST_PAUSE;
      this.reached();
    };
    stream.onerror = () => this.broken();
    for (const kind of KINDS) {
      stream.addEventListener(kind, (event) => {
        const message = /** @type {MessageEvent} */ (event);
        this.told({ kind, data: JSON.parse(message.data), number: Number(message.lastEventId) });
      });
    }
  }

  end() {
    this.stream?.close();
    this.stream = null;
    this.streaming = false;
    clearTimeout(this.waiting);
    this.waiting = 0;
  }

  broken() {
    this.end();
    this.waiting = window.setTimeout(() => {
      this.waiting = 0;
      this.begin();
    }, this.pause * (0.75 + Math.random() / 2));
    this.pause = Math.min(LONGEST_PAUSE, this.pause * 2);
  }

  /** Somebody has answered. */
  reached() {
    if (this.lost === null) return;
    this.lost = null;
    this.why = "";
    this.changed();
  }

  /** Nobody has. @param {string} why */
  unreached(why) {
    this.why = why;
    if (this.lost !== null) return;
    this.lost = new Date();
    this.changed();
  }
}
