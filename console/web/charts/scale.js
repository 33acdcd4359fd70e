// @ts-check
/** From numbers to places on a drawing. Pure. */

/**
 * Round numbers that divide the stretch from `low` to `high` into about `wanted` parts.
 * @param {number} low @param {number} high @param {number} wanted
 */
export function ticks(low, high, wanted) {
  const span = high - low;
  if (!(span > 0)) return [low];
  const rough = span / Math.max(1, wanted);
  const power = 10 ** Math.floor(Math.log10(rough));
  const step = power * ([1, 2, 2.5, 5, 10].find((one) => one * power >= rough) ?? 10);
  const found = [];
  for (let at = Math.ceil(low / step) * step; at <= high + step * 1e-9; at += step) found.push(Math.abs(at) < step * 1e-9 ? 0 : at);
  return found;
}

const CLOCKED = [10, 30, 60, 120, 300, 600, 1800, 3600, 7200, 21600];

/**
 * The same for times, in seconds: whole minutes, whole hours.
 * @param {number} from @param {number} to @param {number} wanted
 */
export function instants(from, to, wanted) {
  const step = CLOCKED.find((one) => (to - from) / one <= wanted) ?? 86400;
  const shift = new Date(from * 1000).getTimezoneOffset() * 60;
  const found = [];
  for (let at = Math.ceil((from - shift) / step) * step + shift; at <= to; at += step) found.push(at);
  return found;
}

/** A function from [low, high] to [start, end]. @param {number} low @param {number} high @param {number} start @param {number} end */
export function linear(low, high, start, end) {
  const per = high > low ? (end - start) / (high - low) : 0;
  return (/** @type {number} */ value) => start + (value - low) * per;
}

/** @param {any} value */
export function isNumber(value) {
  return typeof value === "number" && Number.isFinite(value);
}

/** The smallest and largest of many rows of numbers, of which some may be missing. @param {Array<Array<number|null>>} rows @returns {[number, number] | null} */
export function extent(rows) {
  let low = Infinity;
  let high = -Infinity;
  for (const row of rows) {
    for (const value of row) {
      if (!isNumber(value)) continue;
      low = Math.min(low, /** @type {number} */ (value));
      high = Math.max(high, /** @type {number} */ (value));
    }
  }
  return low <= high ? [low, high] : null;
}

/** The place of the last of `at`, which ascend, that is not after `wanted`; -1 for none. @param {number[]} at @param {number} wanted */
export function placeOf(at, wanted) {
  let low = 0;
  let high = at.length;
  while (low < high) {
    const middle = (low + high) >> 1;
    if (at[middle] <= wanted) low = middle + 1;
    else high = middle;
  }
  return low - 1;
}

/** The last number of a row. @param {Array<number|null>} row */
export function last(row) {
  for (let at = row.length - 1; at >= 0; at -= 1) if (isNumber(row[at])) return row[at];
  return null;
}
