// Tokens with their probabilities: coloured, and with what else each might have been.

import { h } from "./dom.js";

/** The tokens of a piece of an answer, from either of OpenAI's shapes. */
export function tokensOf(choice) {
  const found = choice?.logprobs;
  if (found?.content) {
    return found.content.map(({ token, logprob, top_logprobs: top }) => ({
      text: token, chance: Math.exp(logprob), others: (top ?? []).map((other) => ({ text: other.token, chance: Math.exp(other.logprob) })),
    }));
  }
  return (found?.tokens ?? []).map((text, index) => ({
    text, chance: Math.exp(found.token_logprobs[index] ?? 0),
    others: Object.entries(found.top_logprobs?.[index] ?? {}).map(([other, logprob]) => ({ text: other, chance: Math.exp(logprob) })),
  }));
}

/** A probability in words: 42.7 %. */
export const percent = (chance) => `${(100 * chance).toFixed(chance < 0.1 ? 2 : 1)} %`;

/** A token as it can be seen: spaces and line ends have signs. */
export const visible = (text) => (text === "" ? "(nothing)" : text.replaceAll("\n", "⏎").replaceAll("\t", "⇥").replaceAll(" ", "␣"));

const shade = (chance) => `p${chance >= 0.9 ? 4 : chance >= 0.6 ? 3 : chance >= 0.3 ? 2 : chance >= 0.1 ? 1 : 0}`;

/** A row of tokens that the pointer and the arrow keys walk. */
export class TokenRow {
  #place;
  #detail;
  #tokens = [];
  #at = -1;

  constructor(place, detail) {
    this.#place = place;
    this.#detail = detail;
    const of = (event) => [...place.children].indexOf(event.target.closest('[role="option"]'));
    place.addEventListener("pointerover", (event) => of(event) >= 0 && this.#choose(of(event)));
    place.addEventListener("focusin", (event) => of(event) >= 0 && this.#choose(of(event)));
    place.addEventListener("keydown", (event) => this.#walk(event));
  }

  get tokens() {
    return this.#tokens;
  }

  clear() {
    this.#tokens = [];
    this.#at = -1;
    this.#place.replaceChildren();
    this.#detail.replaceChildren();
  }

  add(tokens) {
    for (const token of tokens) {
      const element = h("span", {
        role: "option", class: `token ${shade(token.chance)}`, tabindex: this.#tokens.length ? "-1" : "0", "aria-selected": "false",
        "aria-label": `${visible(token.text)}, ${percent(token.chance)}`,
      }, token.text.replaceAll("\n", "⏎\n") || "∅");
      this.#tokens.push(token);
      this.#place.append(element);
    }
  }

  /** Text without probabilities, from a model that does not give them. */
  addText(text) {
    this.#place.append(h("span", { class: "plain" }, text));
  }

  #walk(event) {
    const last = this.#tokens.length - 1;
    const to = { ArrowRight: this.#at + 1, ArrowDown: this.#at + 1, ArrowLeft: this.#at - 1, ArrowUp: this.#at - 1, Home: 0, End: last }[event.key];
    if (to === undefined || last < 0) return;
    event.preventDefault();
    this.#place.children[Math.max(0, Math.min(last, to))].focus();
  }

  #choose(at) {
    if (at === this.#at || !this.#tokens[at]) return;
    const options = this.#place.children;
    if (options[this.#at]) {
      options[this.#at].setAttribute("aria-selected", "false");
      options[this.#at].tabIndex = -1;
    }
    this.#at = at;
    options[at].setAttribute("aria-selected", "true");
    options[at].tabIndex = 0;
    const token = this.#tokens[at];
    const seen = token.others.some((other) => other.text === token.text);
    const rows = (seen ? token.others : [token, ...token.others]).toSorted((one, other) => other.chance - one.chance);
    this.#detail.replaceChildren(
      h("p", { class: "small" }, "Token ", h("strong", {}, String(at + 1)), " · ", h("code", {}, visible(token.text)), ` · ${percent(token.chance)}`),
      h("table", {}, h("thead", { class: "hidden" }, h("tr", {}, h("th", {}, "Token"), h("th", {}, "Probability"))),
        h("tbody", {}, rows.map((row) => h("tr", { class: row.text === token.text ? "taken" : null },
          h("th", { scope: "row" }, h("code", {}, visible(row.text))),
          h("td", {}, h("div", { class: "bar-cell" }, bar(row.chance), h("span", { class: "number" }, percent(row.chance)))))))));
  }
}

function bar(chance) {
  const made = h("i", { class: "meter", "aria-hidden": "true" });
  made.style.setProperty("--part", `${100 * chance}%`);
  return made;
}
