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

/** Split a text into blocks, each with its place: `{kind, source, place}`. */
export function blocks(text) {
  const whole = text.split("\n");
  const lines = whole.map((line) => line.replace(/\r$/, "").replaceAll("\t", "    "));
  const found = [];
  let at = 0;
  let place = 0;
  while (at < lines.length) {
    const start = at;
    const [kind, end] = lines[at].trim() ? blockAt(lines, at) : [null, at + 1];
    at = end;
    if (kind) found.push({ kind, source: lines.slice(start, at).join("\n"), place });
    for (const line of whole.slice(start, at)) place += line.length + 1;
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
    case "quote": return quote(source, depth);
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

// Blocks that may grow long know how to: `grow(source)` is false where they have to be made anew.
const growers = new WeakMap();

function growing(element, grow) {
  growers.set(element, grow);
  return element;
}

function quote(source, depth) {
  const element = h("blockquote");
  const inner = new Growing(element, depth + 1);
  const grow = (given) => {
    inner.show(given.split("\n").map((line) => QUOTE.exec(line)?.[1] ?? line).join("\n"));
    return true;
  };
  grow(source);
  return growing(element, grow);
}

function codeIn(source) {
  const lines = source.split("\n");
  const [, indent, mark, language] = FENCE.exec(lines[0]);
  const last = lines.at(-1).trim();
  const closed = lines.length > 1 && last.length >= mark.length && last === mark[0].repeat(last.length);
  const text = lines.slice(1, closed ? -1 : undefined).map((line) => (line.startsWith(indent) ? line.slice(indent.length) : line)).join("\n");
  return { language, text };
}

function code(source) {
  const { language, text } = codeIn(source);
  const held = document.createTextNode(text);
  const element = h("figure", { class: "code" },
    h("figcaption", {}, h("span", {}, language || "code"),
      button({ label: "Copy the code", picture: "copy", kind: "quiet small", onclick: () => copy(held.data) })),
    h("pre", { tabindex: "0", "aria-label": `Code${language ? `, ${language}` : ""}` }, h("code", {}, held)));
  return growing(element, (given) => {
    const now = codeIn(given);
    if (now.language !== language || !now.text.startsWith(held.data)) return false;
    held.appendData(now.text.slice(held.length));
    return true;
  });
}

/** Keep the children that are the same as before, and make the others. */
function renew(parent, before, now, make) {
  let same = 0;
  while (same < before.length && same < now.length && before[same] === now[same]) same += 1;
  while (parent.children.length > same) parent.lastChild.remove();
  parent.append(...now.slice(same).map(make));
}

function itemsIn(source) {
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
  const start = /\d/.test(mark) ? parseInt(mark, 10) : null;
  return { start, loose: /\n\s*\n/.test(source), items: items.map(({ lines: held }) => held.join("\n")) };
}

function list(source, depth) {
  const { start, loose, items } = itemsIn(source);
  const make = (item) => itemOf(item, loose, depth);
  const element = start === null ? h("ul") : h("ol", { start: start === 1 ? null : start });
  element.append(...items.map(make));
  let before = items;
  return growing(element, (given) => {
    const now = itemsIn(given);
    if (now.start !== start || now.loose !== loose) return false;
    renew(element, before, now.items, make);
    before = now.items;
    return true;
  });
}

function itemOf(text, loose, depth) {
  const task = /^\[([ xX])\]\s+/.exec(text);
  const parts = render(task ? text.slice(task[0].length) : text, depth + 1);
  if (!loose && parts[0]?.tagName === "P" && !parts[0].className) parts.splice(0, 1, ...parts[0].childNodes);
  return h("li", {}, task && (task[1] === " " ? "☐ " : "☑ "), parts);
}

function table(source) {
  const [first, second, ...rest] = source.split("\n");
  const names = cells(first);
  const sides = cells(second).map((cell) => (cell.endsWith(":") ? (cell.startsWith(":") ? "middle" : "right") : null));
  const row = (found, tag) => h("tr", {}, names.map((_, column) =>
    h(tag, { class: sides[column], scope: tag === "th" ? "col" : null }, inline(found[column] ?? ""))));
  const make = (line) => row(cells(line), "td");
  const body = h("tbody", {}, rest.map(make));
  let before = rest;
  const element = h("div", { class: "scroll", tabindex: "0", role: "group", "aria-label": "Table" },
    h("table", {}, h("thead", {}, row(names, "th")), body));
  return growing(element, (given) => {
    const [head, divider, ...now] = given.split("\n");
    if (head !== first || divider !== second) return false;
    renew(body, before, now, make);
    before = now;
    return true;
  });
}

function cells(line) {
  return line.trim().replace(/^\|/, "").replace(/(?<!\\)\|$/, "").split(/(?<!\\)\|/).map((cell) => cell.trim().replaceAll("\\|", "|"));
}

/** Draws a text that grows: only what changed is made anew, so that a selection above stays. */
export class Growing {
  #place;
  #depth;
  #text = "";
  #drawn = [];

  constructor(place, depth = 0) {
    this.#place = place;
    this.#depth = depth;
  }

  show(text) {
    // A line that is added can change what the last two blocks are, and nothing above them.
    const kept = text.startsWith(this.#text) ? Math.max(0, this.#drawn.length - 2) : 0;
    const from = kept ? this.#drawn[kept].place : 0;
    this.#text = text;
    const wanted = blocks(text.slice(from));
    const before = this.#drawn.splice(kept);
    let at = 0;
    while (at < before.length && at < wanted.length && isStill(before[at], wanted[at])) at += 1;
    for (const { element } of before.slice(at)) element.remove();
    wanted.forEach(({ kind, source, place }, index) => {
      const element = index < at ? before[index].element : draw({ kind, source }, this.#depth);
      if (index >= at) this.#place.append(element);
      this.#drawn.push({ kind, source, place: from + place, element });
    });
  }
}

/** Whether what was drawn for a block is, or has become, what the other wants. */
function isStill({ kind, source, element }, wanted) {
  if (kind !== wanted.kind) return false;
  return source === wanted.source || (growers.get(element)?.(wanted.source) ?? false);
}
