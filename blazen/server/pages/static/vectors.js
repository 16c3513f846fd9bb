// Text as tokens, a token as a vector, and the tokens that lie near it.

import { call, notice } from "./api.js";
import { $, h, s } from "./dom.js";
import { count } from "./format.js";
import { visible } from "./tokens.js";

const some = (number, what) => `${count(number)} ${what}${number === 1 ? "" : "s"}`;
let model = "";
let asked = null;
let looking = null;

/** Begin with another model. */
export function use(name) {
  model = name;
  $("#vector-title").textContent = "Choose a token to see its vector";
  $("#near-title").hidden = true;
  for (const id of ["#strip", "#neighbors", "#strip-value"]) $(id).replaceChildren();
  return tokenize();
}

async function tokenize() {
  asked?.abort();
  const mine = (asked = new AbortController());
  const text = $("#text").value;
  try {
    const { tokens } = await call("api/explorer/tokenize", { json: { model, text }, signal: mine.signal });
    $("#tokens").replaceChildren(...tokens.map((token, index) => h("li", {},
      h("button", { type: "button", class: `piece tint-${(index % 7) + 1}`, "aria-label": `${visible(token.text)}, token ${token.id}`, onclick: () => look(token) },
        h("code", {}, visible(token.text)), h("span", { class: "small number" }, String(token.id))))));
    $("#token-count").textContent = `${some(tokens.length, "token")} for ${some([...text].length, "character")}`;
  } catch (error) {
    if (error.name === "AbortError") return;
    $("#tokens").replaceChildren();
    $("#token-count").replaceChildren(notice(error));
  }
}

async function look(token) {
  looking?.abort();
  const mine = (looking = new AbortController());
  const { signal } = mine;
  $("#vector-title").replaceChildren("Vector of ", h("code", {}, visible(token.text)), ` (${token.id})`);
  $("#strip").replaceChildren();
  $("#neighbors").replaceChildren(h("p", { class: "muted small" }, "Looking…"));
  try {
    const { vector, norm } = await call("api/explorer/vector", { json: { model, token: token.id }, signal });
    strip(vector, norm);
    const { neighbors } = await call("api/explorer/neighbors", { json: { model, token: token.id, count: 10 }, signal });
    $("#near-title").hidden = false;
    $("#neighbors").replaceChildren(table(neighbors));
  } catch (error) {
    if (error.name !== "AbortError") $("#neighbors").replaceChildren(notice(error));
  }
}

function strip(vector, norm) {
  const columns = 64;
  const largest = vector.reduce((most, value) => Math.max(most, Math.abs(value)), 0) || 1;
  const rows = Math.ceil(vector.length / columns);
  const cells = vector.map((value, index) => s("rect", {
    x: index % columns, y: Math.floor(index / columns), width: 1, height: 1, class: value < 0 ? "minus" : "plus", "fill-opacity": (Math.abs(value) / largest).toFixed(3), "data-at": index,
  }));
  const picture = s("svg", { viewBox: `0 0 ${columns} ${rows}`, role: "img", "aria-label": `${vector.length} numbers between ${Math.min(...vector).toFixed(3)} and ${Math.max(...vector).toFixed(3)}` }, cells);
  const say = (text) => ($("#strip-value").textContent = text);
  const whole = `${count(vector.length)} numbers, length ${norm.toFixed(3)}; orange is above zero, blue below`;
  picture.addEventListener("pointermove", (event) => {
    const at = event.target.getAttribute("data-at");
    if (at !== null) say(`Number ${Number(at) + 1}: ${vector[at].toFixed(5)}`);
  });
  picture.addEventListener("pointerleave", () => say(whole));
  $("#strip").replaceChildren(picture);
  say(whole);
}

function table(neighbors) {
  return h("table", { class: "near" }, h("thead", {}, h("tr", {}, h("th", { scope: "col" }, "Token"), h("th", { scope: "col", class: "number" }, "Id"), h("th", { scope: "col" }, "Similarity"))),
    h("tbody", {}, neighbors.map(({ id, text, similarity }) => {
      const meter = h("i", { class: "meter", "aria-hidden": "true" });
      meter.style.setProperty("--part", `${Math.max(0, 100 * similarity)}%`);
      return h("tr", {},
        h("td", {}, h("button", { type: "button", class: "quiet small", "aria-label": `Vector of ${visible(text)}`, onclick: () => look({ id, text }) }, h("code", {}, visible(text)))),
        h("td", { class: "number" }, String(id)), h("td", {}, h("div", { class: "bar-cell" }, meter, h("span", { class: "number" }, similarity.toFixed(3)))));
    })));
}

let timer = 0;
/** Make the field of text work. */
export function start() {
  $("#text").addEventListener("input", () => {
    clearTimeout(timer);
    timer = setTimeout(tokenize, 200);
  });
}
