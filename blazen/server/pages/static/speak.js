// A text, spoken: to hear and to keep.

import { call, notice, request } from "./api.js";
import { $, button, download, h, s } from "./dom.js";
import { bytes, clock, milliseconds } from "./format.js";
import { fill, nothing } from "./picker.js";

const panel = $("#speak");
const form = $("form", panel);
const result = $(".result", panel);

let known = null;
/** Only when somebody looks for a voice: the model is loaded to tell them. */
async function voices() {
  const { value: model } = form.elements.model;
  if (known === model) return;
  known = model;
  try {
    const { data: found } = await call(`v1/audio/voices?model=${encodeURIComponent(model)}`);
    $("#voices").replaceChildren(...found.map((voice) => h("option", { value: voice.id }, `${voice.name}, ${voice.language}${voice.installed ? "" : ", to be fetched"}`)));
  } catch (error) {
    result.replaceChildren(notice(error));
  }
}

/** The outline of a sound, and how long it is. */
async function wave(blob) {
  const context = new OfflineAudioContext(1, 1, 22_050);
  const sound = await context.decodeAudioData(await blob.arrayBuffer());
  const samples = sound.getChannelData(0);
  const columns = 400;
  const step = Math.max(1, Math.floor(samples.length / columns));
  let path = "";
  for (let column = 0; column < columns; column += 1) {
    let most = 0;
    for (let at = column * step; at < Math.min(samples.length, (column + 1) * step); at += 1) most = Math.max(most, Math.abs(samples[at]));
    path += `M${column} ${(50 - 48 * most).toFixed(1)}V${(50 + 48 * most + 0.5).toFixed(1)}`;
  }
  const picture = s("svg", { class: "wave", viewBox: "0 0 400 100", preserveAspectRatio: "none", "aria-hidden": "true" }, s("path", { d: path }));
  return { picture, seconds: sound.duration };
}

async function send(event) {
  event.preventDefault();
  const pressed = $(".primary", form);
  pressed.disabled = true;
  result.replaceChildren(h("p", { class: "muted" }, "Speaking…"));
  const { model, input, voice, speed } = form.elements;
  const json = { model: model.value, input: input.value, response_format: "wav" };
  if (voice.value.trim()) json.voice = voice.value.trim();
  if (speed.value !== "1") json.speed = speed.valueAsNumber;
  const begun = performance.now();
  try {
    const blob = await (await request("v1/audio/speech", { json })).blob();
    const took = performance.now() - begun;
    const audio = h("audio", { controls: true, src: URL.createObjectURL(blob), "aria-label": "What was spoken" });
    const { picture, seconds } = await wave(blob);
    const facts = h("p", { class: "muted small number" }, `${clock(seconds)} long, ${bytes(blob.size)}, made in ${milliseconds(took)}`);
    for (const before of result.querySelectorAll("audio")) URL.revokeObjectURL(before.src);
    result.replaceChildren(picture, audio, h("div", { class: "spread" }, facts,
      button({ text: "Download", picture: "download", kind: "small", onclick: () => download("speech.wav", blob) })));
  } catch (error) {
    result.replaceChildren(notice(error));
  }
  pressed.disabled = false;
}

/** Make the panel work. */
export async function start() {
  form.addEventListener("submit", send);
  form.elements.speed.addEventListener("input", ({ target }) => ($("output", form).textContent = target.valueAsNumber.toFixed(1)));
  form.elements.voice.addEventListener("focus", voices);
  form.elements.model.addEventListener("change", () => (form.elements.voice.value = ""));
  const found = await fill(form.elements.model, ["tts"]);
  $(".primary", form).disabled = !found.size;
  if (!found.size) result.replaceChildren(nothing("tts"));
}
