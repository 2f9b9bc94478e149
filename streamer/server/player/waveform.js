// The picture of the sound: a bar for every few hundredths of a second, what was heard in colour, what waits in grey.

const BAR_PX = 3;
const GAP_PX = 2;
const BAR_MS = 40;
const SAMPLES_PER_BAR = 48 * BAR_MS;
const PLACE_OF_NOW = 0.7; // of the width, once the sound is longer than the picture

export class Waveform {
  /** @param {HTMLCanvasElement} canvas */
  constructor(canvas) {
    this.canvas = canvas;
    /** @type {number[]} */
    this.peaks = [];
    this.playedMs = 0;
    this.numSamples = 0;
    new ResizeObserver(() => this.draw()).observe(canvas);
  }

  clear() {
    this.peaks = [];
    this.playedMs = 0;
    this.numSamples = 0;
    this.draw();
  }

  /** @param {Float32Array} samples What arrived, at 48 kHz. */
  add(samples) {
    for (const sample of samples) {
      const bar = Math.floor(this.numSamples / SAMPLES_PER_BAR);
      this.peaks[bar] = Math.max(this.peaks[bar] ?? 0, Math.abs(sample));
      this.numSamples += 1;
    }
  }

  /** @param {number} playedMs */
  show(playedMs) {
    this.playedMs = playedMs;
    this.draw();
  }

  draw() {
    const { canvas } = this;
    const scale = devicePixelRatio || 1;
    const width = canvas.clientWidth;
    const height = canvas.clientHeight;
    if (canvas.width !== Math.round(width * scale)) canvas.width = Math.round(width * scale);
    if (canvas.height !== Math.round(height * scale)) canvas.height = Math.round(height * scale);
    const pen = canvas.getContext("2d");
    if (!pen) return;
    const style = getComputedStyle(canvas);
    const colors = ["--accent", "--accent-soft", "--line"].map((name) => style.getPropertyValue(name));
    pen.setTransform(scale, 0, 0, scale, 0, 0);
    pen.clearRect(0, 0, width, height);
    const num = Math.floor((width + GAP_PX) / (BAR_PX + GAP_PX));
    const now = this.playedMs / BAR_MS;
    const first = Math.max(0, Math.min(Math.floor(now - PLACE_OF_NOW * num), this.peaks.length - num));
    for (let i = 0; i < num; i++) {
      const peak = this.peaks[first + i];
      const bar = Math.max(BAR_PX, Math.sqrt(Math.min(1, peak ?? 0)) * height); // quiet speech is to be seen too
      pen.fillStyle = peak === undefined ? colors[2] : first + i < now ? colors[0] : colors[1];
      pen.beginPath();
      pen.roundRect(i * (BAR_PX + GAP_PX), (height - bar) / 2, BAR_PX, bar, BAR_PX / 2);
      pen.fill();
    }
  }
}
