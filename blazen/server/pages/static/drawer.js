// The list of conversations: open, rename, delete, export.

import * as chats from "./chats.js";
import { notice } from "./api.js";
import { $, ask, button, download, h, toast } from "./dom.js";
import { read } from "./exchange.js";
import { day } from "./format.js";

const drawer = $("#drawer");
const opener = $("#drawer-open");

function toggle(open) {
  drawer.classList.toggle("open", open);
  opener.setAttribute("aria-expanded", String(open));
  if (open) $("#new").focus();
}
opener.addEventListener("click", () => toggle(!drawer.classList.contains("open")));
$("#drawer-close").addEventListener("click", () => (toggle(false), opener.focus()));
drawer.addEventListener("keydown", (event) => {
  if (event.key !== "Escape" || !drawer.classList.contains("open")) return;
  event.stopPropagation();
  toggle(false);
  opener.focus();
});
$("#main").addEventListener("pointerdown", ({ target }) => target.closest("#drawer-open") || toggle(false));
$("#export-all").addEventListener("click", async () =>
  download("conversations.json", JSON.stringify(await chats.all(), null, 2), "application/json"));

/** Let the user bring exported conversations back; `brought()` draws them. */
export function startImport(brought) {
  const files = $("#import-files");
  $("#import").addEventListener("click", () => files.click());
  files.addEventListener("change", async () => {
    const [file] = files.files;
    files.value = "";
    try {
      const added = await chats.add(read(await file.text()));
      toast(added === 1 ? "One conversation imported" : `${added || "No new"} conversations imported`);
      await brought();
    } catch (error) {
      await ask({ title: "This file could not be imported", yes: "Close", body: notice({ message: `“${file.name}”: ${error.message}`, advice: "Choose a JSON file that was exported on this page." }) });
    }
  });
}

/** Give the user one conversation as JSON. */
export function exportOne(chat) {
  const name = chats.titleOf(chat).replace(/[^\p{L}\p{N}]+/gu, "-").replace(/^-|-$/g, "").toLowerCase() || "conversation";
  download(`${name}.json`, JSON.stringify(chat, null, 2), "application/json");
}

/** Draw the list; `choose(chat)` opens one, `changed(id)` tells that one was renamed or deleted. */
export async function show(current, choose, changed) {
  const [found, lasting] = [await chats.all(), await chats.lasting()];
  let last = "";
  const rows = found.flatMap((chat) => {
    const when = day(chat.changed);
    const heading = when === last ? [] : [h("li", { class: "when" }, when)];
    last = when;
    return [...heading, row(chat, chat.id === current, choose, changed)];
  });
  const where = lasting ? "They are kept in this browser, and nowhere else." : "This browser keeps nothing for this page: they go with the tab. Export what you want to keep.";
  if (!rows.length || !lasting) rows.unshift(h("li", { class: "muted small" }, where));
  $("#chats").replaceChildren(...rows);
  $("#export-all").hidden = !found.length;
}

function row(chat, isCurrent, choose, changed) {
  const title = chats.titleOf(chat);
  return h("li", { class: isCurrent ? "chosen" : null },
    button({ text: title, kind: "quiet name", "aria-current": isCurrent ? "true" : null, onclick: () => (toggle(false), choose(chat)) }),
    button({ label: `Rename “${title}”`, picture: "edit", kind: "quiet small", onclick: () => rename(chat, changed) }),
    button({ label: `Delete “${title}”`, picture: "trash", kind: "quiet small", onclick: () => forget(chat, changed) }));
}

async function rename(chat, changed) {
  const title = await ask({
    title: "Rename the conversation", yes: "Rename",
    body: h("label", { class: "field" }, "Name", h("input", { value: chats.titleOf(chat), required: true, maxlength: 120 })),
    read: (dialog) => $("input", dialog).value.trim(),
  });
  if (!title) return;
  await chats.save({ ...(await chats.load(chat.id)), title });
  changed(chat.id);
}

async function forget(chat, changed) {
  const sure = await ask({
    title: "Delete the conversation?", yes: "Delete", danger: true,
    body: h("p", {}, `“${chats.titleOf(chat)}” is only in this browser. It can't be brought back.`),
  });
  if (!sure) return;
  await chats.remove(chat.id);
  changed(chat.id);
}
