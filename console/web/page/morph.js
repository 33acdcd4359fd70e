// @ts-check
/**
 * A tree is changed into another one by as few changes as that takes. So a page can simply be made anew for
 * every state: what somebody has focused, selected, opened or scrolled stays as it is.
 *
 * Siblings are the same by their key (`element(tag, {key})`), those without one by their order.
 */

import { adopt } from "./element.js";

/** What people change by using it, not us. */
const THEIRS = new Set(["open", "value", "checked"]);

/**
 * `live` with all that `fresh` has; what is new is taken out of `fresh`.
 * @param {Element} live
 * @param {Element} fresh
 */
export function morph(live, fresh) {
  const focused = /** @type {HTMLElement | null} */ (document.activeElement);
  change(live, fresh);
  // What is moved among its siblings loses the focus, which nobody asked for.
  if (focused && focused !== document.activeElement && live.contains(focused)) focused.focus({ preventScroll: true });
}

/** @param {Element} live @param {Element} fresh */
function change(live, fresh) {
  if (live.tagName !== fresh.tagName) {
    live.replaceWith(fresh);
    return;
  }
  dress(live, fresh);
  adopt(live, fresh);
  if (live.hasAttribute("data-own")) return;
  settle(live, fresh);
}

/** @param {Element} live @param {Element} fresh */
function dress(live, fresh) {
  for (const { name } of [...live.attributes]) {
    if (!fresh.hasAttribute(name) && !THEIRS.has(name) && name !== "style") live.removeAttribute(name);
  }
  for (const { name, value } of fresh.attributes) {
    if (name === "style" || (name === "open" && live.tagName === "DETAILS")) continue;
    if (live.getAttribute(name) !== value) live.setAttribute(name, value);
  }
  const mine = /** @type {HTMLElement} */ (live).style;
  const wanted = /** @type {HTMLElement} */ (fresh).style;
  if (mine.cssText !== wanted.cssText) mine.cssText = wanted.cssText;
}

/** @param {Element} live @param {Element} fresh */
function settle(live, fresh) {
  const kept = keyed(live);
  let place = live.firstChild;
  for (const wanted of [...fresh.childNodes]) {
    const key = wanted instanceof Element ? wanted.getAttribute("data-key") : null;
    const known = key === null ? null : kept.get(key) ?? null;
    if (known) {
      if (known !== place) live.insertBefore(known, place);
      else place = place.nextSibling;
      change(known, /** @type {Element} */ (wanted));
    } else if (place && key === null && alike(place, wanted)) {
      const here = place;
      place = place.nextSibling;
      if (here instanceof Element) change(here, /** @type {Element} */ (wanted));
      else if (here.nodeValue !== wanted.nodeValue) here.nodeValue = wanted.nodeValue;
    } else {
      live.insertBefore(wanted, place);
    }
  }
  while (place) {
    const next = place.nextSibling;
    live.removeChild(place);
    place = next;
  }
}

/** @param {Element} node @returns {Map<string, Element>} */
function keyed(node) {
  const found = new Map();
  for (const child of node.children) {
    const key = child.getAttribute("data-key");
    if (key !== null) found.set(key, child);
  }
  return found;
}

/** @param {Node} one @param {Node} other */
function alike(one, other) {
  if (one.nodeType !== other.nodeType || one.nodeName !== other.nodeName) return false;
  return !(one instanceof Element) || !one.hasAttribute("data-key");
}
