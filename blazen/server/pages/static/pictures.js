// Pictures that the user attaches: read, made small enough, and kept as data URLs.

const LARGEST = 1536;
export const KINDS = ["image/png", "image/jpeg", "image/webp", "image/gif"];

/** The pictures among files that were pasted, dropped or chosen. */
export function picturesIn(files) {
  return [...(files ?? [])].filter((file) => KINDS.includes(file.type));
}

/** A picture as a data URL, at most 1536 pixels to a side. */
export async function dataUrl(file) {
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
  canvas.getContext("2d").drawImage(bitmap, 0, 0, canvas.width, canvas.height);
  bitmap.close();
  return file.type === "image/jpeg" ? canvas.toDataURL("image/jpeg", 0.9) : canvas.toDataURL("image/png");
}
