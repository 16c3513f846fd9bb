// Where a message is written: text, pictures that are pasted, dropped or chosen, and the microphone.

import { call, notice } from "./api.js";
import { $, announce, button, h } from "./dom.js";
import { dataUrl, picturesIn } from "./pictures.js";
import { Recording, transcriptionForm } from "./sound.js";

const input = $("#input");
const mic = $("#mic");
let images = [];
let recording = null;
let hears = null;

/** Show what went wrong above the field, or nothing. */
export function problem(error) {
  $("#problem").replaceChildren(...(error ? [notice(error)] : []));
}

/** Which model hears; without one there is no microphone. */
export function hearWith(model) {
  hears = model;
  mic.hidden = !model;
}

function show() {
  $("#attached").replaceChildren(...images.map((url, index) =>
    h("li", {}, h("img", { src: url, alt: `Picture ${index + 1}` }),
      button({ label: `Remove picture ${index + 1}`, picture: "close", kind: "small", onclick: () => (images.splice(index, 1), show(), input.focus()) }))));
}

async function attach(files) {
  const found = picturesIn(files);
  if (!found.length) return false;
  problem(null);
  try {
    images.push(...(await Promise.all(found.map((file) => dataUrl(file, { lightly: true })))));
    announce(`${images.length} ${images.length === 1 ? "picture" : "pictures"} attached`);
  } catch (error) {
    problem(error);
  }
  show();
  return true;
}

/** Take what was written, and empty the field; null where there is nothing. */
export function take() {
  const text = input.value.trim();
  if (!text && !images.length) return null;
  const taken = { text, images };
  input.value = "";
  images = [];
  show();
  return taken;
}

/** Put something back that could not be sent. */
export function put(text) {
  input.value = text;
  input.focus();
}

async function listen() {
  if (recording) return finish();
  problem(null);
  try {
    recording = await Recording.begin((level) => mic.style.setProperty("--level", level.toFixed(2)));
  } catch (error) {
    return problem(error);
  }
  mic.setAttribute("aria-pressed", "true");
  $("#mic-state").textContent = "Listening… press again to end";
}

async function finish() {
  const ended = recording;
  recording = null;
  mic.setAttribute("aria-pressed", "false");
  $("#mic-state").textContent = "Writing it down…";
  try {
    const form = transcriptionForm(await ended.stop(), { model: hears });
    const { text } = await call("v1/audio/transcriptions", { body: form });
    input.value = `${input.value} ${text.trim()}`.trim();
    input.focus();
  } catch (error) {
    problem(error);
  }
  $("#mic-state").textContent = "";
}

/** Make it work: `send()` and `stop()` are called when the user says so. */
export function start(send, stop) {
  const form = $("#composer");
  form.addEventListener("submit", (event) => {
    event.preventDefault();
    send();
  });
  input.addEventListener("keydown", (event) => {
    if (event.key === "Enter" && !event.shiftKey && !event.isComposing) {
      event.preventDefault();
      send();
    }
  });
  document.addEventListener("keydown", (event) => {
    if (event.key === "Escape" && !event.isComposing && !document.querySelector("dialog[open]")) stop();
  });
  $("#attach").addEventListener("click", () => $("#files").click());
  $("#files").addEventListener("change", async (event) => {
    await attach(event.target.files);
    event.target.value = "";
  });
  input.addEventListener("paste", (event) => {
    if (picturesIn(event.clipboardData?.files).length) {
      event.preventDefault();
      attach(event.clipboardData.files);
    }
  });
  const main = $("#main");
  main.addEventListener("dragover", (event) => {
    if (![...event.dataTransfer.items].some((item) => item.kind === "file")) return;
    event.preventDefault();
    main.classList.add("dropping");
  });
  main.addEventListener("dragleave", (event) => main.contains(event.relatedTarget) || main.classList.remove("dropping"));
  main.addEventListener("drop", async (event) => {
    event.preventDefault();
    main.classList.remove("dropping");
    if (!(await attach(event.dataTransfer.files))) problem(new Error("Only PNG, JPEG, WebP and GIF pictures can be attached."));
  });
  mic.addEventListener("click", listen);
}
