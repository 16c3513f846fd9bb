// Markdown of a model as elements. Nothing becomes markup, and nothing is fetched.

import { button, copy, h } from "./dom.js";
import { inline } from "./markdown-inline.js";

const FENCE = /^( {0,3})(`{3,}|~{3,})\s*([^`\s]*)[^`]*$/;
const HEADING = /^ {0,3}(#{1,6})\s+(.*?)\s*#*\s*$/;
const ITEM = /^( *)([-*+]|\d{1,9}[.)])(\s+|$)(.*)$/;
const RULE = /^ {0,3}([-*_])\s*(?:\1\s*){2,}$/;
const QUOTE = /^ {0,3}> ?(.*)$/;
const DIVIDER = /^ *\|? *:?-+:? *(\| *:?-+:? *)*\|? *$/;
const DEEPEST = 12;

/** Split a text into blocks: `{kind, lines, …}`. What is equal to before need not be drawn again. */
export function blocks(text) {
  const lines = text.replaceAll("\r\n", "\n").replaceAll("\t", "    ").split("\n");
  const found = [];
  let at = 0;
  while (at < lines.length) {
    const start = at;
    if (!lines[at].trim()) {
      at += 1;
      continue;
    }
    const [kind, end] = blockAt(lines, at);
    at = end;
    found.push({ kind, source: lines.slice(start, at).join("\n") });
  }
  return found;
}

function blockAt(lines, at) {
  const line = lines[at];
  const fence = FENCE.exec(line);
  if (fence) return ["code", fenceEnd(lines, at, fence[2])];
  if (HEADING.test(line)) return ["heading", at + 1];
  if (RULE.test(line)) return ["rule", at + 1];
  if (QUOTE.test(line)) return ["quote", until(lines, at, (next) => !next.trim())];
  if (ITEM.test(line)) return ["list", listEnd(lines, at)];
  if (line.includes("|") && DIVIDER.test(lines[at + 1] ?? "") && lines[at + 1].includes("-")) {
    return ["table", until(lines, at, (next) => !next.includes("|"))];
  }
  return ["paragraph", until(lines, at, breaksParagraph)];
}

function until(lines, at, ends) {
  let end = at + 1;
  while (end < lines.length && !ends(lines[end])) end += 1;
  return end;
}

function breaksParagraph(line) {
  return !line.trim() || FENCE.test(line) || HEADING.test(line) || RULE.test(line) || QUOTE.test(line) || /^ {0,3}([-*+]|1[.)])\s+\S/.test(line);
}

function fenceEnd(lines, at, mark) {
  let end = at + 1;
  while (end < lines.length) {
    const closing = lines[end].trim();
    end += 1;
    if (closing.length >= mark.length && closing === mark[0].repeat(closing.length)) break;
  }
  return end;
}

function listEnd(lines, at) {
  const [, { length: base }, mark] = ITEM.exec(lines[at]);
  const isOther = (line) => {
    const item = ITEM.exec(line);
    return item !== null && item[1].length <= base && /\d/.test(item[2]) !== /\d/.test(mark);
  };
  let end = at + 1;
  while (end < lines.length) {
    const line = lines[end];
    const indent = line.length - line.trimStart().length;
    if (!line.trim()) {
      const next = lines[end + 1] ?? "";
      const deeper = next.length - next.trimStart().length > base;
      if (!next.trim() || !(deeper || ITEM.test(next)) || isOther(next)) break;
    } else if (isOther(line)) break;
    else if (indent <= base && !ITEM.test(line) && (HEADING.test(line) || FENCE.test(line) || RULE.test(line) || QUOTE.test(line))) break;
    else if (indent <= base && RULE.test(line)) break;
    end += 1;
  }
  return end;
}

/** The elements of a text. */
export function render(text, depth = 0) {
  return blocks(text).map((block) => draw(block, depth));
}

function draw({ kind, source }, depth) {
  if (depth > DEEPEST) return h("p", {}, source);
  switch (kind) {
    case "code": return code(source);
    case "heading": return heading(source);
    case "rule": return h("hr");
    case "quote": return h("blockquote", {}, render(source.split("\n").map((line) => QUOTE.exec(line)?.[1] ?? line).join("\n"), depth + 1));
    case "list": return list(source, depth);
    case "table": return table(source);
    default: return h("p", {}, inline(source.split("\n").map((line) => line.replace(/^ +/, "")).join("\n")));
  }
}

function heading(source) {
  const [, marks, text] = HEADING.exec(source);
  // A model's first heading may be of any rank; below the page's own they would not be in order.
  return h("p", { class: `heading rank-${marks.length}` }, h("strong", {}, inline(text)));
}

function code(source) {
  const lines = source.split("\n");
  const [, indent, mark, language] = FENCE.exec(lines[0]);
  const last = lines.at(-1).trim();
  const closed = lines.length > 1 && last.length >= mark.length && last === mark[0].repeat(last.length);
  const text = lines.slice(1, closed ? -1 : undefined).map((line) => (line.startsWith(indent) ? line.slice(indent.length) : line)).join("\n");
  return h("figure", { class: "code" },
    h("figcaption", {}, h("span", {}, language || "code"),
      button({ label: "Copy the code", picture: "copy", kind: "quiet small", onclick: () => copy(text) })),
    h("pre", { tabindex: "0", "aria-label": `Code${language ? `, ${language}` : ""}` }, h("code", {}, text)));
}

function list(source, depth) {
  const lines = source.split("\n");
  const [, first, mark] = ITEM.exec(lines[0]);
  const items = [];
  for (const line of lines) {
    const item = ITEM.exec(line);
    if (item && item[1].length <= first.length + 1) items.push({ indent: item[1].length + item[2].length + 1, lines: [item[4]] });
    else {
      const { indent, lines: held } = items.at(-1);
      held.push(line.slice(Math.min(indent, line.length - line.trimStart().length)));
    }
  }
  const ordered = /\d/.test(mark);
  const loose = /\n\s*\n/.test(source);
  const made = items.map(({ lines: held }) => itemOf(held.join("\n"), loose, depth));
  return ordered ? h("ol", { start: parseInt(mark, 10) === 1 ? null : parseInt(mark, 10) }, made) : h("ul", {}, made);
}

function itemOf(text, loose, depth) {
  const task = /^\[([ xX])\]\s+/.exec(text);
  const parts = render(task ? text.slice(task[0].length) : text, depth + 1);
  if (!loose && parts[0]?.tagName === "P" && !parts[0].className) parts.splice(0, 1, ...parts[0].childNodes);
  return h("li", {}, task && (task[1] === " " ? "☐ " : "☑ "), parts);
}

function table(source) {
  const rows = source.split("\n").map(cells);
  const sides = rows[1].map((cell) => (cell.endsWith(":") ? (cell.startsWith(":") ? "middle" : "right") : null));
  const row = (found, tag) => h("tr", {}, rows[0].map((_, column) =>
    h(tag, { class: sides[column], scope: tag === "th" ? "col" : null }, inline(found[column] ?? ""))));
  return h("div", { class: "scroll", tabindex: "0", role: "group", "aria-label": "Table" },
    h("table", {}, h("thead", {}, row(rows[0], "th")), h("tbody", {}, rows.slice(2).map((found) => row(found, "td")))));
}

function cells(line) {
  return line.trim().replace(/^\|/, "").replace(/(?<!\\)\|$/, "").split(/(?<!\\)\|/).map((cell) => cell.trim().replaceAll("\\|", "|"));
}

/** Draws a text that grows: only what changed is made anew, so that a selection above stays. */
export class Growing {
  #place;
  #drawn = [];

  constructor(place) {
    this.#place = place;
  }

  show(text) {
    const wanted = blocks(text);
    let same = 0;
    while (same < this.#drawn.length && same < wanted.length && this.#drawn[same].source === wanted[same].source && this.#drawn[same].kind === wanted[same].kind) same += 1;
    for (const { element } of this.#drawn.splice(same)) element.remove();
    for (const block of wanted.slice(same)) {
      const element = draw(block, 0);
      this.#place.append(element);
      this.#drawn.push({ ...block, element });
    }
  }
}
