// Conversations, kept in this browser and nowhere else.

const STORE = "chats";
const held = new Map();
// What a database does, in this tab alone: for browsers that forbid one.
const memory = { getAll: () => [...held.values()], get: (id) => held.get(id), put: (chat) => held.set(chat.id, chat), delete: (id) => held.delete(id) };
const others = new BroadcastChannel("blazen.chats");

let opened;
function open() {
  opened ??= new Promise((resolve) => {
    const none = () => resolve(null);
    try {
      const asked = indexedDB.open("blazen", 1);
      asked.onupgradeneeded = () => asked.result.createObjectStore(STORE, { keyPath: "id" });
      asked.onsuccess = () => resolve(asked.result);
      asked.onerror = none;
    } catch {
      none();
    }
  });
  return opened;
}

async function run(mode, work) {
  const database = await open();
  if (!database) return work(memory);
  const transaction = database.transaction(STORE, mode);
  const asked = work(transaction.objectStore(STORE));
  return new Promise((resolve, reject) => {
    transaction.oncomplete = () => resolve(asked.result);
    transaction.onerror = transaction.onabort = () => reject(transaction.error);
  });
}

/** Whether the browser keeps conversations longer than this page is open. */
export const lasting = async () => (await open()) !== null;

/** Call `changed(id)` when another tab saved or removed a conversation. */
export function watch(changed) {
  others.onmessage = ({ data }) => changed(data);
}

const newId = () => Array.from(crypto.getRandomValues(new Uint32Array(3)), (part) => part.toString(36)).join("");

/** A conversation without a message. */
export function fresh(model) {
  const now = Date.now();
  return { id: newId(), title: "", model, system: "", options: {}, messages: [], created: now, changed: now };
}

/** All conversations, the last changed first. */
export async function all() {
  return (await run("readonly", (store) => store.getAll())).sort((one, other) => other.changed - one.changed);
}

export const load = (id) => run("readonly", (store) => store.get(id));

/** Remove a conversation, for ever. */
export async function remove(id) {
  await run("readwrite", (store) => store.delete(id));
  others.postMessage(id);
}

/** Keep a conversation as it is now. */
export async function save(chat) {
  await run("readwrite", (store) => store.put(structuredClone(chat)));
  others.postMessage(chat.id);
}

/** Keep conversations of a file beside those that are there; gives how many were new. */
export async function add(chats) {
  let added = 0;
  for (const chat of chats) {
    const same = await load(chat.id);
    if (same && JSON.stringify(same.messages) === JSON.stringify(chat.messages)) continue;
    await save(same ? { ...chat, id: newId() } : chat);
    added += 1;
  }
  return added;
}

/** What a conversation is called before somebody names it: the beginning of its first message. */
export function titleOf(chat) {
  if (chat.title) return chat.title;
  const first = chat.messages.find((message) => message.role === "user")?.text.trim().replace(/\s+/g, " ") ?? "";
  if (!first) return chat.messages.length ? "A picture" : "New conversation";
  return first.length > 48 ? `${first.slice(0, 47)}…` : first;
}
