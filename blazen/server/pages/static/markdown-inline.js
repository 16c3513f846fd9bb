// What stands within a line of Markdown: code, emphasis, links.

import { h } from "./dom.js";

const ESCAPED = /\\([\\`*_{}[\]()#+\-.!|~<>"'$&,/:;=?@^%])/y;
const CODE = /(`+)([^`]|[^`][\s\S]{0,1500}?[^`])\1(?!`)/y;
const LINK = /!?\[((?:[^[\]\\]|\\.|\[[^[\]]*\])*)\]\(\s*<?([^\s()<>]*(?:\([^\s()<>]*\)[^\s()<>]*)*)>?(?:\s+["'][^"']*["'])?\s*\)/y;
const ANGLE = /<((?:https?:\/\/|mailto:)[^\s<>]+)>/y;
const BARE = /https?:\/\/[^\s<>"')\]]*[^\s<>"')\].,;:!?*_]/y;
const STRONG = /(\*\*|__)(?=\S)([\s\S]{0,1500}?\S)\1(?!\*)/y;
const WEAK = /(\*|_)(?=\S)([\s\S]{0,1500}?[^\s*_])\1(?![\w*_])/y;
const GONE = /~~(?=\S)([\s\S]{0,1500}?\S)~~/y;
const BREAK = /( {2,}|\\)\n/y;
const PLAIN = /[^\\`*_~<![h \n]+|[\s\S]/y;
const DEEPEST = 8;

function match(pattern, text, at) {
  pattern.lastIndex = at;
  return pattern.exec(text);
}

/** The nodes of one run of text. */
export function inline(text, depth = 0) {
  if (depth > DEEPEST) return [text];
  const found = [];
  let at = 0;
  while (at < text.length) {
    const [nodes, length] = next(text, at, depth);
    at += length;
    for (const node of nodes) {
      if (typeof node === "string" && typeof found.at(-1) === "string") found[found.length - 1] += node;
      else found.push(node);
    }
  }
  return found;
}

function next(text, at, depth) {
  const inner = (part) => inline(part, depth + 1);
  const inWord = /\w/.test(text[at - 1] ?? "");
  let hit;
  switch (text[at]) {
    case "\\":
      if ((hit = match(BREAK, text, at))) return [[h("br")], hit[0].length];
      if ((hit = match(ESCAPED, text, at))) return [[hit[1]], hit[0].length];
      break;
    case "`":
      if ((hit = match(CODE, text, at))) return [[h("code", {}, hit[2].replace(/^ (.+) $/, "$1"))], hit[0].length];
      break;
    case "[":
    case "!":
      if ((hit = match(LINK, text, at))) return [[link(hit[2], inner(hit[1] || hit[2]))], hit[0].length];
      break;
    case "<":
      if ((hit = match(ANGLE, text, at))) return [[link(hit[1], [hit[1]])], hit[0].length];
      break;
    case "h":
      if (!inWord && (hit = match(BARE, text, at))) return [[link(hit[0], [hit[0]])], hit[0].length];
      break;
    case "*":
    case "_":
      if (text[at] === "_" && inWord) break;
      if ((hit = match(STRONG, text, at))) return [[h("strong", {}, inner(hit[2]))], hit[0].length];
      if ((hit = match(WEAK, text, at))) return [[h("em", {}, inner(hit[2]))], hit[0].length];
      break;
    case "~":
      if ((hit = match(GONE, text, at))) return [[h("del", {}, inner(hit[1]))], hit[0].length];
      break;
    case " ":
      if ((hit = match(BREAK, text, at))) return [[h("br")], hit[0].length];
      break;
  }
  hit = match(PLAIN, text, at);
  return [[hit[0]], hit[0].length];
}

/** A link that opens elsewhere; what is no plain address of the web stays text. */
function link(address, children) {
  if (!/^(https?:\/\/|mailto:)/i.test(address)) return h("span", {}, children);
  return h("a", { href: address, target: "_blank", rel: "noopener noreferrer nofollow" }, children);
}
