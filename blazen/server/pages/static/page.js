// What every page does: the switch of colours.

import { $, announce, icon } from "./dom.js";
import { remember, remembered } from "./kept.js";

const ORDER = ["auto", "light", "dark"];
const NAMES = { auto: "as the system", light: "light", dark: "dark" };

function show(choice) {
  if (choice === "auto") delete document.documentElement.dataset.theme;
  else document.documentElement.dataset.theme = choice;
  const switcher = $("#theme");
  switcher.setAttribute("aria-label", `Colours: ${NAMES[choice]}`);
  switcher.title = `Colours: ${NAMES[choice]}`;
  switcher.replaceChildren(icon(choice));
}

let choice = remembered("blazen.theme");
if (!ORDER.includes(choice)) choice = "auto";
show(choice);
$("#theme").addEventListener("click", () => {
  choice = ORDER[(ORDER.indexOf(choice) + 1) % ORDER.length];
  remember("blazen.theme", choice);
  show(choice);
  announce(`Colours: ${NAMES[choice]}`);
});
