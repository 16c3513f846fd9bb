// A recording or a file, as text with times.

import { call, notice } from "./api.js";
import { $, copy, download, h } from "./dom.js";
import { clock } from "./format.js";
import { fill, nothing } from "./picker.js";
import { Recording, transcriptionForm } from "./sound.js";

const panel = $("#transcribe");
const form = $("form", panel);
const audio = $("audio", panel);
const result = $(".result", panel);
const record = $(".record", panel);
let sound = null;
let recording = null;
let heard = null;

function take(file) {
  sound = file;
  URL.revokeObjectURL(audio.src);
  audio.src = URL.createObjectURL(file);
  audio.hidden = false;
}

async function toggle() {
  try {
    if (!recording) {
      recording = await Recording.begin((level) => {
        record.style.setProperty("--level", level.toFixed(2));
        $(".recording", panel).textContent = recording ? clock(recording.seconds) : "";
      });
      record.setAttribute("aria-pressed", "true");
      record.lastChild.textContent = "End the recording";
      return;
    }
    const ended = recording;
    recording = null;
    form.elements.file.value = "";
    take(await ended.stop());
  } catch (error) {
    recording = null;
    result.replaceChildren(notice(error));
  }
  record.setAttribute("aria-pressed", "false");
  record.lastChild.textContent = "Record";
}

function line({ start, end, text }) {
  const play = () => {
    audio.currentTime = start;
    audio.play();
  };
  return h("li", { "data-start": start, "data-end": end },
    h("button", { type: "button", class: "quiet", "aria-label": `Play from ${clock(start)}`, onclick: play }, `${clock(start)} – ${clock(end)}`), h("span", {}, text.trim()));
}

async function send(event) {
  event.preventDefault();
  if (!sound) return result.replaceChildren(notice({ message: "There is no sound yet.", advice: "Choose a file, or record something." }));
  const pressed = $(".primary", form);
  pressed.disabled = true;
  result.replaceChildren(h("p", { class: "muted" }, "Listening… a long recording takes a while."));
  try {
    const body = transcriptionForm(sound, { model: form.elements.model.value, language: form.elements.language.value.trim(), response_format: "verbose_json" });
    heard = await call("v1/audio/transcriptions", { body });
    result.replaceChildren(
      h("p", { class: "whole" }, heard.text.trim() || "Nothing was said."),
      heard.segments?.length ? h("ol", { class: "segments", "aria-label": "Segments" }, heard.segments.map(line)) : "",
      h("p", { class: "muted small" }, [heard.language && `Language: ${heard.language}`, heard.duration && `length ${clock(heard.duration)}`].filter(Boolean).join(" · ")));
    $(".given", panel).hidden = false;
  } catch (error) {
    result.replaceChildren(notice(error));
  }
  pressed.disabled = false;
}

/** Times as WebVTT has them. */
function stamp(seconds) {
  return new Date(1000 * seconds).toISOString().slice(11, 23);
}

function subtitles() {
  const lines = (heard.segments ?? []).map(({ start, end, text }) => `${stamp(start)} --> ${stamp(end)}\n${text.trim().replaceAll("-->", "→")}\n`);
  download("subtitles.vtt", `WEBVTT\n\n${lines.join("\n")}`, "text/vtt");
}

/** Make the panel work. */
export async function start() {
  record.addEventListener("click", toggle);
  form.addEventListener("submit", send);
  form.elements.file.addEventListener("change", (event) => event.target.files[0] && take(event.target.files[0]));
  audio.addEventListener("timeupdate", () => {
    for (const item of panel.querySelectorAll(".segments li")) {
      item.classList.toggle("now", !audio.paused && audio.currentTime >= item.dataset.start && audio.currentTime < item.dataset.end);
    }
  });
  $(".copy", panel).addEventListener("click", () => copy(heard.text.trim()));
  $(".subtitles", panel).addEventListener("click", subtitles);
  const found = await fill(form.elements.model, ["transcription"]);
  $(".primary", form).disabled = !found.size;
  if (!found.size) result.replaceChildren(nothing("transcription"));
}
