// The manager, live.

import "./page.js";
import { notice } from "./api.js";
import { $, h } from "./dom.js";
import { add } from "./log.js";
import { ModelRow } from "./model-row.js";
import { nothing } from "./picker.js";
import * as pools from "./pools.js";
import { watch } from "./watching.js";

const rows = new Map();
const log = $("#log");
let held = [];
let paused = false;
let last = null;

function problem(error) {
  $("#problem").replaceChildren(...(error ? [notice(error)] : []));
}

const rank = ({ state }) => ["ready", "draining", "loading", "unloading"].includes(state) ? 0 : state === "remote" ? 2 : 1;

function show(status) {
  last = status;
  const words = $("#search").value.toLowerCase().trim();
  $("#pools").replaceChildren(...pools.draw(status.pools, status.models));
  const wanted = status.models.filter(({ name, kind, spec }) => `${name} ${kind} ${spec}`.toLowerCase().includes(words))
    .sort((one, other) => rank(one) - rank(other) || one.name.localeCompare(other.name, "en"));
  const elements = wanted.map((model) => {
    const row = rows.get(model.name) ?? new ModelRow(problem);
    rows.set(model.name, row);
    row.update(model);
    return row.element;
  });
  place($("#models"), elements);
  if (!status.models.length) $("#models").replaceChildren(h("li", {}, nothing("model")));
  $("#queue").textContent = [status.waiting ? `${status.waiting} requests wait` : "nobody waits", status.cores && `${status.cores_used} of ${status.cores} cores used`].filter(Boolean).join(" · ");
  document.body.dataset.ready = "true";
}

/** Bring elements into an order; one that has the focus is not moved. */
function place(list, elements) {
  if (elements.length === list.children.length && elements.every((element, index) => list.children[index] === element)) return;
  const focused = document.activeElement;
  list.replaceChildren(...elements);
  if (list.contains(focused)) focused.focus();
}

function happened(event) {
  if (paused) held.push(event);
  else add(log, event, nameOf);
}

/** Events name the manager's id: show the name that the list has for it. */
function nameOf(id) {
  return last?.models.find((model) => model.id === id)?.name ?? id;
}

$("#search").addEventListener("input", () => last && show(last));
$("#clear").addEventListener("click", () => log.replaceChildren());
$("#pause").addEventListener("click", ({ currentTarget }) => {
  paused = !paused;
  currentTarget.setAttribute("aria-pressed", String(paused));
  if (!paused) for (const event of held.splice(0)) add(log, event, nameOf);
});

watch({ status: show, event: happened }, (state, error) => {
  $("#connection").textContent = state === "live" ? "Live" : "Connecting again…";
  $("#connection").className = `chip ${state === "live" ? "good" : "warn"}`;
  if (state === "live") problem(null);
  else if (error) problem(error);
});
