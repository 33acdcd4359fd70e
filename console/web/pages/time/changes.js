// @ts-check
/** Which records changed what is live, and which of them stands before and after an instant. Pure. */

const OTHERS = /^(refused|access|token|session|audit|gate)\./;

/** @param {any[]} records @param {string} endpoint  "" for all @param {Set<string>} [versions]  of that endpoint */
export function changes(records, endpoint, versions = new Set()) {
  return records.filter((one) => {
    if (one.erased || OTHERS.test(one.action) || one.result === "refused") return false;
    if (!endpoint || one.kind === "gateway" || one.kind === "flags" || one.kind === "configuration") return true;
    if (one.kind === "version") return versions.has(one.name);
    return one.name === endpoint || one.after?.endpoint === endpoint;
  });
}

/**
 * The nearest change before `at`, and the nearest after it.
 * @param {any[]} records  newest first @param {number} at  milliseconds since 1970
 * @returns {{before: any | null, after: any | null}}
 */
export function beside(records, at) {
  const times = records.map((one) => ({ one, at: Date.parse(one.at) }));
  const before = times.find((other) => other.at < at - 1);
  const after = times.filter((other) => other.at > at + 1).at(-1);
  return { before: before?.one ?? null, after: after?.one ?? null };
}

/** What an endpoint did, in a sentence. @param {any} held  an entry of `endpoints` of `GET /api/v1/live` */
export function sentence(held) {
  const incumbent = held.incumbent?.version ?? "an unknown version";
  const candidate = held.candidate?.version;
  if (!candidate) return `${incumbent} answered everybody; there was no candidate.`;
  if (held.switch.tripped) return `${incumbent} answered everybody: ${candidate} had been taken out.`;
  if (!held.weight) return `${incumbent} answered everybody; ${candidate} was ${held.mode === "shadow" ? "asked as well" : "served to nobody"}.`;
  const share = Math.round(held.weight * 1000) / 10;
  if (share >= 100) return `${candidate} answered everybody whom the flag let in; ${incumbent} all others.`;
  return `${candidate} answered ${share} % of the units (${held.mode}), ${incumbent} all others.`;
}
