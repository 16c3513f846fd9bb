// A picture of sizes: each rectangle's area is a share of the whole, and nearly a square.

import { s } from "./dom.js";

/** Rectangles for items of a `size`, the largest first, that fill a rectangle. */
export function squarify(items, { x, y, width, height }) {
  const wanted = items.filter((item) => item.size > 0).sort((one, other) => other.size - one.size);
  const total = wanted.reduce((sum, item) => sum + item.size, 0);
  const scale = (width * height) / total;
  const placed = [];
  let at = 0;
  while (at < wanted.length) {
    const side = Math.min(width, height);
    let row = [];
    let area = 0;
    let worst = Infinity;
    while (at + row.length < wanted.length) {
      const next = wanted[at + row.length].size * scale;
      const largest = (row[0]?.size ?? wanted[at].size) * scale;
      const grown = area + next;
      const shape = Math.max((side * side * largest) / (grown * grown), (grown * grown) / (side * side * next));
      if (shape > worst) break;
      worst = shape;
      area = grown;
      row = wanted.slice(at, at + row.length + 1);
    }
    const depth = area / side;
    let along = 0;
    for (const item of row) {
      const length = (item.size * scale) / depth;
      placed.push(width >= height ? { item, x, y: y + along, width: depth, height: length } : { item, x: x + along, y, width: length, height: depth });
      along += length;
    }
    if (width >= height) [x, width] = [x + depth, Math.max(0, width - depth)];
    else [y, height] = [y + depth, Math.max(0, height - depth)];
    at += row.length;
  }
  return placed;
}

/** Tensors of one layer lie together: `blk.7.` is a group. */
function groupsOf(tensors) {
  const groups = new Map();
  for (const tensor of tensors) {
    const name = /^(?:\w+\.)*?(?:blk|layers|block)\.\d+\./.exec(tensor.name)?.[0] ?? tensor.name;
    const group = groups.get(name) ?? { name, size: 0, tensors: [] };
    group.size += tensor.bytes;
    group.tensors.push({ ...tensor, size: tensor.bytes, tensor });
    groups.set(name, group);
  }
  return [...groups.values()];
}

/** The picture of a model's tensors, which pointer and arrow keys walk. */
export class Treemap {
  #svg;
  #places = new Map();
  #chosen = null;
  #mark = s("rect", { class: "mark", "aria-hidden": "true" });
  #told;

  constructor(svg, told) {
    this.#svg = svg;
    this.#told = told;
    const of = (event) => event.target.closest?.("rect")?.getAttribute("data-name");
    svg.addEventListener("pointerover", (event) => of(event) && this.choose(of(event)));
    svg.addEventListener("focusin", (event) => of(event) && this.choose(of(event)));
    svg.addEventListener("keydown", (event) => this.#walk(event));
  }

  draw(tensors, tintOf, labelOf) {
    this.#places.clear();
    this.#chosen = null;
    const { width, height } = this.#svg.viewBox.baseVal;
    const shapes = squarify(groupsOf(tensors), { x: 0, y: 0, width, height }).flatMap((outer) => {
      const inner = { x: outer.x + 1, y: outer.y + 1, width: Math.max(0.5, outer.width - 2), height: Math.max(0.5, outer.height - 2) };
      return squarify(outer.item.tensors, inner).map((place) => this.#shape(place, tintOf, labelOf));
    });
    this.#svg.replaceChildren(...shapes);
    this.#mark.remove();
    shapes[0]?.setAttribute("tabindex", "0");
  }

  #shape({ item: { tensor }, x, y, width, height }, tintOf, labelOf) {
    const element = s("rect", {
      x: x.toFixed(2), y: y.toFixed(2), width: width.toFixed(2), height: height.toFixed(2), class: `tint-${tintOf(tensor)}`,
      role: "option", "aria-label": labelOf(tensor), "aria-selected": "false", tabindex: "-1", "data-name": tensor.name,
    });
    this.#places.set(tensor.name, { element, tensor, x: x + width / 2, y: y + height / 2 });
    return element;
  }

  choose(name) {
    const place = this.#places.get(name);
    if (!place || place === this.#chosen) return;
    this.#chosen?.element.setAttribute("aria-selected", "false");
    for (const element of this.#svg.querySelectorAll('[tabindex="0"]')) element.setAttribute("tabindex", "-1");
    this.#chosen = place;
    place.element.setAttribute("aria-selected", "true");
    place.element.setAttribute("tabindex", "0");
    // Neighbours would cover the edge of the chosen one: it is drawn last, above all.
    for (const name of ["x", "y", "width", "height"]) this.#mark.setAttribute(name, place.element.getAttribute(name));
    this.#svg.append(this.#mark);
    this.#told(place.tensor);
  }

  #walk(event) {
    const way = { ArrowRight: [1, 0], ArrowLeft: [-1, 0], ArrowDown: [0, 1], ArrowUp: [0, -1] }[event.key];
    if (!way || !this.#chosen) return;
    event.preventDefault();
    const from = this.#chosen;
    let best = null;
    let least = Infinity;
    for (const place of this.#places.values()) {
      const along = (place.x - from.x) * way[0] + (place.y - from.y) * way[1];
      const aside = Math.abs((place.x - from.x) * way[1]) + Math.abs((place.y - from.y) * way[0]);
      if (along > 0.01 && along + 2.5 * aside < least) [best, least] = [place, along + 2.5 * aside];
    }
    best?.element.focus();
  }
}
