// The moving picture of the sound: one bar for every few hundredths of a second, the newest at the right.

const BAR_PX = 4;
const GAP_PX = 2;
const BAR_EVERY_MS = 40;

export class Waveform {
  constructor(canvas) {
    this.canvas = canvas;
    this.peaks = [];
    this.newest = 0;
    this.addedAt = 0;
    new ResizeObserver(() => this.draw()).observe(canvas);
    matchMedia("(prefers-color-scheme: dark)").addEventListener("change", () => this.draw());
  }

  /** Show what is heard now; call it often. */
  add(peak) {
    this.newest = Math.max(this.newest, peak);
    const now = performance.now();
    if (now - this.addedAt < BAR_EVERY_MS) return;
    this.addedAt = now;
    this.peaks.push(this.newest);
    this.newest = 0;
    this.peaks.splice(0, this.peaks.length - 1000);
    this.draw();
  }

  draw() {
    const { canvas } = this;
    const scale = devicePixelRatio || 1;
    const width = canvas.clientWidth;
    const height = canvas.clientHeight;
    if (canvas.width !== Math.round(width * scale)) canvas.width = Math.round(width * scale);
    if (canvas.height !== Math.round(height * scale)) canvas.height = Math.round(height * scale);
    const style = getComputedStyle(canvas);
    const pen = canvas.getContext("2d");
    pen.setTransform(scale, 0, 0, scale, 0, 0);
    pen.clearRect(0, 0, width, height);
    const num = Math.floor((width + GAP_PX) / (BAR_PX + GAP_PX));
    for (let i = 0; i < num; i++) {
      const peak = this.peaks[this.peaks.length - num + i] ?? 0;
      const bar = Math.max(BAR_PX, Math.sqrt(Math.min(1, peak)) * height); // quiet speech is to be seen too
      pen.fillStyle = style.getPropertyValue(peak > 0.001 ? "--accent" : "--line");
      pen.beginPath();
      pen.roundRect(i * (BAR_PX + GAP_PX), (height - bar) / 2, BAR_PX, bar, BAR_PX / 2);
      pen.fill();
    }
  }
}
