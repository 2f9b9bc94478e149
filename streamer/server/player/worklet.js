// The audio thread's end: a ring of samples that is filled by messages and played without a gap.
//
// Messages in: begin {utterance}, push {samples}, end, stop. Reports out, some 20 times a second and at
// each change: {utterance, state, played, buffered, underruns}; counts are samples at the context's rate.

const RING_S = 60;
const TARGET_S = 0.15; // of sound before playing begins
const TARGET_STEP_S = 0.05; // more of it after each underrun
const TARGET_MAX_S = 0.5;
const STOP_RAMP_S = 0.005;
const REPORT_S = 0.05;

class SpeechRing extends AudioWorkletProcessor {
  constructor() {
    super();
    this.ring = new Float32Array(Math.ceil(RING_S * sampleRate));
    this.utterance = 0;
    this.reset("idle");
    this.port.onmessage = ({ data }) => this.receive(data);
  }

  reset(state) {
    this.state = state; // idle | buffering | playing
    this.first = 0;
    this.count = 0;
    this.played = 0;
    this.underruns = 0;
    this.target = TARGET_S * sampleRate;
    this.isComplete = false;
    this.isFadingIn = true;
    this.stopGain = 1;
    this.isStopping = false;
    this.sinceReport = 0;
  }

  receive(message) {
    if (message.type === "begin") {
      this.utterance = message.utterance;
      this.reset("buffering");
    } else if (message.type === "push" && this.state !== "idle" && !this.isStopping) {
      this.push(message.samples);
    } else if (message.type === "end") {
      this.isComplete = true;
    } else if (message.type === "stop" && this.state !== "idle") {
      if (this.state === "playing") this.isStopping = true;
      else this.finish("stopped");
    }
  }

  push(samples) {
    if (this.count + samples.length > this.ring.length) this.grow(this.count + samples.length);
    let at = (this.first + this.count) % this.ring.length;
    const head = Math.min(samples.length, this.ring.length - at);
    this.ring.set(samples.subarray(0, head), at);
    this.ring.set(samples.subarray(head), 0);
    this.count += samples.length;
  }

  grow(needed) {
    const larger = new Float32Array(2 * needed); // speech is never dropped
    for (let i = 0; i < this.count; i++) larger[i] = this.ring[(this.first + i) % this.ring.length];
    this.ring = larger;
    this.first = 0;
  }

  process(_inputs, outputs) {
    const output = outputs[0][0];
    if (this.state === "buffering") {
      if (this.count >= this.target || (this.isComplete && this.count > 0)) {
        this.state = "playing";
        this.isFadingIn = true;
        this.report();
      } else if (this.isComplete) {
        this.finish("ended");
      }
    }
    if (this.state === "playing") this.play(output);
    this.sinceReport += output.length;
    if (this.state !== "idle" && this.sinceReport >= REPORT_S * sampleRate) this.report();
    return true;
  }

  play(output) {
    const size = Math.min(output.length, this.count);
    for (let i = 0; i < size; i++) output[i] = this.ring[(this.first + i) % this.ring.length];
    this.first = (this.first + size) % this.ring.length;
    this.count -= size;
    this.played += size;
    if (this.isFadingIn && this.played > size) ramp(output, size, 0, 1);
    this.isFadingIn = false;
    if (this.isStopping) {
      const next = Math.max(0, this.stopGain - size / (STOP_RAMP_S * sampleRate));
      ramp(output, size, this.stopGain, next);
      this.stopGain = next;
      if (next === 0 || this.count === 0) this.finish("stopped");
    } else if (this.isComplete) {
      if (this.count === 0) this.finish("ended");
    } else if (this.count < output.length) {
      // The next block could not be filled: fade out now rather than break off then.
      ramp(output, size, 1, 0);
      this.state = "buffering";
      this.underruns += 1;
      this.target = Math.min(this.target + TARGET_STEP_S * sampleRate, TARGET_MAX_S * sampleRate);
      this.report();
    }
  }

  finish(how) {
    this.state = "idle";
    this.count = 0;
    this.report(how);
  }

  report(how) {
    this.sinceReport = 0;
    const { utterance, state, played, count, underruns } = this;
    this.port.postMessage({ utterance, state, played, buffered: count, underruns, how });
  }
}

function ramp(samples, size, from, to) {
  for (let i = 0; i < size; i++) samples[i] *= from + ((to - from) * (i + 1)) / size;
}

registerProcessor("speech-ring", SpeechRing);
