// The memory pools as bars: each loaded model a part of them.

import { h } from "./dom.js";
import { bytes } from "./format.js";

/** One bar for each pool. */
export function draw(pools, models) {
  return pools.map((pool) => {
    const held = models.filter((model) => model.charges?.[pool.name] > 0).map((model, index) => ({ name: model.name, size: model.charges[pool.name], tint: `tint-${(index % 7) + 1}` }));
    const known = held.reduce((sum, { size }) => sum + size, 0) + (pool.quarantined ?? 0);
    const parts = [
      ...held,
      { name: "Reserved for loading", size: Math.max(0, pool.used - known), tint: "tint-8" },
      { name: "Not given back", size: pool.quarantined ?? 0, tint: "quarantined" },
      { name: "Other programs", size: pool.foreign ?? 0, tint: "foreign" },
    ].filter(({ size }) => size > 0);
    const free = Math.max(0, pool.budget - pool.used - (pool.foreign ?? 0));
    const bar = h("div", { class: "pool-bar", role: "img", "aria-label": `${pool.name}: ${bytes(pool.used)} of ${bytes(pool.budget)} used, ${bytes(free)} free` },
      parts.map(({ name, size, tint }) => {
        const part = h("i", { class: tint, title: `${name}: ${bytes(size)}` });
        part.style.width = `${Math.min(100, (100 * size) / pool.budget)}%`;
        return part;
      }));
    return h("article", { class: "card stack pool", "aria-label": `Pool ${pool.name}` },
      h("div", { class: "spread" }, h("h3", {}, pool.name), h("p", { class: "small number" }, h("strong", {}, bytes(pool.used)), ` of ${bytes(pool.budget)}, ${bytes(free)} free`)),
      bar,
      h("ul", { class: "legend" }, parts.length
        ? parts.map(({ name, size, tint }) => h("li", { class: "small" }, h("i", { class: `swatch ${tint}`, "aria-hidden": "true" }), `${name}: ${bytes(size)}`))
        : h("li", { class: "small muted" }, "Nothing is loaded.")));
  });
}
