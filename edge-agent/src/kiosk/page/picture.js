// The live picture: one JPEG after another, each asked for when the last is drawn. So a slow browser skips pictures
// instead of falling behind, nothing piles up, and a picture that stops is noticed. (A multipart stream in an <img> does
// none of the three.)

const INTERVAL_MS = 66;
const WAIT_MS = 4000;
const STALE_MS = 2000;
const BACK_OFF_MAX_MS = 4000;
const SVG = "http://www.w3.org/2000/svg";

const canvas = document.getElementById("picture");
const rings = document.getElementById("rings");
const context = canvas.getContext("2d", { alpha: false });

let drawn = -Infinity;
let faces = [];

const pause = (ms) => new Promise((resolve) => setTimeout(resolve, ms));

export async function startPicture() {
  let after = "";
  let backOff = 0;
  for (;;) {
    const begun = performance.now();
    try {
      const address = after === "" ? "/picture" : `/picture?after=${after}`;
      const answer = await fetch(address, { cache: "no-store", signal: AbortSignal.timeout(WAIT_MS) });
      if (answer.status === 200) {
        const number = answer.headers.get("x-picture");
        const bitmap = await createImageBitmap(await answer.blob());
        draw(bitmap);
        bitmap.close();
        after = number;
      } else if (answer.status !== 204) {
        throw new Error(String(answer.status));
      }
      backOff = 0;
      await pause(Math.max(answer.status === 204 ? 250 : 0, INTERVAL_MS - (performance.now() - begun)));
    } catch {
      // The program restarts, or a picture was torn.
      after = "";
      backOff = Math.min(BACK_OFF_MAX_MS, Math.max(250, backOff * 2));
      await pause(backOff);
    }
  }
}

function draw(bitmap) {
  if (canvas.width !== bitmap.width || canvas.height !== bitmap.height) {
    canvas.width = bitmap.width;
    canvas.height = bitmap.height;
  }
  context.drawImage(bitmap, 0, 0);
  drawn = performance.now();
  if (document.body.dataset.seen !== "on") {
    document.body.dataset.seen = "on";
    canvas.hidden = false;
    document.getElementById("edges").hidden = false;
  }
  layRings();
}

// Tells when pictures stop and come again.
export function onStale(tell) {
  let was = false;
  setInterval(() => {
    const isStale = performance.now() - drawn > STALE_MS && document.body.dataset.seen === "on";
    if (isStale === was) return;
    was = isStale;
    document.getElementById("stale").hidden = !isStale;
    tell(isStale);
    layRings();
  }, 500);
}

export function placeRings(list) {
  faces = list;
  layRings();
}

function layRings() {
  const isLive = document.body.dataset.seen === "on" && document.body.dataset.stale !== "on";
  const shown = isLive ? faces : [];
  const old = new Map(Array.from(rings.children, (ring) => [ring.dataset.track, ring]));
  // As object-fit: cover lays the picture, mirrored.
  const { width, height } = canvas.getBoundingClientRect();
  const scale = Math.max(width / canvas.width, height / canvas.height);
  const [w, h] = [canvas.width * scale, canvas.height * scale];
  const [left, top] = [(width - w) / 2, (height - h) / 2];
  for (const face of shown) {
    const key = String(face.track);
    const ring = old.get(key) ?? rings.appendChild(document.createElementNS(SVG, "ellipse"));
    old.delete(key);
    ring.dataset.track = key;
    ring.classList.toggle("ready", face.is_ready);
    ring.setAttribute("cx", left + (1 - face.x - face.width / 2) * w);
    ring.setAttribute("cy", top + (face.y + face.height / 2) * h);
    ring.setAttribute("rx", (face.width / 2) * w * 1.25);
    ring.setAttribute("ry", (face.height / 2) * h * 1.25);
  }
  for (const ring of old.values()) ring.remove();
}
