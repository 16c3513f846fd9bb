// The studio: four tools, one panel each.

import "./page.js";
import { notice } from "./api.js";
import { $ } from "./dom.js";
import * as drawing from "./drawing.js";
import * as mesh from "./mesh.js";
import * as speak from "./speak.js";
import { tabs } from "./tabs.js";
import * as transcribe from "./transcribe.js";

const show = tabs($('[role="tablist"]'), (id) => history.replaceState(null, "", `#${id.slice(4)}`));
function follow() {
  const id = `tab-${location.hash.slice(1)}`;
  if ($(`[role="tab"][id="${CSS.escape(id)}"]`)) show(id);
}
follow();
addEventListener("hashchange", follow);

for (const { start } of [transcribe, speak, drawing, mesh]) {
  try {
    await start();
  } catch (error) {
    $("#main").firstElementChild.append(notice(error));
    break;
  }
}
document.body.dataset.ready = "true";
