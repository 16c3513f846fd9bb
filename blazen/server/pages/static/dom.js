// Elements without markup: text stays text, whatever a model wrote.

const SVG = "http://www.w3.org/2000/svg";
const here = new URL("./", import.meta.url);

function make(element, properties, children) {
  for (const [name, value] of Object.entries(properties ?? {})) {
    if (value === undefined || value === null || value === false) continue;
    if (name.startsWith("on")) element.addEventListener(name.slice(2), value);
    else if (name === "class") element.setAttribute("class", value);
    else if (name === "value" || name === "checked" || name === "srcObject") element[name] = value;
    else element.setAttribute(name, value === true ? "" : String(value));
  }
  element.append(...children.flat().filter((child) => child !== null && child !== undefined && child !== false));
  return element;
}

/** An HTML element: `h("p", {class: "muted", onclick}, "text", other)`. */
export function h(tag, properties, ...children) {
  return make(document.createElement(tag), properties, children);
}

/** An SVG element, made the same way. */
export function s(tag, properties, ...children) {
  return make(document.createElementNS(SVG, tag), properties, children);
}

/** One picture of the sheet, which says nothing to a screen reader. */
export function icon(name) {
  return s("svg", { class: "icon", "aria-hidden": "true" }, s("use", { href: `${here.pathname}icons.svg#${name}` }));
}

/** A button; without `text` it shows the icon alone and `label` is its name. */
export function button({ label, text, picture, kind = "", onclick, ...more }) {
  const small = text ? "" : " icon-only";
  const properties = { type: "button", class: kind + small, onclick, ...more };
  if (!text) Object.assign(properties, { "aria-label": label, title: label });
  else if (label) properties["aria-label"] = label;
  return h("button", properties, picture && icon(picture), text && h("span", {}, text));
}

export const $ = (selector, root = document) => root.querySelector(selector);
export const $$ = (selector, root = document) => [...root.querySelectorAll(selector)];

let live;
/** Have a screen reader say something, once. */
export function announce(text) {
  live ??= document.body.appendChild(h("p", { class: "hidden", role: "status", "aria-live": "polite" }));
  live.textContent = "";
  requestAnimationFrame(() => (live.textContent = text));
}

let toasts;
/** Show a short message that goes by itself, and say it. */
export function toast(text) {
  toasts ??= document.body.appendChild(h("div", { class: "toasts" }));
  const shown = h("p", {}, text);
  toasts.replaceChildren(shown);
  announce(text);
  setTimeout(() => shown.remove(), 4000);
}

/** Ask in a dialog; gives what `read` made of it, or null where the user left it. */
export function ask({ title, body, yes, danger, read = () => true }) {
  return new Promise((resolve) => {
    const name = `ask-${crypto.getRandomValues(new Uint32Array(1))[0]}`;
    const dialog = h(
      "dialog", { "aria-labelledby": name },
      h("form", { method: "dialog", class: "stack" },
        h("h2", { id: name }, title), body,
        h("div", { class: "row end" },
          button({ text: "Cancel", kind: "quiet", onclick: () => dialog.close() }),
          h("button", { value: "yes", class: danger ? "danger" : "primary" }, yes))));
    dialog.addEventListener("close", () => {
      dialog.remove();
      resolve(dialog.returnValue === "yes" ? read(dialog) : null);
    });
    document.body.append(dialog);
    dialog.showModal();
  });
}

/** Give the user a file. */
export function download(name, data, type = "application/octet-stream") {
  const url = URL.createObjectURL(data instanceof Blob ? data : new Blob([data], { type }));
  h("a", { href: url, download: name }).click();
  setTimeout(() => URL.revokeObjectURL(url), 10_000);
}

/** Put text on the clipboard; also where the page has no secure origin. */
export async function copy(text) {
  try {
    await navigator.clipboard.writeText(text);
  } catch {
    const area = document.body.appendChild(h("textarea", { class: "hidden", value: text }));
    area.select();
    document.execCommand("copy");
    area.remove();
  }
  toast("Copied");
}
