// Conversations as a file: what was exported comes back, and nothing else comes with it.

import { NUMBERS } from "./chat-settings.js";
import { fresh } from "./chats.js";

const text = (value, most = Infinity) => (typeof value === "string" ? value.slice(0, most) : "");
const isObject = (value) => typeof value === "object" && value !== null && !Array.isArray(value);

function messageOf(given) {
  if (!isObject(given) || !["user", "assistant"].includes(given.role) || typeof given.text !== "string") {
    throw new Error("A message in it has no role or no text.");
  }
  const made = { role: given.role, text: given.text };
  if (given.role === "assistant") made.model = text(given.model, 200) || "unknown";
  if (typeof given.reasoning === "string") made.reasoning = given.reasoning;
  if (given.stopped === true) made.stopped = true;
  // Pictures within the file alone: one by its address would be fetched from elsewhere.
  const images = (Array.isArray(given.images) ? given.images : []).filter((url) => typeof url === "string" && /^data:image\/(png|jpeg|webp|gif);base64,/.test(url));
  if (images.length) made.images = images;
  if (isObject(given.stats)) made.stats = Object.fromEntries(Object.entries(given.stats).filter(([, value]) => typeof value === "number" || value === true));
  return made;
}

function chatOf(given) {
  if (!isObject(given) || !Array.isArray(given.messages)) throw new Error("It holds no conversation that was exported here.");
  const made = fresh(text(given.model, 200));
  const options = isObject(given.options) ? given.options : {};
  for (const name of NUMBERS) if (Number.isFinite(options[name])) made.options[name] = options[name];
  if (options.thinking === true) made.options.thinking = true;
  if (typeof options.voice === "string") made.options.voice = options.voice;
  for (const name of ["created", "changed"]) if (Number.isFinite(given[name])) made[name] = Math.min(made[name], given[name]);
  return { ...made, id: /^\w{1,40}$/.test(given.id) ? given.id : made.id, title: text(given.title, 120), system: text(given.system), messages: given.messages.map(messageOf) };
}

/** The conversations of a file that was exported: one, or a list of them. */
export function read(written) {
  let found;
  try {
    found = JSON.parse(written);
  } catch {
    throw new Error("It is no JSON.");
  }
  return (Array.isArray(found) ? found : [found]).map(chatOf);
}
