// Talks to the server that sent this page: the key where one is set, errors in words, streams.

import { ask, h } from "./dom.js";
import { remember, remembered } from "./kept.js";

const KEY = "blazen.key";

/** What went wrong, in words, and what to do. */
export class ApiError extends Error {
  constructor(status, message, advice) {
    super(message);
    this.status = status;
    this.advice = advice;
  }
}

const ADVICE = {
  0: "Is the server still running? Start it with “blazen serve” and try again.",
  400: "Change the request and send it again.",
  403: "The server does not allow this from here; its log says why.",
  404: "The models page lists what there is.",
  413: "Send less: the server's limits are set with “blazen serve”.",
  429: "The server is busy. Wait a moment and try again.",
  500: "The server's log says more.",
  503: "The server has no room now. Unload a model on the models page, or wait.",
};

function adviceFor(status) {
  return ADVICE[status] ?? (status >= 500 ? ADVICE[500] : ADVICE[400]);
}

function messageIn(body, status) {
  const error = body?.error;
  return error?.message ?? (typeof error === "string" ? error : null) ?? body?.message ?? body?.detail ?? `The server answered ${status}.`;
}

let asking = null;
function askForKey(refused) {
  // Several requests may find the door shut at once: they wait for one answer.
  asking ??= ask({
    title: "This server wants a key",
    yes: "Use this key",
    body: h("div", { class: "stack" },
      refused && h("p", { class: "notice bad", role: "alert" }, "The server did not take that key."),
      h("p", { class: "muted" }, "It was set where the server was started, as BLAZEN_SERVER_KEY or with --api-key-file. It stays in this tab, and is forgotten with it."),
      h("label", { class: "field" }, "API key", h("input", { name: "key", type: "password", autocomplete: "off", required: true }))),
    read: (dialog) => dialog.querySelector("input").value.trim(),
  }).finally(() => (asking = null));
  return asking;
}

const keyNow = () => remembered(KEY, "sessionStorage");

async function send(path, { method, json, body, signal, key }) {
  const headers = key ? { Authorization: `Bearer ${key}` } : {};
  if (json !== undefined) headers["Content-Type"] = "application/json";
  try {
    return await fetch(path, { method, headers, signal, body: json === undefined ? body : JSON.stringify(json) });
  } catch (error) {
    if (error.name === "AbortError") throw error;
    throw new ApiError(0, "The server does not answer.", adviceFor(0));
  }
}

/** A request; gives the response, or throws an ApiError. */
export async function request(path, { json, body, signal, method = json || body ? "POST" : "GET" } = {}) {
  let key = keyNow();
  let response = await send(path, { method, json, body, signal, key });
  while (response.status === 401) {
    // Another request may have got the key meanwhile.
    if (key === keyNow()) {
      const given = await askForKey(Boolean(key));
      if (given === null) throw new ApiError(401, "The server wants an API key.", "Reload the page to enter it.");
      remember(KEY, given, "sessionStorage");
    }
    key = keyNow();
    response = await send(path, { method, json, body, signal, key });
  }
  if (response.ok) return response;
  const text = await response.text();
  let parsed = null;
  try {
    parsed = JSON.parse(text);
  } catch {
    // Not JSON: a proxy in between wrote it.
  }
  throw new ApiError(response.status, messageIn(parsed, response.status), adviceFor(response.status));
}

/** A request whose answer is JSON. */
export async function call(path, options) {
  return (await request(path, options)).json();
}

/** The server-sent events of a response, one by one: `{event, data}`. */
export async function* events(response) {
  const reader = response.body.pipeThrough(new TextDecoderStream()).getReader();
  let rest = "";
  try {
    for (;;) {
      const { done, value } = await reader.read().catch((error) => {
        if (error.name === "AbortError") throw error;
        throw new ApiError(0, "The connection to the server broke off.", "What was written so far is kept. Try again.");
      });
      if (done) return;
      rest += value.replaceAll("\r\n", "\n");
      for (let end = rest.indexOf("\n\n"); end >= 0; end = rest.indexOf("\n\n")) {
        const found = parse(rest.slice(0, end));
        rest = rest.slice(end + 2);
        if (found) yield found;
      }
    }
  } finally {
    await reader.cancel().catch(() => {});
  }
}

function parse(block) {
  let event = "message";
  const data = [];
  for (const line of block.split("\n")) {
    if (line.startsWith("event:")) event = line.slice(6).trim();
    else if (line.startsWith("data:")) data.push(line.slice(5).replace(/^ /, ""));
  }
  return data.length ? { event, data: data.join("\n") } : null;
}

/** The JSON pieces of an OpenAI stream, until it says that it is done. */
export async function* pieces(path, json, signal) {
  for await (const { event, data } of events(await request(path, { json, signal }))) {
    if (data === "[DONE]") return;
    const piece = JSON.parse(data);
    if (event === "error" || piece.error) {
      throw new ApiError(500, messageIn(piece, 500), "What was written so far is kept. Try again.");
    }
    yield piece;
  }
  throw new ApiError(0, "The answer broke off.", "What was written so far is kept. Try again.");
}

/** The models that the server knows, of some kinds. */
export async function models(...kinds) {
  const { models: found } = await call("api/models");
  return kinds.length ? found.filter((model) => kinds.includes(model.kind)) : found;
}

/** An error as a notice on the page. */
export function notice(error) {
  return h("div", { class: "notice bad", role: "alert" },
    h("strong", {}, error.message), error.advice && h("p", { class: "small" }, error.advice));
}
