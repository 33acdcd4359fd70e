// @ts-check
/** Numbers as people read them: as many digits as say something, units beside them. Pure. */

const NONE = "–";

/** @param {number|null|undefined} value */
export function known(value) {
  return typeof value === "number" && Number.isFinite(value);
}

/** Three significant digits; groups of thousands. @param {number|null|undefined} value @param {number} [digits] */
export function number(value, digits = 3) {
  if (!known(value)) return NONE;
  const figure = /** @type {number} */ (value);
  if (figure !== 0 && (Math.abs(figure) >= 1e9 || Math.abs(figure) < 1e-4)) return power(figure);
  return figure.toLocaleString("en", { maximumSignificantDigits: Math.max(digits, Math.ceil(Math.log10(Math.abs(figure) + 1))) });
}

/** A count: whole, in groups of thousands. @param {number|null|undefined} value */
export function count(value) {
  return known(value) ? Math.round(/** @type {number} */ (value)).toLocaleString("en") : NONE;
}

/** A share in [0, 1] as per cent. @param {number|null|undefined} value */
export function percent(value) {
  if (!known(value)) return NONE;
  const share = 100 * /** @type {number} */ (value);
  if (share === 0) return "0 %";
  const size = Math.abs(share);
  if (size < 0.005) return "< 0.01 %";
  return `${share.toFixed(size >= 99.95 || size >= 10 ? (Number.isInteger(share) ? 0 : 1) : size >= 1 ? 1 : 2).replace(/\.0+$/, "")} %`;
}

/** So many a second. @param {number|null|undefined} value */
export function rate(value) {
  if (!known(value)) return NONE;
  const figure = /** @type {number} */ (value);
  return `${figure >= 100 ? count(figure) : number(figure, 2)}/s`;
}

/** Seconds as a latency. @param {number|null|undefined} seconds */
export function latency(seconds) {
  if (!known(seconds)) return NONE;
  const figure = /** @type {number} */ (seconds);
  if (figure >= 1) return `${number(figure, 3)} s`;
  return `${number(figure * 1000, figure >= 0.1 ? 3 : 2)} ms`;
}

/** Seconds as a stretch of time: `45 s`, `12 min`, `3 h 20 min`. @param {number|null|undefined} seconds */
export function stretch(seconds) {
  if (!known(seconds)) return NONE;
  const whole = Math.max(0, Math.round(/** @type {number} */ (seconds)));
  if (whole < 90) return `${whole} s`;
  const minutes = Math.round(whole / 60);
  if (minutes < 90) return `${minutes} min`;
  const hours = Math.floor(minutes / 60);
  if (hours < 48) return minutes % 60 ? `${hours} h ${minutes % 60} min` : `${hours} h`;
  return `${Math.round(hours / 24)} days`;
}

/** An e-value as operators read it: how rare such evidence would be. @param {number|null|undefined} evidence */
export function oneIn(evidence) {
  if (!known(evidence)) return NONE;
  const figure = /** @type {number} */ (evidence);
  if (figure < 2) return "none";
  return `1 in ${figure < 1e7 ? count(Number(figure.toPrecision(2))) : power(figure)}`;
}

/** @param {number} figure */
function power(figure) {
  const exponent = Math.floor(Math.log10(Math.abs(figure)));
  const leading = (figure / 10 ** exponent).toFixed(1).replace(/\.0$/, "");
  return `${leading} × 10${[...String(exponent)].map(raised).join("")}`;
}

/** @param {string} digit */
function raised(digit) {
  return digit === "-" ? "⁻" : "⁰¹²³⁴⁵⁶⁷⁸⁹"[Number(digit)];
}

/** `1 pair`, `2 pairs`. @param {number} amount @param {string} one @param {string} [many] */
export function several(amount, one, many = `${one}s`) {
  return `${count(amount)} ${amount === 1 ? one : many}`;
}
