// Pictures that the user attaches: read, made small enough, and kept as data URLs.

const LARGEST = 1536;
const LIGHT = 1_000_000;
export const KINDS = ["image/png", "image/jpeg", "image/webp", "image/gif"];

/** The pictures among files that were pasted, dropped or chosen. */
export function picturesIn(files) {
  return [...(files ?? [])].filter((file) => KINDS.includes(file.type));
}

/** A picture as a data URL, at most 1536 pixels to a side; `lightly`: a heavy one loses its transparency. */
export async function dataUrl(file, { lightly = false } = {}) {
  let bitmap;
  try {
    bitmap = await createImageBitmap(file);
  } catch {
    throw new Error(`“${file.name || "The picture"}” could not be read as a picture.`);
  }
  const scale = Math.min(1, LARGEST / Math.max(bitmap.width, bitmap.height));
  const canvas = document.createElement("canvas");
  canvas.width = Math.max(1, Math.round(bitmap.width * scale));
  canvas.height = Math.max(1, Math.round(bitmap.height * scale));
  const context = canvas.getContext("2d");
  context.drawImage(bitmap, 0, 0, canvas.width, canvas.height);
  bitmap.close();
  const whole = file.type === "image/jpeg" ? null : canvas.toDataURL("image/png");
  if (whole && !(lightly && whole.length > LIGHT)) return whole;
  context.globalCompositeOperation = "destination-over";
  context.fillStyle = "white";
  context.fillRect(0, 0, canvas.width, canvas.height);
  return canvas.toDataURL("image/jpeg", 0.9);
}
