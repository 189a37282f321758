// The page's state: one stream of events says what to show, and this shows it. Nothing is kept from one state to the next
// but the rings, so the page needs no more memory after a month than after a minute.
import { startPicture, placeRings, onStale } from "./picture.js";
import { startPin, closePin } from "./pin.js";
import { sound } from "./tone.js";

// Longer than four heartbeats without a word, and the program is gone.
const SILENCE_MS = 8000;
// A drop this short is a new connection of the same program.
const UNNOTICED_MS = 2500;
const BACK_OFF_MS = [250, 500, 1000, 2000, 4000];
// Once a day the page begins anew, whatever a browser gathers in the meantime.
const PAGE_AGE_MS = 24 * 3600 * 1000;

const at = (id) => document.getElementById(id);
const body = document.body;
const begun = performance.now();

let stream = null;
let failures = 0;
let heard = -Infinity;
let sounded = null;

function connect() {
  stream?.close();
  const mine = new EventSource("/events");
  stream = mine;
  mine.addEventListener("state", (event) => {
    heard = performance.now();
    failures = 0;
    show(JSON.parse(event.data));
  });
  mine.addEventListener("beat", () => {
    heard = performance.now();
  });
  mine.addEventListener("refused", (event) => {
    lost(mine, BACK_OFF_MS.length);
    starting(event.data);
  });
  mine.addEventListener("error", () => lost(mine, failures));
}

function lost(mine, wait) {
  if (stream !== mine) return;
  mine.close();
  stream = null;
  failures += 1;
  setTimeout(connect, BACK_OFF_MS[Math.min(wait, BACK_OFF_MS.length - 1)]);
}

const startingWords = at("starting").textContent;

function starting(words) {
  body.dataset.mode = "starting";
  at("starting").textContent = words;
  for (const id of ["message", "next", "enrolling", "prompt", "quality", "look", "note", "arrow"]) at(id).hidden = true;
  at("starting").hidden = false;
  placeRings([]);
  closePin();
}

setInterval(() => {
  const silence = performance.now() - heard;
  if (stream && silence > SILENCE_MS && stream.readyState === EventSource.OPEN) lost(stream, failures);
  if (silence > UNNOTICED_MS + (stream ? SILENCE_MS - UNNOTICED_MS : 0) && body.dataset.mode !== "starting") {
    starting(startingWords);
  }
}, 500);

function put(id, text) {
  const element = at(id);
  element.hidden = !text;
  if (text && element.textContent !== text) element.textContent = text;
}

function show(state) {
  const isOld = state.is_idle && performance.now() - begun > PAGE_AGE_MS;
  if (state.page !== body.dataset.page || isOld) {
    location.reload();
    return;
  }
  const said = state.announcement;
  body.dataset.mode = said ? said.kind : "idle";
  at("starting").hidden = true;
  put("door", state.door);
  at("badge").hidden = !state.camera_sees;
  at("time").textContent = (said ? said.time : state.time) ?? "";
  showSaid(said);
  put("prompt", said ? "" : state.prompt?.text);
  at("look").hidden = !state.is_idle;
  showEnrolment(said ? null : state.enrolment);
  showArrow(said ? null : state.prompt?.arrow);
  placeRings(state.faces);
  showStates(state.states);
}

function showSaid(said) {
  const message = at("message");
  message.hidden = !said;
  put("next", said?.next);
  put("note", said?.note);
  if (!said || sounded === said.number) return;
  message.replaceChildren(said.text.before);
  if (said.text.name) {
    const name = document.createElement("span");
    name.className = "name";
    name.textContent = said.text.name;
    message.append(name, said.text.after);
  }
  // A name of more than a dozen letters has no room at the largest size.
  message.classList.toggle("long", said.text.name.length > 12);
  if (body.dataset.sound === "on" && sounded !== null) sound(said.kind);
  sounded = said.number;
}

function showEnrolment(enrolment) {
  put("enrolling", enrolment && `${enrolment.title} · ${enrolment.count}`);
  at("quality").hidden = !enrolment;
  at("quality").classList.toggle("ready", enrolment?.quality_percent === 100);
  at("quality").firstElementChild.style.width = `${enrolment?.quality_percent ?? 0}%`;
}

function showArrow(side) {
  const arrow = at("arrow");
  arrow.toggleAttribute("hidden", !side);
  arrow.classList.toggle("left", side === "left");
  arrow.classList.toggle("right", side === "right");
}

let shownStates = "";

function showStates(states) {
  const key = JSON.stringify(states);
  if (key === shownStates) return;
  shownStates = key;
  // The most urgent two: a line is read, a list is not.
  at("states").replaceChildren(
    ...states.slice(0, 2).map((state) => {
      const line = document.createElement("li");
      line.className = state.level;
      line.textContent = state.text;
      return line;
    }),
  );
}

const here = at("here");
here.hidden = body.dataset.button !== "on";
here.addEventListener("click", () => {
  // Whether it was heard is seen at once: a ring, or a prompt.
  fetch("/here", { method: "POST", cache: "no-store" }).catch(() => {});
});

body.dataset.seen = "off";
onStale((isStale) => {
  body.dataset.stale = isStale ? "on" : "off";
});
if (body.dataset.picture === "on") startPicture();
startPin();
document.addEventListener("contextmenu", (event) => event.preventDefault());
connect();
