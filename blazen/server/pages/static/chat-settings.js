// The system prompt, the sampling and the voice of a conversation.

import { $, h } from "./dom.js";

const form = $("#settings-form");
const opener = $("#settings-open");
export const NUMBERS = ["temperature", "top_p", "top_k", "repeat_penalty", "max_tokens", "seed"];

/** Show a conversation's settings in the form. */
export function show(chat) {
  form.elements.system.value = chat.system;
  for (const name of NUMBERS) form.elements[name].value = chat.options[name] ?? "";
  form.elements.thinking.checked = Boolean(chat.options.thinking);
  if (chat.options.voice) form.elements.voice.value = chat.options.voice;
}

/** Offer the models that speak. */
export function offerVoices(found) {
  form.elements.voice.replaceChildren(...found.map(({ name }) => h("option", { value: name }, name)));
  form.elements.voice.closest("label").hidden = !found.length;
}

export const voice = () => form.elements.voice.value;

/** The first field that holds what can't be sent, told to the user; true where all is well. */
export function valid() {
  if (form.checkValidity()) return true;
  open(true);
  form.reportValidity();
  return false;
}

function open(yes) {
  $("#settings").hidden = !yes;
  opener.setAttribute("aria-expanded", String(yes));
}

/** Make it work: `changed({system, options})` is called with what stands there. */
export function start(changed) {
  opener.addEventListener("click", () => {
    open($("#settings").hidden);
    if (!$("#settings").hidden) form.elements.system.focus();
  });
  form.addEventListener("submit", (event) => event.preventDefault());
  form.addEventListener("input", () => {
    const options = {};
    for (const name of NUMBERS) {
      const field = form.elements[name];
      if (field.value !== "" && field.validity.valid) options[name] = field.valueAsNumber;
    }
    if (form.elements.thinking.checked) options.thinking = true;
    if (form.elements.voice.selectedIndex > 0) options.voice = form.elements.voice.value;
    changed({ system: form.elements.system.value, options });
  });
}
