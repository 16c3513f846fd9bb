// One model of the manager: its state, and what can be done with it.

import { call } from "./api.js";
import { announce, button, h, icon } from "./dom.js";
import { bytes, span } from "./format.js";

const KINDS = { model: "chat", embedding: "embedding", transcription: "hears", tts: "speaks", image: "draws", three_d: "meshes", rerank: "reranks", sparse: "sparse vectors", token_embedding: "token vectors", image_embedding: "picture vectors" };
const COLOURS = { ready: "good", loading: "info", draining: "warn", unloading: "warn", remote: "info" };
const KEEP = [[0, "not at all"], [60, "1 minute"], [300, "5 minutes"], [1800, "30 minutes"], [3600, "1 hour"], ["", "for ever"]];

/** A row that lives on: `update(model)` brings it up to date without losing the focus. */
export class ModelRow {
  #model;
  #problem;
  #parts = {};

  constructor(problem) {
    this.#problem = problem;
    const part = this.#parts;
    part.state = h("span", { class: "chip" });
    part.facts = h("p", { class: "muted small number" });
    part.trouble = h("p", { class: "small trouble", hidden: true });
    part.load = button({ text: "Load", kind: "small", onclick: () => this.#toggle() });
    part.pin = h("button", { type: "button", class: "small", "aria-pressed": "false", onclick: () => this.#adjust({ pinned: !this.#model.pinned }) }, icon("pin"), h("span", {}, "Pin"));
    part.keep = h("select", { onchange: () => this.#adjust({ keep_alive: part.keep.value === "" ? null : Number(part.keep.value) }) });
    part.name = h("h3");
    part.about = h("p", { class: "small muted" });
    this.element = h("li", { class: "card model" },
      h("div", { class: "stack tight" }, h("div", { class: "row" }, part.name, part.state), part.about, part.facts, part.trouble),
      h("div", { class: "row" }, h("label", { class: "row small keep" }, "Keep", part.keep), part.pin, part.load));
  }

  update(model) {
    this.#model = model;
    const { state, facts, trouble, load, pin, keep, name, about } = this.#parts;
    const busy = ["loading", "draining", "unloading"].includes(model.state);
    this.element.dataset.name = model.name;
    this.element.dataset.state = model.state;
    name.textContent = model.name;
    about.textContent = [KINDS[model.kind] ?? model.kind, model.description, model.spec].filter(Boolean).join(" · ");
    state.className = `chip ${COLOURS[model.state] ?? ""}`;
    state.textContent = model.state;
    facts.textContent = this.#facts().join(" · ");
    trouble.hidden = !model.problem;
    trouble.textContent = model.problem ?? "";
    const loaded = model.state === "ready" || model.state === "draining";
    load.lastChild.textContent = model.state === "loading" ? "Loading…" : loaded ? "Unload" : "Load";
    load.setAttribute("aria-label", `${load.lastChild.textContent} ${model.name}`);
    // Not disabled, so that the focus stays where it is.
    load.setAttribute("aria-disabled", String(busy));
    load.hidden = model.state === "remote";
    pin.hidden = keep.parentElement.hidden = model.state === "remote";
    pin.setAttribute("aria-pressed", String(Boolean(model.pinned)));
    pin.setAttribute("aria-label", `Pin ${model.name}`);
    keep.setAttribute("aria-label", `Keep ${model.name} after its last request`);
    if (document.activeElement !== keep) this.#showKeep(model.keep_alive);
  }

  #facts() {
    const model = this.#model;
    const held = Object.entries(model.charges ?? {}).filter(([, size]) => size > 0);
    return [
      held.length ? held.map(([pool, size]) => `${bytes(size)} in ${pool}`).join(", ") : model.size && `${bytes(model.size)} on disk`,
      model.leases > 0 && `${model.leases} in use`,
      model.waiting > 0 && `${model.waiting} waiting`,
      model.state === "ready" && model.idle_seconds > 0 && `idle for ${span(model.idle_seconds)}`,
      model.loads > 0 && `loaded ${model.loads} ${model.loads === 1 ? "time" : "times"}`,
      model.load_seconds && `last in ${model.load_seconds.toFixed(1)} s`,
      model.uses > 0 && `${model.uses} ${model.uses === 1 ? "request" : "requests"}`,
    ].filter(Boolean);
  }

  #showKeep(seconds) {
    const { keep } = this.#parts;
    const value = seconds === null || seconds === undefined ? "" : seconds;
    const choices = KEEP.some(([known]) => known === value) ? KEEP : [...KEEP.slice(0, -1), [value, span(value)], KEEP.at(-1)];
    if (keep.options.length !== choices.length || keep.value !== String(value)) {
      keep.replaceChildren(...choices.map(([known, text]) => h("option", { value: String(known) }, text)));
      keep.value = String(value);
    }
  }

  async #toggle() {
    const { name, state } = this.#model;
    if (this.#parts.load.getAttribute("aria-disabled") === "true") return;
    const loading = state === "unloaded";
    await this.#send(`api/models/${loading ? "load" : "unload"}`, { model: name }, `${name} is ${loading ? "loaded" : "unloaded"}`);
  }

  #adjust(change) {
    return this.#send("api/models/adjust", { model: this.#model.name, ...change }, `${this.#model.name} is changed`);
  }

  async #send(path, json, done) {
    this.#problem(null);
    try {
      await call(path, { json });
      announce(done);
    } catch (error) {
      this.#problem(error);
    }
  }
}
