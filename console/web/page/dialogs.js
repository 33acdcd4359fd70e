// @ts-check
/** Questions before something is done. Native dialogs: focus stays inside, Escape leaves. */

import { element, fill } from "./element.js";
import { told } from "./states.js";

/**
 * @typedef {object} Question
 * @property {string} title
 * @property {import("./element.js").Child} [text]
 * @property {string} act  what the button says
 * @property {boolean} [grave]  whether it takes something away
 * @property {string} [reason]  the label of a reason that has to be given; without: none is asked for
 * @property {string} [suggested]  a reason to begin with
 * @property {Array<{name: string, label: string, value?: string, required?: boolean, type?: string}>} [fields]  more to fill in
 * @property {(given: Object<string, string>) => Promise<any>} run  does it; what it throws is shown, and may be tried again
 */

/**
 * Ask; resolves to what `run` answered, or to undefined when the asker thought better of it.
 * @param {Question} question
 * @returns {Promise<any>}
 */
export function ask(question) {
  const before = /** @type {HTMLElement | null} */ (document.activeElement);
  return new Promise((resolve) => {
    /** @type {any} */
    let answer;
    const wrong = element("div", { class: "dialog-wrong", role: "alert" });
    const act = element("button", { type: "submit", class: question.grave ? "grave" : "primary" }, question.act);
    const leave = element("button", { type: "button", on: { click: () => dialog.close() } }, "Cancel");
    const form = element(
      "form",
      { method: "dialog", on: { submit: submitted } },
      element("h2", { id: "dialog-title" }, question.title),
      element("div", { class: "dialog-text" }, question.text ?? null),
      inputs(question),
      wrong,
      element("div", { class: "dialog-foot" }, leave, act),
    );
    const dialog = element("dialog", { "aria-labelledby": "dialog-title", on: { close: closed } }, form);

    /** @param {SubmitEvent} event */
    async function submitted(event) {
      event.preventDefault();
      if (act.disabled) return;
      act.disabled = true;
      dialog.setAttribute("aria-busy", "true");
      try {
        const given = /** @type {Object<string, string>} */ (Object.fromEntries(new FormData(form)));
        answer = await question.run(given);
        dialog.close();
      } catch (error) {
        const [title, detail] = told(error);
        fill(wrong, element("strong", {}, title), detail ? ` ${detail}` : "");
      } finally {
        act.disabled = false;
        dialog.removeAttribute("aria-busy");
      }
    }

    function closed() {
      dialog.remove();
      if (before?.isConnected) before.focus();
      resolve(answer);
    }

    document.body.append(dialog);
    dialog.showModal();
    (form.querySelector("textarea, input") ?? act).focus();
  });
}

/** @param {Question} question */
function inputs(question) {
  const fields = (question.fields ?? []).map((one) =>
    element(
      "label",
      { class: "field" },
      element("span", {}, one.label),
      element("input", { name: one.name, type: one.type ?? "text", value: one.value ?? "", required: one.required ?? false, autocomplete: "off", maxlength: 200 }),
    ),
  );
  if (!question.reason) return fields;
  const area = element("textarea", {
    name: "reason", rows: 2, required: true, maxlength: 2000, "aria-describedby": "reason-hint",
    on: { keydown: sent },
  }, question.suggested ?? "");
  const label = element("label", { class: "field" }, element("span", {}, question.reason), area);
  const hint = "It is kept in the audit log. Enter sends, Shift+Enter begins a new line, Escape leaves.";
  return [label, element("p", { id: "reason-hint", class: "hint" }, hint), fields];
}

/** Enter sends: at three in the morning there is no time to look for a button. @param {KeyboardEvent} event */
function sent(event) {
  if (event.key !== "Enter" || event.shiftKey || event.isComposing) return;
  event.preventDefault();
  /** @type {HTMLTextAreaElement} */ (event.currentTarget).form?.requestSubmit();
}

/** Something to read, and a button to close it. @param {string} title @param {...import("./element.js").Child} children */
export function show(title, ...children) {
  const before = /** @type {HTMLElement | null} */ (document.activeElement);
  const close = element("button", { type: "submit", class: "primary" }, "Close");
  const dialog = element(
    "dialog",
    { "aria-labelledby": "dialog-title", on: { close: () => { dialog.remove(); before?.focus(); } } },
    element("form", { method: "dialog" }, element("h2", { id: "dialog-title" }, title), children, element("div", { class: "dialog-foot" }, close)),
  );
  document.body.append(dialog);
  dialog.showModal();
  close.focus();
}
