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
if ($(`[id="tab-${CSS.escape(location.hash.slice(1))}"]`)) show(`tab-${location.hash.slice(1)}`);

for (const { start } of [transcribe, speak, drawing, mesh]) {
  try {
    await start();
  } catch (error) {
    $("#main").firstElementChild.append(notice(error));
    break;
  }
}
document.body.dataset.ready = "true";
