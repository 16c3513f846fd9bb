// The chat: a conversation with a model, kept in this browser.

import "./page.js";
import { ApiError, models } from "./api.js";
import { hush, readAloud } from "./aloud.js";
import { answer, bodyOf } from "./answering.js";
import * as settings from "./chat-settings.js";
import * as chats from "./chats.js";
import * as composer from "./composer.js";
import { $, announce, button, h } from "./dom.js";
import * as drawer from "./drawer.js";
import { element } from "./messages.js";
import { paced } from "./pace.js";
import { fill, nothing } from "./picker.js";

const list = $("#messages");
const picker = $("#model");
const scroller = $("#scroller");
const IDEAS = ["Explain what a local language model is, in three sentences.", "Write a haiku about a candle.", "List five uses for text embeddings as a table."];

let chat = chats.fresh("");
let running = null;
const SAVED_EVERY = 2000;
let ready = false;

function showList() {
  return drawer.show(chat.id, open, async (id) => {
    if (id !== chat.id) return showList();
    const kept = await chats.load(id);
    if (!kept) return begin();
    chat.title = kept.title;
    show();
    return showList();
  });
}

function show() {
  $("#title").textContent = chats.titleOf(chat);
  document.title = `${chats.titleOf(chat)} · blazen`;
  list.replaceChildren(...chat.messages.map(made));
  $("#welcome").hidden = chat.messages.length > 0;
  $("#export").hidden = chat.messages.length === 0;
  settings.show(chat);
}

function made(message) {
  const place = () => chat.messages.indexOf(message);
  return element(message, {
    edit: (text) => {
      if (!settings.valid()) return;
      stop();
      chat.messages.splice(place());
      send({ text, images: message.images });
    },
    retry: () => {
      if (!settings.valid()) return;
      stop();
      chat.messages.splice(place());
      show();
      reply();
    },
    speak: (pressed) => readAloud(message.text, settings.voice(), pressed),
  });
}

function open(other) {
  if (location.hash !== `#${other.id}`) history.pushState(null, "", `#${other.id}`);
  turnTo(other);
}

function turnTo(other) {
  stop();
  hush();
  chat = other;
  if ([...picker.options].some((option) => option.value === chat.model)) picker.value = chat.model;
  composer.problem(null);
  show();
  follow(true);
  showList();
  $("#input").focus();
}

/** A conversation without a message, which is asked as this one was. */
function next() {
  const { system, options } = chat;
  return { ...chats.fresh(picker.value), system, options };
}

function begin() {
  if (location.hash) history.pushState(null, "", location.pathname);
  turnTo(next());
}

/** Back and forward in the browser lead through the conversations. */
async function returned() {
  const id = location.hash.slice(1);
  if (id === chat.id) return;
  const kept = id ? await chats.load(id) : null;
  if (!kept) history.replaceState(null, "", location.pathname);
  turnTo(kept ?? next());
}

/** Another tab changed a conversation: what is shown here follows. */
async function elsewhere(id) {
  if (id === chat.id && !running && !$(".editing")) {
    const kept = await chats.load(id);
    if (kept) {
      const near = isNear();
      chat = kept;
      show();
      follow(near);
    } else if (chat.messages.length) begin();
  }
  await showList();
}

async function keep(kept = chat) {
  kept.changed = Date.now();
  try {
    await chats.save(kept);
  } catch (error) {
    composer.problem(new ApiError(0, "This browser does not keep the conversation.", `Export it before you close the tab, or delete others to make room. (${error?.name ?? "unknown"})`));
  }
}

/** Keep an answer as far as it came; a conversation that was deleted meanwhile stays deleted. */
async function keepOn(kept) {
  if (await chats.load(kept.id)) await keep(kept);
}

async function send(given) {
  if (!ready && !(await connect())) return;
  if (!settings.valid()) return;
  const taken = given ?? (running ? null : composer.take());
  if (!taken) return;
  chat.messages.push({ role: "user", text: taken.text, ...(taken.images?.length ? { images: taken.images } : {}) });
  show();
  reply();
}

function stop() {
  running?.control.abort();
}

