// Prompts as the model reads them, tokens with probabilities, and times.

import "./page.js";
import { call, notice, pieces } from "./api.js";
import { $, announce, h } from "./dom.js";
import { count, milliseconds } from "./format.js";
import { fill, nothing } from "./picker.js";
import { tabs } from "./tabs.js";
import { TokenRow, tokensOf } from "./tokens.js";

const form = $("#form");
const row = new TokenRow($("#tokens"), $("#alternatives"));
const show = tabs($('[role="tablist"]'));
let running = null;

const isRaw = () => $("#tab-raw").getAttribute("aria-selected") === "true";

function messages() {
  const system = $("#system").value.trim();
  return [...(system ? [{ role: "system", content: system }] : []), { role: "user", content: $("#user").value }];
}

function problem(error) {
  $("#problem").replaceChildren(...(error ? [notice(error)] : []));
}

async function apply() {
  problem(null);
  try {
    const { prompt, template } = await call("api/explorer/prompt", { json: { model: $("#model").value, messages: messages() } });
    $("#prompt").value = prompt;
    $("#template").textContent = template ?? "";
    $("#template-box").hidden = !template;
    show("tab-raw");
    $("#prompt").focus();
  } catch (error) {
    problem(error);
  }
}

function options() {
  const given = {};
  for (const field of form.elements) {
    if (field.name && field.name !== "alternatives" && field.value !== "") {
      given[field.name] = field.type === "number" ? field.valueAsNumber : field.value.replaceAll("\\n", "\n");
    }
  }
  return given;
}

function request() {
  const asked = form.elements.alternatives;
  const alternatives = asked.value === "" ? 0 : asked.valueAsNumber;
  const common = { model: $("#model").value, stream: true, stream_options: { include_usage: true }, ...options() };
  if (isRaw()) return ["v1/completions", { ...common, prompt: $("#prompt").value, logprobs: alternatives }];
  const thinking = $("#thinking").checked ? { thinking: true } : {};
  return ["v1/chat/completions", { ...common, ...thinking, messages: messages(), logprobs: true, top_logprobs: alternatives }];
}

async function generate() {
  problem(null);
  row.clear();
  timings({});
  running = new AbortController();
  busy(true);
  const begun = performance.now();
  const seen = { first: null, usage: null, timings: null, finish: null };
  try {
    for await (const piece of pieces(...request(), running.signal)) {
      const choice = piece.choices?.[0];
      const tokens = tokensOf(choice);
      const text = choice?.text ?? choice?.delta?.content ?? "";
      if (tokens.length || text) seen.first ??= performance.now() - begun;
      if (tokens.length) row.add(tokens);
      else if (text) row.addText(text);
      seen.finish = choice?.finish_reason ?? seen.finish;
      seen.usage = piece.usage ?? seen.usage;
      seen.timings = piece.timings ?? seen.timings;
    }
    announce(`${row.tokens.length} tokens`);
  } catch (error) {
    if (error.name === "AbortError" || running.signal.aborted) seen.finish = "stopped by you";
    else problem(error);
  }
  timings({ ...seen, whole: performance.now() - begun });
  busy(false);
}

function timings({ first, usage, timings: server, finish, whole }) {
  const likely = row.tokens.length ? Math.exp(row.tokens.reduce((sum, { chance }) => sum + Math.log(Math.max(chance, 1e-12)), 0) / -row.tokens.length) : null;
  const facts = [
    ["Prompt", usage && `${count(usage.prompt_tokens)} tokens`],
    ["Answer", (usage?.completion_tokens || row.tokens.length) && `${count(usage?.completion_tokens ?? row.tokens.length)} tokens`],
    ["First token after", milliseconds(server?.first_token_ms ?? first)],
    ["Reading the prompt", milliseconds(server?.prompt_ms)],
    ["Writing", milliseconds(server?.decode_ms)],
    ["Speed", server?.tokens_per_second && `${server.tokens_per_second.toFixed(1)} tokens/s`],
    ["Whole, seen from here", milliseconds(whole)],
    ["Perplexity", likely && likely.toFixed(2)],
    ["Ended by", finish],
  ];
  $("#timings").replaceChildren(...facts.map(([name, value]) => h("div", {}, h("dt", {}, name), h("dd", {}, value || "–"))));
}

function busy(yes) {
  $("#run").disabled = yes;
  $("#stop").hidden = !yes;
  $("#tokens").setAttribute("aria-busy", String(yes));
}

async function begun() {
  timings({});
  $("#apply").addEventListener("click", apply);
  $("#stop").addEventListener("click", () => running?.abort());
  form.addEventListener("submit", (event) => {
    event.preventDefault();
    if (!$("#run").disabled) generate();
  });
  try {
    const found = await fill($("#model"), ["model"]);
    if (!found.size) $("#problem").replaceChildren(nothing("model"));
    $("#run").disabled = $("#apply").disabled = !found.size;
  } catch (error) {
    problem(error);
  }
  document.body.dataset.ready = "true";
}

begun();
