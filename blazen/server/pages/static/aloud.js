// Reads an answer aloud; one at a time.

import { request } from "./api.js";
import { announce, toast } from "./dom.js";

let playing = null;

/** Stop what is read now. */
export function hush() {
  playing?.end();
}

/** The words of a Markdown text, without its signs. */
export function spoken(text) {
  return text.replace(/^(```|~~~)[\s\S]*?(^\1|$(?![\s\S]))/gm, " ").replace(/!?\[([^\]]*)\]\([^)]*\)/g, "$1").replace(/^[#>\s]+|[*_`~|]/gm, "").trim();
}

/** Read a text aloud; the button shows that it is pressed meanwhile, and ends it. */
export async function readAloud(text, model, button) {
  const again = playing?.button === button;
  hush();
  if (again) return;
  const words = spoken(text);
  if (!words) return toast("There is nothing to read aloud.");
  const control = new AbortController();
  const audio = new Audio();
  const end = () => {
    control.abort();
    audio.pause();
    URL.revokeObjectURL(audio.src);
    button.setAttribute("aria-pressed", "false");
    if (playing?.button === button) playing = null;
  };
  playing = { button, end };
  button.setAttribute("aria-pressed", "true");
  announce("Reading aloud");
  try {
    const response = await request("v1/audio/speech", { json: { model, input: words, response_format: "wav" }, signal: control.signal });
    audio.src = URL.createObjectURL(await response.blob());
    audio.addEventListener("ended", end);
    await audio.play();
  } catch (error) {
    end();
    if (error.name !== "AbortError") toast(error.message);
  }
}