async function reply() {
  composer.problem(null);
  chat.model = picker.value;
  const asked = chat;
  const body = bodyOf(chat);
  // Should the tab be closed meanwhile, the answer was stopped.
  const message = { role: "assistant", text: "", model: chat.model, stopped: true };
  chat.messages.push(message);
  const item = list.appendChild(made(message));
  const mine = (running = { control: new AbortController() });
  busy(true);
  if (location.hash !== `#${chat.id}`) history.replaceState(null, "", `#${chat.id}`);
  announce("The answer comes");
  const drawing = paced(() => {
    const near = isNear();
    item.refresh(true);
    follow(near);
  });
  item.refresh(true);
  follow(true);
  const kept = keep().then(showList);
  const saving = setInterval(() => keepOn(asked), SAVED_EVERY);
  try {
    await answer(body, message, drawing.ask, mine.control.signal);
    delete message.stopped;
    announce(`Answer: ${message.text.slice(0, 600)}`);
  } catch (error) {
    if (mine.control.signal.aborted) announce("Stopped");
    else {
      delete message.stopped;
      message.error = { message: error.message, advice: error.advice };
    }
  }
  clearInterval(saving);
  drawing.end();
  const near = isNear();
  item.refresh(false);
  follow(near);
  if (running === mine) {
    running = null;
    busy(false);
  }
  await kept;
  await keepOn(asked);
}

function busy(yes) {
  const held = document.activeElement === $(yes ? "#send" : "#stop");
  $("#send").hidden = yes;
  $("#stop").hidden = !yes;
  if (held) $("#input").focus();
}

/** What is scrolled: where there is little height, the page as a whole. */
const scrolled = () => (getComputedStyle(scroller).overflowY === "visible" ? document.scrollingElement : scroller);
function isNear() {
  const { scrollHeight, scrollTop, clientHeight } = scrolled();
  return scrollHeight - scrollTop - clientHeight < 80;
}
function follow(near) {
  if (near) scrolled().scrollTop = scrolled().scrollHeight;
}

function welcome() {
  $("#welcome").replaceChildren(
    h("h2", {}, "What shall we talk about?"),
    h("p", { class: "lead" }, "The model runs on the machine that serves this page. What you write stays between the two."),
    h("ul", { class: "ideas" }, IDEAS.map((text) => h("li", {}, button({ text, onclick: () => (composer.put(text), send()) })))));
}

let connecting = null;
/** Ask the server for its models; whether there is one to talk with. */
function connect() {
  connecting ??= meet().finally(() => (connecting = null));
  return connecting;
}

async function meet() {
  composer.problem(null);
  try {
    const found = await fill(picker, ["model"]);
    if (chat.messages.length && found.has(chat.model)) picker.value = chat.model;
    else chat.model = picker.value;
    const [hearing, speaking] = [await models("transcription"), await models("tts")];
    composer.hearWith(hearing[0]?.name ?? null);
    settings.offerVoices(speaking);
    ready = found.size > 0;
    if (ready) welcome();
    else $("#welcome").replaceChildren(h("h2", {}, "Welcome to blazen"), nothing("model"));
    $("#send").disabled = !ready;
    list.classList.toggle("mute", !speaking.length);
  } catch (error) {
    composer.problem(error);
  }
  return ready;
}

async function begun() {
  composer.start(() => send(), stop);
  composer.hearWith(null);
  settings.offerVoices([]);
  settings.start((changed) => {
    Object.assign(chat, changed);
    if (chat.messages.length) keep();
  });
  picker.addEventListener("change", () => {
    chat.model = picker.value;
    if (chat.messages.length) keep();
  });
  $("#new").addEventListener("click", begin);
  $("#stop").addEventListener("click", stop);
  $("#export").addEventListener("click", () => drawer.exportOne(chat));
  drawer.startImport(showList);
  addEventListener("popstate", returned);
  chats.watch(elsewhere);
  const kept = location.hash ? await chats.load(location.hash.slice(1)) : null;
  turnTo(kept ?? chat);
  await connect();
  document.body.dataset.ready = "true";
}

begun();
