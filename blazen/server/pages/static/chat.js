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
import { fill, nothing } from "./picker.js";

const list = $("#messages");
const picker = $("#model");
const scroller = $("#scroller");
const IDEAS = ["Explain what a local language model is, in three sentences.", "Write a haiku about a candle.", "List five uses for text embeddings as a table."];

let chat = chats.fresh("");
let running = null;
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
      stop();
      chat.messages.splice(place());
      send({ text, images: message.images });
    },
    retry: () => {
      stop();
      chat.messages.splice(place());
      show();
      reply();
    },
    speak: (pressed) => readAloud(message.text, settings.voice(), pressed),
  });
}

function open(other) {
  stop();
  hush();
  chat = other;
  if ([...picker.options].some((option) => option.value === chat.model)) picker.value = chat.model;
  history.replaceState(null, "", `#${chat.id}`);
  composer.problem(null);
  show();
  scroller.scrollTop = scroller.scrollHeight;
  showList();
  $("#input").focus();
}

function begin() {
  const { system, options } = chat;
  open({ ...chats.fresh(picker.value), system, options });
  history.replaceState(null, "", location.pathname);
}

function keep() {
  chat.changed = Date.now();
  return chats.save(chat).catch((error) => composer.problem(new ApiError(0, "This browser does not keep the conversation.", String(error))));
}

function send(given) {
  if (!ready || !settings.valid()) return;
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
  const message = { role: "assistant", text: "", model: chat.model };
  chat.messages.push(message);
  const item = list.appendChild(made(message));
  const mine = (running = { control: new AbortController() });
  busy(true);
  history.replaceState(null, "", `#${chat.id}`);
  announce("The answer comes");
  follow(true);
  let drawn = 0;
  const grown = () => {
    drawn ||= requestAnimationFrame(() => {
      drawn = 0;
      const near = isNear();
      item.refresh(true);
      follow(near);
    });
  };
  item.refresh(true);
  const kept = keep().then(showList);
  try {
    await answer(body, message, grown, mine.control.signal);
    announce(`Answer: ${message.text.slice(0, 600)}`);
  } catch (error) {
    if (mine.control.signal.aborted) {
      message.stopped = true;
      announce("Stopped");
    } else message.error = { message: error.message, advice: error.advice };
  }
  cancelAnimationFrame(drawn);
  const near = isNear();
  item.refresh(false);
  follow(near);
  if (running === mine) {
    running = null;
    busy(false);
  }
  await kept;
  asked.changed = Date.now();
  // A conversation that was deleted meanwhile stays deleted.
  if (await chats.load(asked.id)) await chats.save(asked);
}

function busy(yes) {
  const held = document.activeElement === $(yes ? "#send" : "#stop");
  $("#send").hidden = yes;
  $("#stop").hidden = !yes;
  if (held) $("#input").focus();
}

const isNear = () => scroller.scrollHeight - scroller.scrollTop - scroller.clientHeight < 80;
function follow(near) {
  if (near) scroller.scrollTop = scroller.scrollHeight;
}

function welcome() {
  $("#welcome").replaceChildren(
    h("h2", {}, "What shall we talk about?"),
    h("p", { class: "lead" }, "The model runs on the machine that serves this page. What you write stays between the two."),
    h("ul", { class: "ideas" }, IDEAS.map((text) => h("li", {}, button({ text, onclick: () => (composer.put(text), send()) })))));
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
  try {
    const found = await fill(picker, ["model"]);
    const [hearing, speaking] = [await models("transcription"), await models("tts")];
    composer.hearWith(hearing[0]?.name ?? null);
    settings.offerVoices(speaking);
    ready = found.size > 0;
    if (ready) welcome();
    else $("#welcome").replaceChildren(h("h2", {}, "Welcome to blazen"), nothing("model"));
    list.classList.toggle("mute", !speaking.length);
  } catch (error) {
    composer.problem(error);
  }
  $("#send").disabled = !ready;
  const kept = location.hash ? await chats.load(location.hash.slice(1)) : null;
  if (kept) open(kept);
  else {
    chat.model = picker.value;
    show();
    showList();
    $("#input").focus();
  }
  document.body.dataset.ready = "true";
}

begun();
