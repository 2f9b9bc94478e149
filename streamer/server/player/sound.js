// The two ways from packets to the loudspeaker, with one interface.
//
// OpusSound: WebCodecs decodes, an AudioWorklet plays; browsers allow both on https and localhost only.
// PcmSound: plain samples in scheduled buffer sources; works on every page, such as http://gpu-box:8765.
//
// Both, after OpusSound's prepare(): wake(), begin(started), packet(payload, durationMs, isLast), finish(audioMs), stop(), playedSamples,
// playedMs, state (idle | buffering | playing), underruns, level(), and the callback onEnded.

const OPUS_RATE_HZ = 48000;
const PCM_RATE_HZ = 24000;
const WAKE_TIMEOUT_MS = 3000;
const PCM_TARGET_S = 0.15;
const PCM_STOP_RAMP_S = 0.01;

/** Whether this page may use WebCodecs and worklets, and the browser decodes Opus. */
export async function canPlayOpus() {
  if (!window.isSecureContext || !("AudioDecoder" in window) || !("AudioWorkletNode" in window)) return false;
  try {
    return (await AudioDecoder.isConfigSupported(opusConfig())).supported;
  } catch {
    return false;
  }
}

const opusConfig = () => ({ codec: "opus", sampleRate: OPUS_RATE_HZ, numberOfChannels: 1 });

class Sound {
  constructor(context) {
    this.context = context;
    this.sampleRate = context.sampleRate;
    this.analyser = new AnalyserNode(context, { fftSize: 2048 });
    this.analyser.connect(context.destination);
    this.window = new Float32Array(this.analyser.fftSize);
    this.state = "idle";
    this.underruns = 0;
    this.onEnded = () => {};
  }

  /** Must be called from a click: browsers play no sound before one. */
  async wake() {
    if (this.context.state !== "running") {
      // While blocked, resume() neither succeeds nor fails.
      await Promise.race([this.context.resume(), new Promise((done) => setTimeout(done, WAKE_TIMEOUT_MS))]);
    }
    if (this.context.state !== "running") {
      throw new Error("The browser blocks the sound. Press Speak once more.");
    }
  }

  /** Root mean square and peak of what is being heard now. */
  level() {
    this.analyser.getFloatTimeDomainData(this.window);
    let sum = 0;
    let peak = 0;
    for (const sample of this.window) {
      sum += sample * sample;
      peak = Math.max(peak, Math.abs(sample));
    }
    return { rms: Math.sqrt(sum / this.window.length), peak };
  }

  get playedMs() {
    return (1000 * this.playedSamples) / this.sampleRate;
  }
}

export class OpusSound extends Sound {
  static request = { encoding: "opus", frame_ms: 20 };

  constructor(onBroken) {
    super(new AudioContext({ sampleRate: OPUS_RATE_HZ, latencyHint: "interactive" }));
    this.path = "opus";
    this.onBroken = onBroken;
    this.utterance = 0;
    this.report = { played: 0, at: 0 };
  }

  /** Must be called once, before anything else; fails if the browser lacks what this way needs. */
  async prepare() {
    await this.context.audioWorklet.addModule("player/worklet.js");
    this.node = new AudioWorkletNode(this.context, "speech-ring", { numberOfInputs: 0, outputChannelCount: [1] });
    this.node.port.onmessage = ({ data }) => this.#heardFrom(data);
    this.node.connect(this.analyser);
  }

  begin({ pre_skip }) {
    this.#closeDecoder();
    this.state = "buffering";
    this.underruns = 0;
    this.report = { played: 0, at: this.context.currentTime };
    this.utterance += 1;
    this.toSkip = pre_skip;
    this.left = Infinity; // samples that belong to the sound; known at its end
    this.decoded = 0;
    this.clockUs = 0;
    this.held = null;
    this.node.port.postMessage({ type: "begin", utterance: this.utterance });
    const utterance = this.utterance;
    this.decoder = new AudioDecoder({
      output: (audio) => this.#push(audio, utterance),
      error: (error) => utterance === this.utterance && this.onBroken(error),
    });
    this.decoder.configure(opusConfig());
  }

  /** The last packet waits for finish(), which knows how much of it is sound. */
  packet(payload, durationMs, isLast) {
    if (!payload.byteLength) return;
    const chunk = { type: "key", timestamp: this.clockUs, duration: durationMs * 1000, data: payload };
    this.clockUs += durationMs * 1000; // counted, not taken from the arrival: some decoders stumble over gaps
    if (isLast) this.held = chunk;
    else this.#decode(chunk);
  }

  async finish(audioMs) {
    const { decoder, utterance } = this;
    this.left = Math.round((audioMs * OPUS_RATE_HZ) / 1000) - this.decoded;
    if (this.held) this.#decode(this.held);
    try {
      await decoder.flush();
    } catch {
      return; // stopped in the meantime, or broken, which is reported elsewhere
    }
    if (utterance === this.utterance) this.node.port.postMessage({ type: "end" });
  }

  stop() {
    if (this.state === "idle") return;
    this.#closeDecoder();
    this.node.port.postMessage({ type: "stop" });
    this.state = "idle";
  }

