// Asks a model for the next message, and fills it in as it comes.

import { pieces } from "./api.js";

function content({ text, images }) {
  if (!images?.length) return text;
  return [...images.map((url) => ({ type: "image_url", image_url: { url } })), ...(text ? [{ type: "text", text }] : [])];
}

/** The request for a conversation's next message. */
export function bodyOf(chat) {
  const said = chat.messages.filter((message) => message.role === "user" || message.text)
    .map((message) => ({ role: message.role, content: content(message) }));
  const system = chat.system.trim() ? [{ role: "system", content: chat.system }] : [];
  const { voice, ...options } = chat.options;
  return { model: chat.model, messages: [...system, ...said], stream: true, stream_options: { include_usage: true }, ...options };
}

/** Fill `message` with the answer; `grown()` is called after each piece. */
export async function answer(body, message, grown, signal) {
  const begun = performance.now();
  let first = null;
  let parts = 0;
  try {
    for await (const piece of pieces("v1/chat/completions", body, signal)) {
      const choice = piece.choices?.[0];
      const { content: text, reasoning_content: reasoning, refusal } = choice?.delta ?? {};
      if (text || reasoning || refusal) {
        first ??= performance.now();
        parts += 1;
        message.text += text ?? refusal ?? "";
        if (reasoning) message.reasoning = (message.reasoning ?? "") + reasoning;
      }
      if (choice?.finish_reason === "length") message.stats = { ...message.stats, cut: true };
      const tokens = piece.usage?.completion_tokens;
      if (tokens) message.stats = { ...message.stats, tokens };
      if (piece.timings) message.stats = { ...message.stats, first: piece.timings.first_token_ms, speed: piece.timings.tokens_per_second };
      grown();
    }
  } finally {
    // An answer that was stopped has no numbers of the server's: count what came.
    if (first !== null) {
      const seconds = (performance.now() - first) / 1000;
      message.stats = { tokens: parts, first: first - begun, speed: parts > 1 && seconds > 0 ? (parts - 1) / seconds : null, ...message.stats };
    }
  }
}
