// Reads a GLB file: the triangles, normals, colours and texture of all its meshes.

import { identity, multiply, normalOf, normalTransform, transformOf, apply, turn } from "./matrix.js";

const MAGIC = 0x46546c67;
const JSON_CHUNK = 0x4e4f534a;
const BIN_CHUNK = 0x004e4942;
const ARRAYS = { 5120: Int8Array, 5121: Uint8Array, 5122: Int16Array, 5123: Uint16Array, 5125: Uint32Array, 5126: Float32Array };
const LARGEST = { 5120: 127, 5121: 255, 5122: 32767, 5123: 65535, 5125: 1 };
const WIDTH = { SCALAR: 1, VEC2: 2, VEC3: 3, VEC4: 4 };

/** The parts of a GLB file: `[{positions, normals, colors, coordinates, image, factor}]`, in the world's place. */
export async function read(buffer) {
  const { json, bin } = chunks(buffer);
  if (json.extensionsRequired?.length) throw new Error(`The file needs ${json.extensionsRequired.join(", ")}, which this viewer does not know.`);
  const parts = [];
  const scene = json.scenes?.[json.scene ?? 0]?.nodes ?? json.nodes?.map((_, index) => index) ?? [];
  for (const node of scene) await visit(json, bin, node, identity(), parts, 0);
  if (!parts.length) throw new Error("There is no triangle in the file.");
  return parts;
}

function chunks(buffer) {
  const view = new DataView(buffer);
  if (buffer.byteLength < 20 || view.getUint32(0, true) !== MAGIC) throw new Error("This is no GLB file.");
  let json = null;
  let bin = null;
  for (let at = 12; at + 8 <= buffer.byteLength; ) {
    const length = view.getUint32(at, true);
    const kind = view.getUint32(at + 4, true);
    if (at + 8 + length > buffer.byteLength) throw new Error("The GLB file ends too early.");
    if (kind === JSON_CHUNK) json = JSON.parse(new TextDecoder().decode(new Uint8Array(buffer, at + 8, length)));
    else if (kind === BIN_CHUNK) bin = buffer.slice(at + 8, at + 8 + length);
    at += 8 + length + ((4 - (length % 4)) % 4);
  }
  if (!json) throw new Error("The GLB file describes nothing.");
  return { json, bin };
}

async function visit(json, bin, index, parent, parts, depth) {
  const node = json.nodes?.[index];
  if (!node || depth > 64) return;
  const world = multiply(parent, transformOf(node));
  for (const primitive of json.meshes?.[node.mesh]?.primitives ?? []) {
    if ((primitive.mode ?? 4) === 4) parts.push(await partOf(json, bin, primitive, world));
  }
  for (const child of node.children ?? []) await visit(json, bin, child, world, parts, depth + 1);
}

function numbers(json, bin, index) {
  const accessor = json.accessors[index];
  const width = WIDTH[accessor.type];
  const Kind = ARRAYS[accessor.componentType];
  if (!width || !Kind || accessor.sparse) throw new Error("The file has numbers in a form that this viewer does not know.");
  const size = Kind.BYTES_PER_ELEMENT * width;
  const view = json.bufferViews[accessor.bufferView];
  const start = (view.byteOffset ?? 0) + (accessor.byteOffset ?? 0);
  const stride = view.byteStride ?? size;
  const packed = new Uint8Array(accessor.count * size);
  const source = new Uint8Array(bin, start, stride * (accessor.count - 1) + size);
  if (stride === size) packed.set(source);
  else for (let at = 0; at < accessor.count; at += 1) packed.set(source.subarray(at * stride, at * stride + size), at * size);
  const values = new Kind(packed.buffer);
  if (!accessor.normalized) return { values, width };
  return { values: Float32Array.from(values, (value) => Math.max(-1, value / LARGEST[accessor.componentType])), width };
}

async function partOf(json, bin, primitive, world) {
  const of = (name) => (primitive.attributes[name] === undefined ? null : numbers(json, bin, primitive.attributes[name]));
  const places = of("POSITION");
  const order = primitive.indices === undefined ? null : numbers(json, bin, primitive.indices).values;
  const count = order?.length ?? places.values.length / 3;
  const spread = ({ values, width }, wanted = width) => {
    const out = new Float32Array(count * wanted).fill(1);
    for (let at = 0; at < count; at += 1) for (let part = 0; part < Math.min(width, wanted); part += 1) out[at * wanted + part] = values[(order ? order[at] : at) * width + part];
    return out;
  };
  const positions = apply(world, spread(places));
  const given = of("NORMAL");
  const colors = of("COLOR_0");
  const coordinates = of("TEXCOORD_0");
  const material = json.materials?.[primitive.material]?.pbrMetallicRoughness ?? {};
  const texture = coordinates && material.baseColorTexture;
  return {
    positions,
    normals: given ? turn(normalTransform(world), spread(given)) : normalOf(positions),
    colors: colors && spread(colors, 4),
    coordinates: texture ? spread(coordinates) : null,
    image: texture ? await pictureOf(json, bin, texture.index) : null,
    factor: material.baseColorFactor ?? [1, 1, 1, 1],
  };
}

function pictureOf(json, bin, texture) {
  const image = json.images[json.textures[texture].source];
  // A picture by its address would be fetched from elsewhere: only those within the file are drawn.
  if (image.bufferView === undefined) return null;
  const view = json.bufferViews[image.bufferView];
  return createImageBitmap(new Blob([new Uint8Array(bin, view.byteOffset ?? 0, view.byteLength)], { type: image.mimeType }));
}
