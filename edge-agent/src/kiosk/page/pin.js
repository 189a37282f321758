// The PIN pad: touch, mouse and keyboard. Digits are kept in one variable, shown as dots, sent in a body, and forgotten
// after 15 seconds without a touch. Keys count only while the pad is open: a card reader types like a keyboard.

const PATIENCE_MS = 15000;
const ANSWER_MS = 8000;
const DIGITS_MIN = 4;
const DIGITS_MAX = 12;

const at = (id) => document.getElementById(id);
const pad = at("pad");
const words = document.body.dataset;

let digits = "";
let timer = 0;
let isAsking = false;
// Another for each opening: the answer to a pad that was closed is not for the next person.
let opening = 0;

export function startPin() {
  at("pin-open").addEventListener("click", open);
  at("pad-close").addEventListener("click", closePin);
  at("delete").addEventListener("click", () => edit(digits.slice(0, -1)));
  at("done").addEventListener("click", send);
  for (const key of pad.querySelectorAll("[data-digit]")) {
    key.addEventListener("click", () => edit(digits + key.dataset.digit));
  }
  pad.addEventListener("keydown", typed);
  pad.addEventListener("close", forget);
}

function open() {
  opening += 1;
  edit("");
  at("pad-text").textContent = "";
  if (!pad.open) pad.showModal();
  pad.querySelector("[data-digit]").focus({ focusVisible: false });
}

export function closePin() {
  if (pad.open) pad.close();
}

function forget() {
  clearTimeout(timer);
  opening += 1;
  digits = "";
  isAsking = false;
  showDigits();
}

function edit(to) {
  if (isAsking) return;
  digits = to.slice(0, DIGITS_MAX);
  at("pad-text").textContent = "";
  showDigits();
  again();
}

function again() {
  clearTimeout(timer);
  timer = setTimeout(closePin, PATIENCE_MS);
}

function showDigits() {
  at("digits").textContent = "\u2022".repeat(digits.length);
  at("digits").setAttribute("aria-label", `${words.count}: ${digits.length}`);
  at("done").disabled = digits.length < DIGITS_MIN;
}

function typed(event) {
  if (event.ctrlKey || event.altKey || event.metaKey) return;
  if (/^[0-9]$/.test(event.key)) edit(digits + event.key);
  else if (event.key === "Backspace") edit(digits.slice(0, -1));
  else if (event.key === "Enter" && event.target.id !== "pad-close" && event.target.id !== "delete") send();
  else return;
  event.preventDefault();
}

async function send() {
  if (isAsking || digits.length < DIGITS_MIN) return;
  const mine = opening;
  const text = JSON.stringify({ digits });
  isAsking = true;
  digits = "";
  showDigits();
  at("pad-text").textContent = words.wait;
  again();
  const answer = await ask(text);
  if (mine !== opening) return;
  isAsking = false;
  if (answer.is_over) return closePin();
  at("pad-text").textContent = answer.text;
  again();
}

async function ask(text) {
  try {
    const answer = await fetch("/pin", {
      method: "POST",
      headers: { "content-type": "application/json" },
      body: text,
      cache: "no-store",
      signal: AbortSignal.timeout(ANSWER_MS),
    });
    return await answer.json();
  } catch {
    return { is_over: false, text: words.unreachable };
  }
}
