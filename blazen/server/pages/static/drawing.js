// Words to pictures.

import { call, notice } from "./api.js";
import { $, button, download, h } from "./dom.js";
import { milliseconds } from "./format.js";
import { fill, nothing } from "./picker.js";

const panel = $("#images");
const form = $("form", panel);
const result = $(".result", panel);

async function blobOf(base64) {
  return new Blob([Uint8Array.from(atob(base64), (letter) => letter.charCodeAt(0))], { type: "image/png" });
}

async function send(event) {
  event.preventDefault();
  const pressed = $(".primary", form);
  pressed.disabled = true;
  result.replaceChildren(h("p", { class: "muted" }, "Drawing… without a graphics card this takes minutes."));
  const { model, prompt, size, n } = form.elements;
  const json = { model: model.value, prompt: prompt.value, n: n.valueAsNumber || 1, response_format: "b64_json", ...(size.value ? { size: size.value } : {}) };
  const begun = performance.now();
  try {
    const { data } = await call("v1/images/generations", { json });
    const blobs = await Promise.all(data.map((picture) => blobOf(picture.b64_json)));
    result.replaceChildren(
      h("div", { class: "gallery" }, blobs.map((blob, index) => h("figure", {},
        h("img", { src: URL.createObjectURL(blob), alt: prompt.value }),
        h("figcaption", {}, button({ text: "Download", label: `Download picture ${index + 1}`, picture: "download", kind: "small", onclick: () => download(`picture-${index + 1}.png`, blob) }))))),
      h("p", { class: "muted small" }, `Made in ${milliseconds(performance.now() - begun)}`));
  } catch (error) {
    result.replaceChildren(notice(error));
  }
  pressed.disabled = false;
}

/** Make the panel work. */
export async function start() {
  form.addEventListener("submit", send);
  const found = await fill(form.elements.model, ["image"]);
  $(".primary", form).disabled = !found.size;
  if (!found.size) result.replaceChildren(nothing("image"));
}
