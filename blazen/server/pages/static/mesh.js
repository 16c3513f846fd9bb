// A picture to a mesh, and any GLB file on the screen.

import { notice, request } from "./api.js";
import { $, download, h } from "./dom.js";
import { bytes, count } from "./format.js";
import { read } from "./glb.js";
import { fill, nothing } from "./picker.js";
import { dataUrl } from "./pictures.js";
import { Viewer } from "./viewer.js";

const panel = $("#mesh");
const form = $("form", panel);
const result = $(".result", panel);
let viewer = null;
let held = null;

async function show(blob, name) {
  const parts = await read(await blob.arrayBuffer()).catch((error) => {
    throw new Error(`“${name}” could not be read: ${error.message}`);
  });
  held = { blob, name };
  const triangles = parts.reduce((sum, { positions }) => sum + positions.length / 9, 0);
  const looks = [parts.some(({ colors }) => colors) && "vertex colours", parts.some(({ image }) => image) && "a texture"].filter(Boolean);
  $("#mesh-facts").textContent = `${name}: ${count(triangles)} triangles, ${bytes(blob.size)}${looks.length ? `, with ${looks.join(" and ")}` : ""}`;
  $(".given", panel).hidden = false;
  // Last: where there is no WebGL the mesh can still be saved.
  $(".reset", panel).hidden = true;
  viewer ??= new Viewer($("#view"));
  viewer.show(parts);
  $(".reset", panel).hidden = false;
}

async function guarded(work) {
  const pressed = $(".primary", form);
  const before = pressed.disabled;
  pressed.disabled = true;
  try {
    await work();
    result.replaceChildren();
  } catch (error) {
    result.replaceChildren(notice(error));
  }
  pressed.disabled = before;
}

function send(event) {
  event.preventDefault();
  return guarded(async () => {
    const picture = form.elements.picture.files[0];
    if (!picture) throw Object.assign(new Error("There is no picture yet."), { advice: "Choose one with a single thing on it." });
    result.replaceChildren(h("span", { class: "muted" }, "Making a mesh… without a graphics card this takes minutes."));
    const json = { image: await dataUrl(picture), model: form.elements.model.value, format: "glb" };
    if (form.elements.resolution.value) json.resolution = form.elements.resolution.valueAsNumber;
    for (const name of ["remove_background", "texture"]) if (form.elements[name].checked) json[name] = true;
    const response = await request("api/mesh", { json });
    await show(await response.blob(), `${picture.name.replace(/\.\w+$/, "")}.glb`);
  });
}

/** Make the panel work. */
export async function start() {
  form.addEventListener("submit", send);
  form.elements.glb.addEventListener("change", ({ target }) => target.files[0] && guarded(() => show(target.files[0], target.files[0].name)));
  $(".reset", panel).addEventListener("click", () => viewer.reset());
  $(".save", panel).addEventListener("click", () => download(held.name, held.blob));
  const found = await fill(form.elements.model, ["three_d"]);
  $(".primary", form).disabled = !found.size;
  if (!found.size) result.replaceChildren(nothing("three_d"));
}
