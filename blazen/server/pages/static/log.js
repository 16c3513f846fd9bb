// What the manager did, in sentences.

import { h } from "./dom.js";
import { bytes } from "./format.js";

const MOST = 300;
const WORDS = {
  registered: ["", () => "is known now"],
  unregistered: ["", () => "was removed"],
  waiting: ["info", () => "waits"],
  loading: ["info", () => "is being loaded"],
  loaded: ["good", ({ seconds }) => `is loaded${seconds ? `, after ${seconds.toFixed(2)} s` : ""}`],
  load_failed: ["bad", () => "could not be loaded"],
  retrying: ["warn", () => "ran out of memory, and is tried once more"],
  evicting: ["warn", ({ by }) => `goes to make room${by ? ` for ${by}` : ""}`],
  unloading: ["", () => "is being unloaded"],
  unloaded: ["", () => "is unloaded"],
  unload_failed: ["bad", () => "could not be unloaded"],
  crashed: ["bad", () => "lost its worker process"],
  restoring: ["info", () => "is brought back"],
  quarantined: ["warn", () => "did not give all memory back"],
  reclaimed: ["good", () => "gave memory back late"],
  mismatch: ["warn", () => "takes other memory than was declared"],
  thrashing: ["warn", () => "keeps coming back: the pool is too small"],
  spilled: ["info", ({ by }) => `was busy: ${by} answered instead`],
  adjusted: ["", () => "was set"],
  refused: ["bad", () => "could not serve a request"],
};

/** One line of the log, the newest first. */
export function add(log, event, nameOf) {
  const [colour, say] = WORDS[event.kind] ?? ["", () => event.kind];
  const sizes = Object.entries(event.bytes ?? {}).map(([pool, size]) => `${bytes(size)} in ${pool}`).join(", ");
  const more = [event.detail, sizes].filter(Boolean).join(" · ");
  const time = new Date(1000 * event.at);
  log.prepend(h("li", { "data-kind": event.kind },
    h("time", { class: "number muted", datetime: time.toISOString() }, time.toLocaleTimeString("en-GB")),
    h("span", { class: `chip ${colour}` }, event.kind.replaceAll("_", " ")),
    h("span", {}, h("strong", {}, nameOf(event.id)), ` ${say({ ...event, by: event.by && nameOf(event.by) })}`, more && h("span", { class: "muted" }, ` (${more})`))));
  while (log.children.length > MOST) log.lastChild.remove();
}
