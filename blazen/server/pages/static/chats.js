// Conversations, kept in this browser and nowhere else.

const STORE = "chats";

let opened;
function open() {
  opened ??= new Promise((resolve, reject) => {
    const asked = indexedDB.open("blazen", 1);
    asked.onupgradeneeded = () => asked.result.createObjectStore(STORE, { keyPath: "id" });
    asked.onsuccess = () => resolve(asked.result);
    asked.onerror = () => reject(asked.error);
  });
  return opened;
}

async function run(mode, work) {
  const transaction = (await open()).transaction(STORE, mode);
  const asked = work(transaction.objectStore(STORE));
  return new Promise((resolve, reject) => {
    transaction.oncomplete = () => resolve(asked.result);
    transaction.onerror = transaction.onabort = () => reject(transaction.error);
  });
}

/** A conversation without a message. */
export function fresh(model) {
  const now = Date.now();
  const letters = crypto.getRandomValues(new Uint32Array(3));
  return { id: Array.from(letters, (part) => part.toString(36)).join(""), title: "", model, system: "", options: {}, messages: [], created: now, changed: now };
}

/** All conversations, the last changed first. */
export async function all() {
  return (await run("readonly", (store) => store.getAll())).sort((one, other) => other.changed - one.changed);
}

export const load = (id) => run("readonly", (store) => store.get(id));
export const remove = (id) => run("readwrite", (store) => store.delete(id));

/** Keep a conversation as it is now. */
export function save(chat) {
  return run("readwrite", (store) => store.put(structuredClone(chat)));
}

/** What a conversation is called before somebody names it: the beginning of its first message. */
export function titleOf(chat) {
  if (chat.title) return chat.title;
  const first = chat.messages.find((message) => message.role === "user")?.text.trim().replace(/\s+/g, " ") ?? "";
  if (!first) return chat.messages.length ? "A picture" : "New conversation";
  return first.length > 48 ? `${first.slice(0, 47)}…` : first;
}
