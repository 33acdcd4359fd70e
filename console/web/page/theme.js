// @ts-check
/** Light, dark, or as the machine has it; remembered in this browser. */

const KEY = "pointsman.theme";
const THEMES = ["auto", "light", "dark"];

/** The one that is chosen. @returns {string} */
export function theme() {
  const kept = stored();
  return kept && THEMES.includes(kept) ? kept : "auto";
}

/** Show the page in `name`. @param {string} name */
export function wear(name) {
  const root = document.documentElement;
  if (name === "auto") root.removeAttribute("data-theme");
  else root.setAttribute("data-theme", name);
}

/** The next one, worn and remembered. @returns {string} */
export function turn() {
  const next = THEMES[(THEMES.indexOf(theme()) + 1) % THEMES.length];
  try {
    localStorage.setItem(KEY, next);
  } catch {
    // A browser that keeps nothing forgets the choice with the page.
  }
  wear(next);
  return next;
}

function stored() {
  try {
    return localStorage.getItem(KEY);
  } catch {
    return null;
  }
}
