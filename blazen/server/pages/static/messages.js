// One message of a conversation on the page, and what can be done with it.

import { button, copy, h } from "./dom.js";
import { count, milliseconds } from "./format.js";
import { Growing } from "./markdown.js";
import { notice } from "./api.js";

/** A message as a list item; `acts` has edit(text), retry() and speak(button). */
export function element(message, acts) {
  return message.role === "user" ? asked(message, acts) : answered(message, acts);
}

function pictures(message) {
  return message.images?.length
    ? h("div", { class: "pictures" }, message.images.map((url, index) => h("img", { src: url, alt: `Attached picture ${index + 1}` })))
    : null;
}

function asked(message, acts) {
  const bubble = h("div", { class: "bubble" }, pictures(message), message.text && h("p", { class: "plain" }, message.text));
  const item = h("li", { class: "asked" },
    h("article", { "aria-label": "You" }, bubble,
      h("div", { class: "acts" },
        button({ label: "Copy the message", picture: "copy", kind: "quiet small", onclick: () => copy(message.text) }),
        button({ label: "Edit the message", picture: "edit", kind: "quiet small", onclick: () => edit(item, message, acts) }))));
  return item;
}

function edit(item, message, acts) {
  const area = h("textarea", { "aria-label": "Edit the message", rows: 2, value: message.text });
  const article = item.firstChild;
  const before = [...article.children];
  const back = () => {
    article.replaceChildren(...before);
    before[1].lastChild.focus();
  };
  const form = h("form", { class: "stack editing" }, area,
    h("div", { class: "row end" },
      button({ text: "Cancel", kind: "quiet", onclick: back }),
      h("button", { class: "primary" }, "Send again")));
  form.addEventListener("submit", (event) => {
    event.preventDefault();
    if (area.value.trim()) acts.edit(area.value);
  });
  area.addEventListener("keydown", (event) => {
    if (event.key === "Escape") {
      event.stopPropagation();
      back();
    } else if (event.key === "Enter" && !event.shiftKey && !event.isComposing) {
      event.preventDefault();
      form.requestSubmit();
    }
  });
  article.replaceChildren(form);
  area.focus();
}

function answered(message, acts) {
  const speaker = button({ label: "Read aloud", picture: "speaker", kind: "quiet small", "aria-pressed": "false", onclick: () => acts.speak(speaker) });
  const prose = h("div", { class: "prose" });
  const thoughts = h("details", { class: "thoughts", hidden: !message.reasoning }, h("summary", {}, "Thoughts"), h("p", { class: "plain" }, message.reasoning ?? ""));
  const numbers = h("span", { class: "muted small number" });
  const bar = h("div", { class: "acts" },
    button({ label: "Copy the answer", picture: "copy", kind: "quiet small", onclick: () => copy(message.text) }),
    speaker,
    button({ label: "Try again", picture: "retry", kind: "quiet small", onclick: () => acts.retry() }), numbers);
  const trouble = h("div");
  const item = h("li", { class: "answered" },
    h("article", { "aria-label": `Answer of ${message.model}` }, h("p", { class: "who" }, message.model), thoughts, prose, trouble, bar));
  const growing = new Growing(prose);
  item.refresh = (running) => {
    thoughts.hidden = !message.reasoning;
    if (thoughts.lastChild.textContent !== (message.reasoning ?? "")) thoughts.lastChild.textContent = message.reasoning;
    growing.show(message.text);
    item.classList.toggle("running", running);
    prose.setAttribute("aria-busy", String(running));
    bar.hidden = running;
    numbers.replaceChildren(...facts(message));
    trouble.replaceChildren(...(message.error ? [notice(message.error)] : []));
  };
  item.refresh(false);
  return item;
}

function facts({ stats, stopped }) {
  const words = [];
  if (stats?.speed) words.push(`${stats.speed.toFixed(1)} tokens/s`);
  if (stats?.tokens) words.push(`${count(stats.tokens)} tokens`);
  if (stats?.first) words.push(`first after ${milliseconds(stats.first)}`);
  if (stats?.cut) words.push("cut at the limit of tokens");
  if (stopped) words.push("stopped");
  return words.length ? [h("span", {}, words.join(" · "))] : [];
}
