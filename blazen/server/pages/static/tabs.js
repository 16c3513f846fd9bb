// Tabs: the arrow keys walk, and one panel is shown.

import { $, $$ } from "./dom.js";

/** Make a tab list work; gives `show(id)`. `shown(id)` is called with each tab that is opened. */
export function tabs(list, shown = () => {}) {
  const all = $$('[role="tab"]', list);
  const show = (id, focus = false) => {
    for (const tab of all) {
      const chosen = tab.id === id;
      tab.setAttribute("aria-selected", String(chosen));
      tab.tabIndex = chosen ? 0 : -1;
      $(`#${tab.getAttribute("aria-controls")}`).hidden = !chosen;
      if (chosen && focus) tab.focus();
    }
    shown(id);
  };
  list.addEventListener("click", (event) => {
    const tab = event.target.closest('[role="tab"]');
    if (tab) show(tab.id);
  });
  list.addEventListener("keydown", (event) => {
    const at = all.indexOf(document.activeElement);
    const to = { ArrowRight: at + 1, ArrowLeft: at - 1, Home: 0, End: all.length - 1 }[event.key];
    if (at < 0 || to === undefined) return;
    event.preventDefault();
    show(all[(to + all.length) % all.length].id, true);
  });
  return show;
}