  get playedSamples() {
    if (this.state !== "playing") return this.report.played;
    const since = (this.context.currentTime - this.report.at) * this.sampleRate;
    return Math.round(this.report.played + Math.min(Math.max(since, 0), this.report.buffered));
  }

  #decode(chunk) {
    if (this.decoder?.state === "configured") this.decoder.decode(new EncodedAudioChunk(chunk));
  }

  #push(audio, utterance) {
    let samples = new Float32Array(audio.numberOfFrames);
    const rate = audio.sampleRate;
    audio.copyTo(samples, { planeIndex: 0, format: "f32-planar" });
    audio.close();
    if (utterance !== this.utterance || this.state === "idle") return;
    if (rate !== this.sampleRate) {
      this.onBroken(new Error(`decoded at ${rate} Hz`));
      return;
    }
    const skipped = Math.min(this.toSkip, samples.length);
    this.toSkip -= skipped;
    samples = samples.slice(skipped, skipped + Math.max(0, this.left));
    this.left -= samples.length;
    this.decoded += samples.length;
    if (samples.length) this.node.port.postMessage({ type: "push", samples }, [samples.buffer]);
  }

  #heardFrom(report) {
    if (report.utterance !== this.utterance) return;
    this.report = { ...report, at: this.context.currentTime };
    this.underruns = report.underruns;
    if (this.state === "idle") return;
    this.state = report.state;
    if (report.how === "ended") this.onEnded();
  }

  #closeDecoder() {
    if (this.decoder && this.decoder.state !== "closed") this.decoder.close();
    this.decoder = null;
  }
}

export class PcmSound extends Sound {
  static request = { encoding: "pcm_s16le", sample_rate: PCM_RATE_HZ, frame_ms: 60 };

  constructor() {
    // A context with the sound's own rate joins the buffers without a click.
    super(new AudioContext({ sampleRate: PCM_RATE_HZ, latencyHint: "interactive" }));
    this.path = "pcm";
    this.total = 0;
    this.scheduled = [];
  }

  begin() {
    this.#clear();
    this.state = "buffering";
    this.underruns = 0;
    this.gain = new GainNode(this.context);
    this.gain.connect(this.analyser);
    this.scheduled = []; // {source, start, position, size}: when which part of the sound is heard
    this.waiting = [];
    this.total = 0; // samples received
    this.isComplete = false;
    this.nextStart = 0;
    this.stoppedAt = undefined;
    this.target = PCM_TARGET_S;
    this.timer = setInterval(() => this.#tick(), 20);
  }

  packet(payload) {
    const view = new DataView(payload.buffer, payload.byteOffset, payload.byteLength);
    const samples = new Float32Array(payload.byteLength >> 1);
    for (let i = 0; i < samples.length; i++) samples[i] = view.getInt16(2 * i, true) / 32767;
    if (!samples.length) return;
    this.waiting.push({ samples, position: this.total });
    this.total += samples.length;
    this.#tick();
  }

  finish() {
    this.isComplete = true;
    this.#tick();
  }

  stop() {
    if (this.state === "idle") return;
    this.stoppedAt = this.playedSamples;
    const now = this.context.currentTime;
    this.gain.gain.setValueAtTime(1, now);
    this.gain.gain.linearRampToValueAtTime(0, now + PCM_STOP_RAMP_S);
    this.#clear(now + PCM_STOP_RAMP_S);
  }

  get playedSamples() {
    if (this.state === "idle") return this.stoppedAt ?? this.total;
    const now = this.context.currentTime;
    let played = 0;
    for (const { start, position, size } of this.scheduled) {
      if (start <= now) played = position + Math.min(size, Math.round((now - start) * this.sampleRate));
    }
    return played;
  }

  #tick() {
    const now = this.context.currentTime;
    if (this.state === "playing" && now >= this.nextStart && !this.isComplete && !this.waiting.length) {
      this.state = "buffering";
      this.underruns += 1;
      this.target = Math.min(this.target + 0.05, 0.5);
    }
    const waitingS = this.waiting.reduce((sum, { samples }) => sum + samples.length, 0) / this.sampleRate;
    if (this.state === "buffering" && this.waiting.length && (this.isComplete || waitingS >= this.target)) {
      this.nextStart = now + 0.02;
      this.state = "playing";
    }
    if (this.state === "playing") for (const part of this.waiting.splice(0)) this.#schedule(part);
    if (this.isComplete && this.state !== "idle" && now >= this.nextStart) {
      this.#clear();
      this.onEnded();
    }
  }

  #schedule({ samples, position }) {
    this.nextStart = Math.max(this.nextStart, this.context.currentTime);
    const buffer = new AudioBuffer({ length: samples.length, sampleRate: PCM_RATE_HZ });
    buffer.copyToChannel(samples, 0);
    const source = new AudioBufferSourceNode(this.context, { buffer });
    source.connect(this.gain);
    // Aligned to samples, so that rounding leaves no gap.
    const start = Math.ceil(this.nextStart * this.sampleRate - 1e-6) / this.sampleRate;
    source.start(start);
    this.scheduled.push({ source, start, position, size: samples.length });
    this.nextStart = start + samples.length / this.sampleRate;
  }

  #clear(at = 0) {
    clearInterval(this.timer);
    for (const { source } of this.scheduled ?? []) source.stop(at);
    this.state = "idle";
  }
}
