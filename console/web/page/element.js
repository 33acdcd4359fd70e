// @ts-check
/**
 * Elements, made from values. Whatever comes from a model, a client or an operator becomes a text node or an
 * attribute of a fixed name, never markup: there is no way here to hand over HTML.
 */

const SVG = "http://www.w3.org/2000/svg";

/** @typedef {Node|string|number|null|undefined|false|Child[]} Child  Null, undefined and false are left out. */
/**
 * @typedef {Object<string, any>} Attributes
 *   `on`: listeners by type of event; `vars`: CSS variables by name; `class`: a string, or a list of which what
 *   is falsy is left out; `key`: who it is among its siblings, see `morph`. All others are attributes: true is
 *   an empty one; false, null and undefined none.
 */

/** @type {WeakMap<Element, Object<string, (event: any) => void>>} */
const listeners = new WeakMap();

/** Attributes that make a browser load or run something: only addresses of our own are let through. */
const ADDRESSES = new Set(["href", "src", "action", "formaction", "xlink:href"]);

/**
 * @param {string} tag
 * @param {Attributes} [attributes]
 * @param {...Child} children
 * @returns {any}
 */
export function element(tag, attributes = {}, ...children) {
  return furnished(document.createElement(tag), attributes, children);
}

/**
 * The same for a part of a drawing.
 * @param {string} tag
 * @param {Attributes} [attributes]
 * @param {...Child} children
 * @returns {any}
 */
export function drawn(tag, attributes = {}, ...children) {
  return furnished(document.createElementNS(SVG, tag), attributes, children);
}

/** @param {Element} node @param {Attributes} attributes @param {Child[]} children */
function furnished(node, attributes, children) {
  for (const [name, value] of Object.entries(attributes)) {
    if (name === "on") listen(node, value);
    else if (name === "vars") vary(/** @type {HTMLElement} */ (node), value);
    else if (name === "key" && value !== null && value !== undefined) node.setAttribute("data-key", String(value));
    else if (name === "class") dress(node, value);
    else if (name !== "key" && value !== false && value !== null && value !== undefined) assign(node, name, value);
  }
  append(node, children);
  return node;
}

/** @param {Element} node @param {string} name @param {any} value */
function assign(node, name, value) {
  const text = value === true ? "" : plain(String(value));
  if (/^on/i.test(name) || name === "style" || name === "srcdoc") throw new TypeError(`no attribute ${name}`);
  if (ADDRESSES.has(name) && !ours(text)) throw new TypeError(`${name} leads elsewhere: ${text}`);
  node.setAttribute(name, text);
  if (name === "value" && "value" in node) /** @type {any} */ (node).value = text;
}

/** Whether an address stays on this page, on this host, or is a file that was made here. @param {string} text */
function ours(text) {
  return text.startsWith("#") || text.startsWith("blob:") || (/^[\w./?=&%~-]+$/.test(text) && !text.startsWith("//"));
}

/** @param {Element} node @param {string | Array<string|false|null|undefined>} value */
function dress(node, value) {
  const text = Array.isArray(value) ? value.filter(Boolean).join(" ") : value;
  if (text) node.setAttribute("class", text);
}

/** @param {HTMLElement} node @param {Object<string, string|number>} variables */
function vary(node, variables) {
  for (const [name, value] of Object.entries(variables)) node.style.setProperty(name, String(value));
}

/** @param {Element} node @param {Object<string, (event: any) => void>} wanted */
function listen(node, wanted) {
  for (const kind of Object.keys(wanted)) node.addEventListener(kind, heard);
  listeners.set(node, wanted);
}

/** @param {Event} event */
function heard(event) {
  const wanted = listeners.get(/** @type {Element} */ (event.currentTarget));
  wanted?.[event.type]?.(event);
}

/** What `node` does from now on is what `fresh` does. @param {Element} node @param {Element} fresh */
export function adopt(node, fresh) {
  const wanted = listeners.get(fresh);
  if (wanted) listen(node, wanted);
  else listeners.delete(node);
}

/** Controls, and marks that turn the direction of what follows: they could make a text look like another one. */
const UNSEEN = /[\u0000-\u0008\u000b-\u001f\u007f-\u009f\u200b\u200e\u200f\u202a-\u202e\u2060-\u2069\ufeff]/g;

/** `text` with all that is in it to be seen. @param {string} text */
export function plain(text) {
  return text.replace(UNSEEN, (one) => (one === "\r" ? "" : `⟨${one.codePointAt(0)?.toString(16).toUpperCase().padStart(4, "0")}⟩`));
}

/** @param {Element} node @param {Child[]} children */
function append(node, children) {
  for (const child of children) {
    if (Array.isArray(child)) append(node, child);
    else if (child !== null && child !== undefined && child !== false) {
      node.append(child instanceof Node ? child : plain(String(child)));
    }
  }
}

/** `node` with nothing in it but `children`. @param {Element} node @param {...Child} children */
export function fill(node, ...children) {
  node.replaceChildren();
  append(node, children);
  return node;
}
