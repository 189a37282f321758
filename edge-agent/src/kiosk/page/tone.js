// Tones, where the site wants them from the screen: one for "come in", two soft ones for everything else.

const TONES = {
  welcome: [{ at: 0, hertz: 880, loudness: 0.25 }],
  another: [
    { at: 0, hertz: 440, loudness: 0.12 },
    { at: 0.22, hertz: 392, loudness: 0.12 },
  ],
};
const SECONDS = 0.16;

let context = null;

export function sound(kind) {
  context ??= new AudioContext();
  context.resume().catch(() => {});
  for (const { at, hertz, loudness } of TONES[kind]) {
    const start = context.currentTime + at;
    const tone = context.createOscillator();
    const volume = context.createGain();
    tone.frequency.value = hertz;
    // Up and down gently: a sudden edge is a click.
    volume.gain.setValueAtTime(0, start);
    volume.gain.linearRampToValueAtTime(loudness, start + 0.02);
    volume.gain.linearRampToValueAtTime(0, start + SECONDS);
    tone.connect(volume).connect(context.destination);
    tone.start(start);
    tone.stop(start + SECONDS);
  }
}
