// Looks into a model's file: facts, metadata, tensors as a picture and as a table.

import "./page.js";
import { call, notice } from "./api.js";
import { $, $$, h } from "./dom.js";
import { bytes, count } from "./format.js";
import { fill, nothing } from "./picker.js";
import { Treemap } from "./treemap.js";
import * as vectors from "./vectors.js";

const LONGEST = 240;
let file = null;
let sorted = { by: "bytes", down: true };
let tints = new Map();

const shapeOf = (tensor) => tensor.shape.join(" × ");
const labelOf = (tensor) => `${tensor.name}, ${tensor.dtype}, ${shapeOf(tensor)}, ${bytes(tensor.bytes)}`;
const tintOf = (tensor) => tints.get(tensor.dtype);

const treemap = new Treemap($("#treemap"), (tensor) => {
  $("#tensor").replaceChildren(h("strong", {}, tensor.name), ` ${tensor.dtype} · ${shapeOf(tensor)} · ${bytes(tensor.bytes)}`);
  for (const row of $$("#tensors tr")) row.classList.toggle("chosen", row.dataset.name === tensor.name);
  const row = $("#tensors .chosen");
  if (row) {
    const box = row.closest(".scroll");
    box.scrollTop = row.offsetTop - box.clientHeight / 2;
  }
});

async function look(name) {
  $("#problem").replaceChildren();
  $("#content").setAttribute("aria-busy", "true");
  history.replaceState(null, "", `?model=${encodeURIComponent(name)}`);
  try {
    file = await call(`api/explorer/model?model=${encodeURIComponent(name)}`);
    $("#content").hidden = false;
    facts();
    types();
    treemap.draw(file.tensors, tintOf, labelOf);
    tensors();
    metadata();
    await vectors.use(name);
  } catch (error) {
    $("#content").hidden = true;
    $("#problem").replaceChildren(notice(error));
  }
  $("#content").removeAttribute("aria-busy");
}

function facts() {
  const rows = factsOf(file);
  $("#facts").replaceChildren(...rows.filter(([, value]) => value !== null && value !== undefined && value !== "").map(([name, value]) => h("div", {}, h("dt", {}, name), h("dd", {}, value))));
}

function types() {
  const sums = new Map();
  for (const { dtype, bytes: size } of file.tensors) {
    const { size: before, count: many } = sums.get(dtype) ?? { size: 0, count: 0 };
    sums.set(dtype, { size: before + size, count: many + 1 });
  }
  const rows = [...sums].sort(([, one], [, other]) => other.size - one.size);
  tints = new Map(rows.map(([dtype], index) => [dtype, Math.min(index + 1, 8)]));
  $("#legend").replaceChildren(...rows.map(([dtype, { size, count: many }]) =>
    h("li", { class: "small" }, h("i", { class: `swatch tint-${tints.get(dtype)}`, "aria-hidden": "true" }), `${dtype}: ${many}, ${bytes(size)}`)));
}

function tensors() {
  const words = $("#tensor-search").value.toLowerCase().split(/\s+/).filter(Boolean);
  const found = file.tensors.filter((tensor) => words.every((word) => `${tensor.name} ${tensor.dtype}`.toLowerCase().includes(word)));
  const byName = (one, other) => one.name.localeCompare(other.name, "en", { numeric: true });
  const compare = sorted.by === "bytes" ? (one, other) => one.bytes - other.bytes : (one, other) => one[sorted.by].localeCompare(other[sorted.by], "en", { numeric: true });
  found.sort((one, other) => (sorted.down ? -1 : 1) * compare(one, other) || byName(one, other));
  $("#tensors").replaceChildren(...found.map((tensor) =>
    h("tr", { "data-name": tensor.name, onclick: () => treemap.choose(tensor.name) },
      h("th", { scope: "row", class: "mono" }, tensor.name), h("td", {}, tensor.dtype), h("td", { class: "number" }, shapeOf(tensor)), h("td", { class: "number" }, bytes(tensor.bytes)))));
  $("#tensor-count").textContent = `${count(found.length)} of ${count(file.tensors.length)} tensors`;
}

function sort(event) {
  const { by } = event.currentTarget.dataset;
  sorted = { by, down: sorted.by === by ? !sorted.down : by === "bytes" };
  for (const pressed of $$("[data-by]")) {
    pressed.closest("th").setAttribute("aria-sort", pressed.dataset.by !== by ? "none" : sorted.down ? "descending" : "ascending");
  }
  tensors();
}

function written(value) {
  const text = typeof value === "string" ? value : JSON.stringify(value);
  return text.length > LONGEST
    ? h("details", {}, h("summary", {}, `${text.slice(0, 60)}…`), h("pre", { class: "block", tabindex: "0", "aria-label": "Whole value" }, text))
    : h("span", { class: "value" }, text);
}

function metadata() {
  const words = $("#search").value.toLowerCase().split(/\s+/).filter(Boolean);
  const all = Object.entries(file.metadata);
  const found = all.filter(([key, value]) => words.every((word) => `${key} ${JSON.stringify(value)}`.toLowerCase().includes(word)));
  $("#metadata").replaceChildren(...found.map(([key, value]) => h("tr", {}, h("th", { scope: "row", class: "mono" }, key), h("td", {}, written(value)))));
  $("#metadata-count").textContent = `${count(found.length)} of ${count(all.length)} entries`;
}

/** Whether a model is a GGUF file, as far as its spec says. */
function isGguf({ spec }) {
  return /^(xllamacpp|llamacpp|mistralrs):/.test(spec) || /\.gguf$/i.test(spec);
}

/** The tiles at the top. */
function factsOf({ file: about, estimate, backends }) {
  return [
    ["Title", about.title], ["Architecture", about.architecture], ["Parameters", count(about.parameters)], ["Quantization", about.quantization],
    ["Size of the file", bytes(about.size)], ["Memory, estimated", estimate && bytes(estimate.total)], ["Context", about.context_length && `${count(about.context_length)} tokens`],
    ["Layers", about.layers], ["Width", about.embedding_length], ["Vocabulary", about.vocabulary && `${count(about.vocabulary)} tokens`],
    ["Chat template", about.chat_template ? "yes" : "no"], ["Opened by", backends.map(({ name, installed }) => (installed ? name : `${name} (not installed)`)).join(", ")],
  ];
}

async function begun() {
  vectors.start();
  $("#model").addEventListener("change", () => look($("#model").value));
  $("#tensor-search").addEventListener("input", tensors);
  $("#search").addEventListener("input", metadata);
  for (const pressed of $$("[data-by]")) pressed.addEventListener("click", sort);
  try {
    const found = await fill($("#model"), ["model", "embedding"], { wanted: new URLSearchParams(location.search).get("model") ?? undefined, only: isGguf, as: "explorer" });
    if (found.size) await look($("#model").value);
    else $("#problem").replaceChildren(nothing("gguf"));
  } catch (error) {
    $("#problem").replaceChildren(notice(error));
  }
  document.body.dataset.ready = "true";
}

begun();
