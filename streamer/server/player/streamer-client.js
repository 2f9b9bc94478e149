// The browser's client of streamer, in one file without a build step: it sends text and plays the speech.
//
//     import { StreamerClient } from "http://localhost:8765/player/streamer-client.js";
//     const utterance = new StreamerClient().speak("Hello.");
//     await utterance.finished;
//
// The parts, from the wire to the loudspeaker: `Connection` keeps the socket, `StreamerClient` the queue, an
// `Utterance` what was said, received and heard, a decoder makes samples, and an output plays them. The file is also
// the audio worklet that it loads, so that a copy of it is complete. docs/integrations/browser.md describes the API.
// It is longer than other files because it is to be copied as one.

const SUBPROTOCOL = "streamer.v1";
const UNAUTHORIZED = 4401;
const HEADER_BYTES = 12;
const RATE_HZ = 48000; // decoders, worklet and context all run at the rate of Opus
const SAMPLES_PER_MS = RATE_HZ / 1000;
const PING_EVERY_MS = 20000;
const SILENT_TOO_LONG_MS = 50000;
const FIRST_RETRY_MS = 500;
const LONGEST_RETRY_MS = 10000;
const LOOK_EVERY_MS = 25;
const TELL_PLAYED_EVERY_MS = 250;
const BLOCKED_AFTER_MS = 400;

// How much sound is buffered before playing begins, and how that changes with what the line and the model do.
const FIRST_TARGET_S = 0.15; // in a fresh page, whose scripts are still slow
const TARGET_S = 0.1;
const TARGET_STEP_S = 0.05;
const TARGET_MAX_S = 0.5;
const FADE_S = 0.005;

// The time of words whose sentence is still being made: letters at a usual speed, as the server guesses it too.
const MS_PER_UNIT = 36;
const UNITS_PER_WORD = 3;
const SYLLABLES = "\\u3040-\\u30ff\\u3400-\\u9fff";
const WORD = new RegExp(`[${SYLLABLES}][^\\p{L}\\p{N}_\\s]*|[^\\s${SYLLABLES}]+`, "gu");
const NOT_COUNTED = /[\x00-\x08\x0e-\x1b\x7f-\x84\x86-\x9f\ud800-\udfff\ufffe\uffff\ufeff\u202a-\u202e\u2066-\u2069]/gu;

/**
 * @typedef {Object} Settings The fields of the protocol's `start`; absent ones are the server's defaults.
 * @property {string} [voice]
 * @property {string} [language]
 * @property {boolean | null} [normalize]
 * @property {string} [text_format]
 * @property {string} [continuity]
 * @property {number} [speed]
 * @property {number | null} [lead_ms]
 * @property {number | null} [max_buffer_ms]
 * @property {string} [start]
 * @property {Record<string, string>} [speakers]
 * @property {Record<string, number | null>} [params] Bark's sampling parameters, and `seed`.
 * @property {boolean} [interrupt] Silences every other utterance first; otherwise this one is heard behind them.
 *
 * @typedef {Object} Word A word and when it is heard, in ms of the utterance's sound; positions count code points.
 * @property {string} text
 * @property {number} start_ms
 * @property {number} end_ms
 * @property {number} char_start
 * @property {number} char_end
 *
 * @typedef {Object} Sentence
 * @property {number} index
 * @property {string} text
 * @property {number} char_start
 * @property {number} char_end
 * @property {number} start_ms
 * @property {number | null} end_ms Null while the sentence is being received.
 * @property {Word[]} words Guesses until the server's times arrive.
 *
 * @typedef {Object} Outcome How an utterance ended.
 * @property {"completed" | "truncated" | "cancelled" | "failed" | "refused"} reason
 * @property {number} playedMs How much of its sound was heard.
 * @property {{text: string, char_end: number}} [heard] Of a cancelled one: the text that was heard.
 * @property {{code: string, message: string, retry_after_s?: number}} [error]
 * @property {any} [done] The server's `done`.
 *
 * @typedef {"opus" | "wasm" | "pcm"} Path A way to decode: WebCodecs, WebAssembly, or nothing to decode.
 *
 * @typedef {string | null | (() => string | Promise<string>)} Key
 *
 * @typedef {Object} Options
 * @property {Key} [key] The server's key, if it asks for one, or what fetches one for each connection.
 * @property {Settings} [settings] Defaults of all utterances.
 * @property {Path[]} [paths] The ways to try, best first.
 * @property {Output} [output] What plays instead of the loudspeaker.
 *
 * @typedef {Object} Output What plays samples at 48 kHz, one utterance at a time.
 * @property {() => void} begin
 * @property {(samples: Float32Array) => void} push
 * @property {() => void} end There are no more samples.
 * @property {(numSamples: number) => void} trim Forget all samples beyond these.
 * @property {() => void} stop Fall silent at once.
 * @property {"idle" | "buffering" | "playing"} state
 * @property {number} played Samples that were played.
 * @property {number} underruns How often the samples ran out.
 * @property {number} latencyMs From the output to the ear.
 * @property {() => void} onEnded
 * @property {() => void} onChanged
 *
 */

// Worklets may lack it, and this file is loaded there too.
const Target = /** @type {typeof EventTarget} */ (globalThis.EventTarget ?? Object);

/** Dispatch a `CustomEvent` with this detail. @param {EventTarget} target @param {string} type @param {any} [detail] */
const emit = (target, type, detail) => target.dispatchEvent(new CustomEvent(type, { detail }));

/** @param {Float32Array[]} parts */
function joined(parts) {
  const whole = new Float32Array(parts.reduce((sum, { length }) => sum + length, 0));
  let at = 0;
  for (const part of parts) {
    whole.set(part, at);
    at += part.length;
  }
  return whole;
}

/** @param {number} ms @returns {Promise<void>} */
const after = (ms) => new Promise((resolve) => setTimeout(resolve, ms));

/**
 * A connection to a server, and the queue of what it speaks.
 *
 * Events: `state` {state}, `session`, `blocked`, `unblocked`, `path` {path, reason}, `error`, `warning`, `going_away`.
 * `state` is one of `closed`, `connecting`, `connected`, `lost` (it is tried again) and `key_needed`.
 */
export class StreamerClient extends Target {
  #settings;
  #connection;
  /** @type {Utterance[]} */
  #queue = []; // what is not over; the first one is being heard
  /** @type {Map<string, Utterance>} */
  #byId = new Map(); // of this connection
  /** @type {Map<number, Utterance>} */
  #byStream = new Map();
  /** @type {Promise<void> | null} */
  #prepared = null;
  /** @type {Promise<unknown>[]} */
  #detachments = [];
  #isGoingAway = false;
  #numUtterances = 0;
  /** @type {ReturnType<typeof setInterval> | undefined} */
  #look;
  /** @type {Path[]} */
  #paths;
  #base;

  /** @param {string | URL} [address] The server; by default, the one that this file was loaded from. @param {Options} [options] */
  constructor(address = new URL("../", import.meta.url), options = {}) {
    super();
    const base = new URL(address, globalThis.location?.href);
    if (!base.pathname.endsWith("/")) base.pathname += "/";
    this.#base = base;
    this.#settings = options.settings ?? {};
    this.#paths = [...(options.paths ?? ["opus", "wasm", "pcm"])];
    /** @type {any} The server's `session` message. */
    this.session = null;
    /** @type {"closed" | "connecting" | "connected" | "lost" | "key_needed"} */
    this.state = "closed";
    this.speaker = options.output ? null : new Loudspeaker(this);
    /** @type {Output | null} */
    this.output = options.output ?? null;
    this.msPerUnit = MS_PER_UNIT; // how fast the model speaks, as heard so far
    this.#connection = new Connection(base, options.key ?? null, {
      onState: (state) => this.#changed(state),
      onMessage: (message) => this.#received(message),
      onFrame: (frame) => this.#byStream.get(frame.stream)?.receivePacket(frame),
    });
  }

  /** How sound is decoded here; null before it is known. */
  get path() {
    return this.output ? this.#paths[0] : null;
  }

  /** The utterance that is being heard or waited for. */
  get current() {
    return this.#queue.at(0) ?? null;
  }

  /** Connect and get the sound ready before the first `speak`, which then is quicker. */
  async connect() {
    if (this.state === "closed") this.#connection.open();
    await (this.#prepared ??= this.#prepare());
  }

  /**
   * Speak a text, after whatever is being spoken unless it is to `interrupt`. Call it from a click or a key press:
   * browsers play no sound before one.
   * @param {string} text
   * @param {Settings} [settings]
   */
  speak(text, settings) {
    const utterance = this.start(settings);
    utterance.append(text);
    utterance.end();
    return utterance;
  }

  /** Open an utterance whose text is appended while it is being written. @param {Settings} [settings] */
  start(settings = {}) {
    this.unlock();
    if (settings.interrupt) this.cancel();
    this.#numUtterances += 1;
    const merged = { ...this.#settings, ...settings };
    const utterance = new Utterance(this, `u${this.#numUtterances}`, merged, (message) => this.#connection.send(message));
    this.#queue.push(utterance);
    this.#look ??= setInterval(() => this.#lookAtPlayback(), LOOK_EVERY_MS);
    this.connect().then(() => this.state === "connected" && this.session && this.#open(utterance));
    return utterance;
  }

  /** Silence all that is being spoken or waits. */
  cancel() {
    for (const utterance of [...this.#queue].reverse()) utterance.cancel();
  }

  /** Let the browser play sound; call it from a click or a key press if the first words come later. */
  unlock() {
    this.speaker?.unlock();
  }

  /** Use another key, after `state` was `key_needed`. @param {Key} key */
  useKey(key) {
    this.#connection.useKey(key);
  }

  /** Silence everything and close the connection. */
  close() {
    this.cancel();
    this.#connection.close();
    this.speaker?.close();
  }

  /** Root mean square and peak of what is being heard now. */
  level() {
    return this.speaker?.level() ?? { rms: 0, peak: 0 };
  }

  async #prepare() {
    if (this.speaker) this.output = await this.speaker.open();
    if (!this.output) return;
    this.output.onEnded = () => this.#ended();
    this.output.onChanged = () => this.current?.changed();
    await this.#choosePath("");
  }

  /** Take the first way to decode that works; the last one has to. @param {string} reason Why the one before was given up. */
  async #choosePath(reason) {
    while (!(await DECODERS[this.#paths[0]].load(this.#base)) && this.#paths.length > 1) this.#paths.shift();
    emit(this, "path", { path: this.#paths[0], reason });
  }

  /** The browser could not decode after all: take the next way for what was not heard. @param {Error} error */
  async #decoderBroke(error) {
    if (this.#paths.length === 1) {
      emit(this, "error", { code: "decoder_failed", message: `this browser cannot decode the sound: ${error.message}` });
      return this.cancel();
    }
    this.#paths.shift();
    await this.#choosePath(error.message);
    this.#connection.send({ type: "cancel" });
    this.#detachAll();
    await this.#openAll();
  }

  /** @param {Utterance} utterance */
  #open(utterance) {
    if (utterance.isOpened || utterance.isReceived || utterance.isOver) return;
    const before = this.#queue[this.#queue.indexOf(utterance) - 1];
    const id = utterance.nextId();
    this.#byId.set(id, utterance);
    utterance.open(DECODERS[this.#paths[0]].request, before?.isOpened ? before.serverId : undefined);
  }

  async #openAll() {
    await Promise.all(this.#detachments.splice(0));
    for (const utterance of this.#queue) this.#open(utterance);
  }

  #detachAll() {
    const all = new Set([...this.#byId.values(), ...this.#queue]);
    this.#byId.clear();
    this.#byStream.clear();
    for (const utterance of all) this.#detachments.push(utterance.detach());
  }

  /** Nothing more is expected of the server about it. @param {Utterance} utterance */
  forget(utterance) {
    this.#byId.delete(utterance.serverId);
    this.#byStream.delete(utterance.started?.stream);
  }

  /** @param {"closed" | "connecting" | "connected" | "lost" | "key_needed"} state */
  #changed(state) {
    if (state === this.state) return;
    const wasConnected = this.state === "connected";
    this.state = state;
    if (wasConnected) {
      this.session = null;
      this.#isGoingAway = false;
      this.#detachAll();
    }
    emit(this, "state", { state });
  }

  /** @param {any} message */
  #received(message) {
    const utterance = this.#byId.get(message.id);
    if (message.type === "session") {
      this.session = message;
      (this.#prepared ??= this.#prepare()).then(() => this.#openAll());
    } else if (message.type === "started") {
      if (utterance) this.#byStream.set(message.stream, utterance);
      const path = this.#paths[0];
      utterance?.receiveStarted(message, DECODERS[path], (error) => path === this.#paths[0] && this.#decoderBroke(error));
    } else if (message.type === "done" && message.reason === "cancelled" && this.#isGoingAway && utterance && !utterance.isOver) {
      this.#byId.delete(message.id); // the server stops: the rest is spoken on the next connection
      this.#detachments.push(utterance.detach());
    } else if (message.type === "done") {
      utterance?.receiveDone(message);
    } else {
      if (message.type === "going_away") this.#isGoingAway = true;
      if (message.type === "error" && message.param === "after" && utterance?.retryAlone()) return this.#open(utterance);
      utterance?.receive(message);
    }
    const isPublic = ["session", "error", "warning", "going_away"].includes(message.type);
    if (isPublic && message.code !== "utterance_over") emit(this, message.type, message);
  }

  /** The first of the queue was heard to its end. */
  #ended() {
    this.current?.heardToEnd();
  }

  /** The queue moves up. @param {Utterance} utterance */
  leave(utterance) {
    const index = this.#queue.indexOf(utterance);
    if (index < 0) return;
    this.#queue.splice(index, 1);
    if (index === 0) this.#queue.at(0)?.becomeFirst();
    if (this.#queue.length) return;
    clearInterval(this.#look);
    this.#look = undefined;
  }

  #lookAtPlayback() {
    this.current?.look();
  }
}

/**
 * Something that is spoken: what was written, received and heard of it.
 *
 * Events: `started`, `sentence` and `word` (as they are heard), `words` (the server's times), `packet` {payload},
 * `samples` {samples, startMs} (decoded, at 48 kHz), `change` (of `state`), `underrun`, `warning`, `error`,
 * `flushed`, `done` (all of it was received), and `ended` (it was heard, or will not be).
 */
export class Utterance extends Target {
  #client;
  #send;
  #raw = "";
  #isEnded = false;
  /** @type {({type: "text", text: string} | {type: "flush"} | {type: "end"})[]} */
  #outbox = [];
  #numSent = 0; // code points, on this connection
  #numBegun = 0; // the end of the last sentence that began, on this connection
  #firstChar = 0; // where this connection's text begins in the whole text
  #firstMs = 0; // where this connection's sound begins in the whole sound
  #firstIndex = 0; // the number of sentences of earlier connections
  #isKnown = false; // whether the server knows it on this connection
  #isConcluded = false;
  #numOpened = 0;
  /** @type {Float32Array[]} */
  #pending = []; // samples that wait until the utterance is the first
  #numSamples = 0; // received and decoded
  #isFirst = false;
  #isComplete = false; // no more samples will come
  /** @type {Decoder | null} */
  #decoder = null;
  #toldAt = 0;
  #announced = { sentence: -1, word: -1 };
  /** @type {(outcome: Outcome) => void} */
  #finish = () => {};
  /** @type {any} */
  #error = undefined;

  /**
   * @param {StreamerClient} client
   * @param {string} id
   * @param {Settings} settings
   * @param {(message: object) => void} send
   */
  constructor(client, id, settings, send) {
    super();
    this.#client = client;
    this.#send = send;
    this.id = id;
    this.serverId = id;
    this.settings = settings;
    /** Whether the server is speaking it. */
    this.isOpened = false;
    /** Whether all of it is here. */
    this.isReceived = false;
    /** Whether it was heard to its end, or will not be. */
    this.isOver = false;
    /** @type {any} The server's `started`. */
    this.started = null;
    /** @type {any} The server's `done`. */
    this.done = null;
    /** @type {Sentence[]} */
    this.sentences = [];
    this.requestedAt = performance.now();
    /** @type {number | null} From the request to the first sound, in ms. */
    this.firstSoundMs = null;
    this.underruns = 0;
    this.numGaps = 0; // packets that are missing; always 0 over a WebSocket
    this.nextSequence = 0;
    this.playedSamples = 0;
    /** @type {"waiting" | "buffering" | "playing" | "over"} */
    this.state = "waiting";
    /** @type {Promise<Outcome>} It never rejects. */
    this.finished = new Promise((resolve) => (this.#finish = resolve));
  }

  /** The text so far, as the server counts it: composed, and without control characters. */
  get text() {
    return this.#raw.replace(NOT_COUNTED, "").normalize("NFC");
  }

  /** How much sound was received, in ms. */
  get receivedMs() {
    return this.#numSamples / SAMPLES_PER_MS;
  }

  /** How much sound was heard, in ms. */
  get playedMs() {
    const played = this.playedSamples / SAMPLES_PER_MS;
    return this.isOver ? played : Math.max(0, played - (this.#client.output?.latencyMs ?? 0));
  }

  get seed() {
    return this.started?.seed ?? null;
  }

  /** Append text; a token of a language model at a time is fine. @param {string} text */
  append(text) {
    if (this.#isEnded) throw new Error("the utterance's text has ended");
    if (!text) return;
    if (!this.#raw) this.requestedAt = performance.now();
    this.#raw += text;
    this.#outbox.push({ type: "text", text });
    this.#pump();
  }

  /** Have all text so far spoken, in mid-sentence too. */
  flush() {
    this.#outbox.push({ type: "flush" });
    this.#pump();
  }

  /** There is no more text. */
  end() {
    if (this.#isEnded) return;
    this.#isEnded = true;
    this.#outbox.push({ type: "end" });
    this.#pump();
  }

  /** Fall silent at once, and tell the server how much was heard. */
  cancel() {
    if (this.isOver) return;
    this.#look();
    const playedMs = Math.max(0, Math.round(this.playedMs - this.#firstMs));
    if (this.#isFirst) this.#client.output?.stop();
    this.#closeDecoder();
    this.playedSamples = Math.round(this.playedMs * SAMPLES_PER_MS);
    this.#setOver();
    if (this.#isKnown) this.#send({ type: "cancel", id: this.serverId, played_ms: playedMs });
    else this.#conclude("cancelled");
  }

  // ---- what the client calls ----

  nextId() {
    this.#numOpened += 1;
    this.serverId = this.#numOpened === 1 ? this.id : `${this.id}~${this.#numOpened}`;
    return this.serverId;
  }

  /** @param {object} request @param {string} [before] The id that this one is heard behind. */
  open(request, before) {
    this.isOpened = this.#isKnown = true;
    this.nextSequence = 0;
    const { interrupt: _, ...settings } = this.settings;
    const params = this.started ? { ...settings.params, seed: this.started.seed } : settings.params;
    this.#send({ type: "start", id: this.serverId, ...settings, params, ...request, after: before });
    this.#pump();
    if (this.#client.current === this && !this.#isFirst) this.becomeFirst();
  }

  /** The one before was refused, so that nothing is waited for: start again without it. */
  retryAlone() {
    if (this.started || this.isOver) return false;
    this.detach();
    return true;
  }

  becomeFirst() {
    const { output } = this.#client;
    if (!output || this.isOver) return;
    this.#isFirst = true;
    output.begin();
    for (const samples of this.#pending.splice(0)) output.push(samples);
    if (this.#isComplete) output.end();
  }

  /** @param {any} message @param {typeof Decoder} DecoderClass @param {(error: Error) => void} onBroken */
  receiveStarted(message, DecoderClass, onBroken) {
    if (this.isOver) return;
    this.#closeDecoder();
    this.started = message;
    emit(this, "started", message);
    try {
      this.#decoder = new DecoderClass(message, (samples) => this.#take(samples), onBroken);
    } catch (error) {
      onBroken(/** @type {Error} */ (error));
    }
  }

  /** @param {Frame} frame */
  receivePacket(frame) {
    if (this.isOver || !this.#decoder) return;
    if (frame.sequence !== this.nextSequence) this.numGaps += 1;
    this.nextSequence = frame.sequence + 1;
    if (!frame.payload.byteLength) return;
    emit(this, "packet", { payload: frame.payload });
    this.#decoder.decode(frame.payload, frame.isLast);
  }

  /** @param {any} message */
  receiveDone(message) {
    this.done = message;
    this.isOpened = false;
    this.isReceived = true;
    if (message.error) this.#error = message.error;
    emit(this, "done", message);
    if (this.isOver) return this.#conclude("cancelled");
    const decoder = this.#decoder;
    if (!decoder) return this.#complete();
    decoder.finish(message.audio_ms).then(() => decoder === this.#decoder && this.#complete());
  }

  /** @param {any} message */
  receive(message) {
    const { type } = message;
    const sentence = this.sentences.find(({ index, end_ms }) => index === message.index + this.#firstIndex && end_ms === null);
    if (type === "sentence_start") {
      this.#numBegun = message.char_end;
      this.sentences.push(this.#begin(message));
      this.#pump();
    } else if (type === "words" && sentence) {
      sentence.words = message.items.map((/** @type {Word} */ word) => this.#placed(word));
      emit(this, "words", { index: sentence.index, words: sentence.words });
    } else if (type === "sentence_end" && sentence) {
      sentence.end_ms = message.end_ms + this.#firstMs;
      this.#learn(sentence);
    } else if (type === "error" || type === "warning") {
      if (message.code === "utterance_over") return this.#conclude("cancelled", message.heard);
      emit(this, type, message);
      if (type === "error" && message.scope === "utterance" && !this.started) this.#refuse(message);
    } else if (type === "flushed") {
      emit(this, type, message);
    }
  }

  /**
   * The connection is lost: keep what was received, and prepare what was not heard for the next one. A sentence that
   * was received in part is spoken again; what was received of it is dropped unless it is being heard already.
   */
  async detach() {
    this.isOpened = this.#isKnown = false;
    if (this.isOver) return this.#conclude("cancelled");
    if (this.isReceived) return;
    const points = Array.from(this.text);
    let isWhole = false;
    if (this.started) {
      const decoder = this.#decoder;
      await decoder?.finish();
      if (this.isOver) return;
      const last = this.sentences.at(-1);
      this.#firstChar = last ? (last.end_ms === null ? last.char_start : last.char_end) : this.#firstChar;
      isWhole = this.#isEnded && last !== undefined && !points.slice(this.#firstChar).join("").trim();
      if (last && last.end_ms === null) this.#dropLast(last);
      this.#firstMs = this.receivedMs;
      this.#closeDecoder();
    }
    this.#numSent = this.#numBegun = 0;
    this.#firstIndex = this.sentences.length;
    const rest = points.slice(this.#firstChar).join("");
    this.#outbox = rest ? [{ type: "text", text: rest }] : [];
    if (this.#isEnded) this.#outbox.push({ type: "end" });
    if (isWhole) this.#complete();
  }

  heardToEnd() {
    this.#look();
    this.#setOver();
    const reason = this.done?.reason === "truncated" || this.done?.reason === "failed" ? this.done.reason : "completed";
    this.#conclude(reason);
  }

  changed() {
    this.#look();
  }

  /** Called many times a second: tells the application and the server what is being heard. */
  look() {
    this.#look();
    const now = performance.now();
    if (!this.isOpened || !this.started || now - this.#toldAt < TELL_PLAYED_EVERY_MS) return;
    this.#toldAt = now;
    const ms = Math.round(this.playedMs - this.#firstMs);
    if (ms >= 0) this.#send({ type: "played", id: this.serverId, ms });
  }

  // ---- inside ----

  #look() {
    const { output } = this.#client;
    if (!output || !this.#isFirst || this.isOver) return;
    this.playedSamples = Math.min(output.played, this.#numSamples);
    if (this.firstSoundMs === null && this.playedSamples > 0) {
      const elapsedMs = performance.now() - this.requestedAt - this.playedSamples / SAMPLES_PER_MS;
      this.firstSoundMs = Math.max(0, Math.round(elapsedMs));
    }
    const state = this.playedSamples === 0 ? "waiting" : output.state;
    if (output.underruns > this.underruns) {
      this.underruns = output.underruns;
      emit(this, "underrun", { underruns: this.underruns });
    }
    this.#announce();
    if (state === this.state || state === "idle") return;
    this.state = state;
    emit(this, "change", { state });
  }

  /** Dispatch `sentence` and `word` for what is heard by now. */
  #announce() {
    const heardMs = this.playedMs;
    for (let s = Math.max(0, this.#announced.sentence); s < this.sentences.length; s++) {
      const sentence = this.sentences[s];
      if (sentence.start_ms > heardMs || !this.playedSamples) return;
      if (s > this.#announced.sentence) {
        this.#announced = { sentence: s, word: -1 };
        emit(this, "sentence", sentence);
      }
      for (let w = this.#announced.word + 1; w < sentence.words.length; w++) {
        if (sentence.words[w].start_ms > heardMs) break;
        this.#announced.word = w;
        emit(this, "word", sentence.words[w]);
      }
    }
  }

  #pump() {
    if (!this.isOpened) return;
    const limits = this.#client.session?.limits ?? {};
    while (this.#outbox.length) {
      const item = this.#outbox[0];
      if (item.type === "text") {
        const points = Array.from(item.text); // the server counts code points, and a pair must not be torn
        const room = (limits.max_buffered_chars ?? Infinity) - (this.#numSent - this.#numBegun);
        const size = Math.min(points.length, limits.max_text_chars ?? Infinity, room);
        if (size <= 0) return; // continues with the next sentence that begins
        this.#numSent += size;
        this.#send({ type: "text", id: this.serverId, text: points.slice(0, size).join("") });
        if (size < points.length) {
          item.text = points.slice(size).join("");
          continue;
        }
      } else {
        this.#send({ type: item.type, id: this.serverId });
      }
      this.#outbox.shift();
    }
  }

  /** @param {Float32Array} samples */
  #take(samples) {
    if (this.isOver) return;
    emit(this, "samples", { samples, startMs: this.receivedMs });
    this.#numSamples += samples.length;
    if (this.#isFirst) this.#client.output?.push(samples);
    else this.#pending.push(samples);
  }

  #complete() {
    this.isReceived = this.#isComplete = true;
    if (this.#isFirst) this.#client.output?.end();
  }

  /** @param {any} error */
  #refuse(error) {
    this.isOpened = false;
    this.#error = error;
    const reason = this.isOver ? "cancelled" : "refused";
    this.#setOver();
    this.#conclude(reason);
  }

  /** @param {Sentence} sentence One that was received in part. */
  #dropLast(sentence) {
    const isHeard = this.playedSamples / SAMPLES_PER_MS > sentence.start_ms;
    const kept = Math.round(sentence.start_ms * SAMPLES_PER_MS);
    if (isHeard) sentence.end_ms = this.receivedMs;
    else {
      this.sentences.pop();
      if (this.#isFirst) this.#client.output?.trim(kept);
      else this.#pending = [joined(this.#pending).slice(0, kept)];
      this.#numSamples = Math.min(this.#numSamples, kept);
    }
  }

  /** @param {any} message */
  #begin({ index, text, char_start, char_end, start_ms }) {
    const place = { text, char_start, char_end, start_ms, end_ms: null };
    const sentence = { ...this.#placed(place), index: index + this.#firstIndex, end_ms: null, words: [] };
    return { ...sentence, words: guessWords(sentence, this.#client.msPerUnit) };
  }

  /** @template {{char_start: number, char_end: number, start_ms: number, end_ms: number | null}} T @param {T} item */
  #placed(item) {
    return {
      ...item,
      char_start: item.char_start + this.#firstChar,
      char_end: item.char_end + this.#firstChar,
      start_ms: item.start_ms + this.#firstMs,
      end_ms: item.end_ms === null ? null : item.end_ms + this.#firstMs,
    };
  }

  /** @param {Sentence} sentence */
  #learn(sentence) {
    const units = sentence.words.reduce((sum, { text }) => sum + Array.from(text).length + UNITS_PER_WORD, 0);
    if (units < 20 || sentence.end_ms === null) return;
    const msPerUnit = (sentence.end_ms - sentence.start_ms) / units;
    this.#client.msPerUnit = Math.min(2 * MS_PER_UNIT, Math.max(MS_PER_UNIT / 3, msPerUnit));
  }

  #closeDecoder() {
    this.#decoder?.close();
    this.#decoder = null;
  }

  /** Nothing more of it is heard. */
  #setOver() {
    if (this.isOver) return;
    this.isOver = true;
    this.state = "over";
    emit(this, "change", { state: "over" });
    this.#client.leave(this);
  }

  /** @param {Outcome["reason"]} reason @param {Outcome["heard"]} [heard] */
  #conclude(reason, heard = this.done?.heard) {
    if (this.#isConcluded) return;
    this.#isConcluded = true;
    this.#client.forget(this);
    const playedMs = Math.round(this.playedMs);
    const outcome = { reason, playedMs, heard, error: this.#error, done: this.done };
    this.#finish(outcome);
    emit(this, "ended", outcome);
  }

}

/** Place a sentence's words by their length, until the server's times arrive. @param {Sentence} sentence @param {number} msPerUnit @returns {Word[]} */
export function guessWords(sentence, msPerUnit = MS_PER_UNIT) {
  let ms = sentence.start_ms;
  return [...sentence.text.matchAll(WORD)].map((match) => {
    const [text] = match;
    const start = sentence.char_start + Array.from(sentence.text.slice(0, match.index)).length;
    const length = Array.from(text).length;
    const start_ms = Math.round(ms);
    ms += (length + UNITS_PER_WORD) * msPerUnit;
    return { text, start_ms, end_ms: Math.round(ms), char_start: start, char_end: start + length };
  });
}

/**
 * The WebSocket, which connects again by itself, with growing delays.
 */
class Connection {
  #wait = FIRST_RETRY_MS;
  #retryAfterMs = 0; // what a server that refused the session asks for on top
  #heardAt = 0;
  /** @type {WebSocket | null} */
  #socket = null;
  /** @type {ReturnType<typeof setTimeout> | undefined} */
  #retry;
  #listeners = new AbortController();
  #isWanted = false;
  /** @type {ReturnType<typeof setInterval> | undefined} */
  #pings;

  /**
   * @param {URL} base
   * @param {Key} key
   * @param {{onState: (state: StreamerClient["state"]) => void, onMessage: (message: any) => void, onFrame: (frame: Frame) => void}} listener
   */
  constructor(base, key, listener) {
    this.base = base;
    this.key = key;
    this.listener = listener;
  }

  open() {
    if (!this.#isWanted) {
      this.#isWanted = true;
      this.#pings = setInterval(() => this.#keepAlive(), PING_EVERY_MS);
      const { signal } = this.#listeners;
      globalThis.addEventListener?.("online", () => this.#retryNow(), { signal });
      globalThis.document?.addEventListener("visibilitychange", () => this.#retryNow(), { signal });
    }
    clearTimeout(this.#retry);
    this.listener.onState("connecting");
    if (typeof this.key !== "function") return this.#connect(this.key);
    Promise.resolve(this.key()).then((key) => this.#isWanted && this.#connect(key), () => this.#lost(1006));
  }

  /** @param {string | null} key */
  #connect(key) {
    const address = new URL("v1/stream", this.base);
    address.protocol = this.base.protocol.replace("http", "ws");
    const socket = new WebSocket(address, SUBPROTOCOL);
    this.#socket = socket;
    socket.binaryType = "arraybuffer";
    socket.onopen = () => {
      this.#heardAt = performance.now();
      if (key) this.send({ type: "auth", token: key });
    };
    socket.onmessage = ({ data }) => this.#receive(data);
    socket.onclose = ({ code }) => socket === this.#socket && this.#lost(code);
  }

  close() {
    this.#isWanted = false;
    this.#listeners.abort();
    this.#listeners = new AbortController();
    clearTimeout(this.#retry);
    clearInterval(this.#pings);
    const socket = this.#socket;
    this.#socket = null;
    socket?.close();
    this.listener.onState("closed");
  }

  /** @param {Key} key */
  useKey(key) {
    this.key = key;
    this.open();
  }

  /** @param {object} message */
  send(message) {
    if (this.#socket?.readyState === 1) this.#socket.send(JSON.stringify(message));
  }

  /** @param {string | ArrayBuffer} data */
  #receive(data) {
    this.#heardAt = performance.now();
    if (typeof data !== "string") {
      const frame = parseFrame(data);
      if (frame) this.listener.onFrame(frame);
      return;
    }
    const message = JSON.parse(data);
    if (message.type === "session") {
      this.#wait = FIRST_RETRY_MS;
      if (!this.key) this.#ping(); // if a key is needed, this is refused at once and not after seconds
      this.listener.onState("connected");
    } else if (message.type === "error" && message.scope === "session") {
      this.#retryAfterMs = 1000 * (message.retry_after_s ?? 0);
    }
    this.listener.onMessage(message);
  }

  /** @param {number} code */
  #lost(code) {
    if (code === UNAUTHORIZED) {
      this.#socket = null;
      return this.listener.onState("key_needed");
    }
    this.#retry = setTimeout(() => this.open(), this.#retryAfterMs + this.#wait * (0.8 + 0.4 * Math.random()));
    this.#retryAfterMs = 0;
    this.#wait = Math.min(2 * this.#wait, LONGEST_RETRY_MS);
    this.listener.onState("lost");
  }

  #retryNow() {
    if (this.#isWanted && this.#socket?.readyState === 3 && !globalThis.document?.hidden) this.open();
  }

  #keepAlive() {
    if (this.#socket?.readyState !== 1) return;
    if (performance.now() - this.#heardAt > SILENT_TOO_LONG_MS) this.#abandon();
    else this.#ping();
  }

  #ping() {
    this.send({ type: "ping", t: Math.round(performance.now()) });
  }

  // close() would wait for an answer, which a dead connection never gives.
  #abandon() {
    const socket = this.#socket;
    if (!socket) return;
    socket.onclose = socket.onmessage = null;
    socket.close();
    this.#lost(1006);
  }
}

/**
 * @typedef {Object} Frame A packet of sound.
 * @property {boolean} isLast
 * @property {number} stream
 * @property {number} sequence
 * @property {Uint8Array<ArrayBuffer>} payload
 */

/** Take a frame apart: version u8 = 1 | flags u8 | stream u16 | sequence u32 | timestamp i32 | payload. @param {ArrayBuffer} data @returns {Frame | null} */
export function parseFrame(data) {
  if (data.byteLength < HEADER_BYTES) return null;
  const header = new DataView(data);
  if (header.getUint8(0) !== 1) return null;
  return {
    isLast: (header.getUint8(1) & 2) !== 0,
    stream: header.getUint16(2),
    sequence: header.getUint32(4),
    payload: new Uint8Array(data, HEADER_BYTES),
  };
}

// ---- decoders: packets in, samples at 48 kHz out, without what a codec adds before and behind the sound ----

class Decoder {
  /** What `start` asks for so that this decoder can read it. @type {Record<string, unknown>} */
  static request = { encoding: "opus", frame_ms: 20 };

  /** Whether it works here; loads what it needs. @param {URL} _base @returns {Promise<boolean>} */
  static async load(_base) {
    return true;
  }

  /** @param {{pre_skip: number, frame_ms: number}} started @param {(samples: Float32Array) => void} onSamples @param {(error: Error) => void} onBroken */
  constructor(started, onSamples, onBroken) {
    this.frameUs = 1000 * started.frame_ms;
    this.toSkip = started.pre_skip;
    this.left = Infinity; // samples that belong to the sound; known at its end
    this.given = 0;
    this.isClosed = false;
    /** @type {Uint8Array<ArrayBuffer> | null} */
    this.held = null; // the last packet, which finish() knows how much of is sound
    this.onSamples = onSamples;
    this.onBroken = onBroken;
  }

  /** @param {Uint8Array<ArrayBuffer>} payload @param {boolean} isLast */
  decode(payload, isLast) {
    if (isLast) this.held = payload;
    else this.decodePacket(payload);
  }

  /** Give out all samples, at most `audioMs` of them if that is known. @param {number} [audioMs] */
  async finish(audioMs) {
    if (audioMs !== undefined) this.left = Math.round(audioMs * SAMPLES_PER_MS) - this.given;
    if (this.held) this.decodePacket(this.held);
    this.held = null;
    await this.drain();
  }

  /** @param {Float32Array} samples */
  give(samples) {
    if (this.isClosed) return;
    const skipped = Math.min(this.toSkip, samples.length);
    this.toSkip -= skipped;
    const kept = samples.slice(skipped, skipped + Math.max(0, this.left));
    this.left -= kept.length;
    this.given += kept.length;
    if (kept.length) this.onSamples(kept);
  }

  /** @param {Uint8Array<ArrayBuffer>} _payload */
  decodePacket(_payload) {}

  async drain() {}

  close() {
    this.isClosed = true;
  }
}

const CODEC = { codec: "opus", sampleRate: RATE_HZ, numberOfChannels: 1 };

/** The browser's own decoder, which pages on https and localhost may use. */
class WebCodecsDecoder extends Decoder {
  static async load() {
    if (!("AudioDecoder" in globalThis)) return false;
    try {
      return (await AudioDecoder.isConfigSupported(CODEC)).supported === true;
    } catch {
      return false;
    }
  }

  /** @param {{pre_skip: number, frame_ms: number}} started @param {(samples: Float32Array) => void} onSamples @param {(error: Error) => void} onBroken */
  constructor(started, onSamples, onBroken) {
    super(started, onSamples, onBroken);
    this.clockUs = 0;
    this.decoder = new AudioDecoder({ output: (audio) => this.#take(audio), error: (error) => this.#broke(error) });
    this.decoder.configure(CODEC);
  }

  /** @param {Uint8Array<ArrayBuffer>} data */
  decodePacket(data) {
    if (this.decoder.state !== "configured") return;
    // Time is counted, not taken from the arrival: some decoders stumble over gaps.
    this.decoder.decode(new EncodedAudioChunk({ type: "key", timestamp: this.clockUs, duration: this.frameUs, data }));
    this.clockUs += this.frameUs;
  }

  async drain() {
    try {
      await this.decoder.flush();
    } catch {
      // It was closed in the meantime, or is broken, which is reported elsewhere.
    }
  }

  close() {
    super.close();
    if (this.decoder.state !== "closed") this.decoder.close();
  }

  /** @param {AudioData} audio */
  #take(audio) {
    const samples = new Float32Array(audio.numberOfFrames);
    const { sampleRate } = audio;
    audio.copyTo(samples, { planeIndex: 0, format: "f32-planar" });
    audio.close();
    if (sampleRate === RATE_HZ) this.give(samples);
    else this.#broke(new Error(`the browser decodes at ${sampleRate} Hz`));
  }

  /** @param {Error} error */
  #broke(error) {
    if (!this.isClosed) this.onBroken(error);
  }
}

/** libopus as WebAssembly (the package opus-decoder), which the server has a copy of. */
class WasmDecoder extends Decoder {
  /** @param {URL} base */
  static async load(base) {
    if (!("WebAssembly" in globalThis)) return false;
    try {
      await import(new URL("player/opus-decoder.min.js", base).href);
      await WasmDecoder.create().ready;
      return true;
    } catch {
      return false;
    }
  }

  /** @returns {{ready: Promise<void>, decodeFrame: (data: Uint8Array) => {channelData: Float32Array[], errors: {message: string}[]}, free: () => void}} */
  static create() {
    const { OpusDecoder } = /** @type {any} */ (globalThis)["opus-decoder"];
    return new OpusDecoder({ channels: 1, sampleRate: RATE_HZ });
  }

  /** @param {{pre_skip: number, frame_ms: number}} started @param {(samples: Float32Array) => void} onSamples @param {(error: Error) => void} onBroken */
  constructor(started, onSamples, onBroken) {
    super(started, onSamples, onBroken);
    this.decoder = WasmDecoder.create();
    this.work = this.decoder.ready;
  }

  /** @param {Uint8Array<ArrayBuffer>} data */
  decodePacket(data) {
    this.work = this.work.then(() => {
      if (this.isClosed) return;
      const { channelData, errors } = this.decoder.decodeFrame(data);
      if (errors.length) this.onBroken(new Error(errors[0].message));
      else this.give(channelData[0]);
    });
  }

  drain() {
    return this.work;
  }

  close() {
    if (!this.isClosed) this.work.then(() => this.decoder.free());
    super.close();
  }
}

/** Nothing to decode: samples as they are, at sixteen times the bytes. */
class PcmDecoder extends Decoder {
  static request = { encoding: "pcm_s16le", sample_rate: RATE_HZ, frame_ms: 20 };

  /** @param {Uint8Array<ArrayBuffer>} payload */
  decodePacket(payload) {
    const view = new DataView(payload.buffer, payload.byteOffset, payload.byteLength);
    this.give(Float32Array.from({ length: payload.byteLength >> 1 }, (_, i) => view.getInt16(2 * i, true) / 32767));
  }
}

/** @type {Record<Path, typeof Decoder>} */
const DECODERS = { opus: WebCodecsDecoder, wasm: WasmDecoder, pcm: PcmDecoder };

// ---- outputs: samples in, sound out ----

/** The audio context, and what browsers and phones ask of a page before it may be heard. */
class Loudspeaker {
  /** @type {AudioContext | null} */
  #context = null;
  /** @type {AnalyserNode | null} */
  #analyser = null;
  #target;
  #isBlocked = false;
  #listeners = new AbortController();
  #window = new Float32Array(2048);

  /** @param {EventTarget} target Where `blocked` and `unblocked` are dispatched. */
  constructor(target) {
    this.#target = target;
  }

  /** Choose how to play here. @returns {Promise<Output>} */
  async open() {
    const context = this.#ensure();
    try {
      await context.audioWorklet.addModule(import.meta.url); // absent on plain http
      return new RingOutput(context, this.#sink());
    } catch {
      return new ScheduledOutput(context, this.#sink());
    }
  }

  /** Begin to sound; must be called from a click or a key press. */
  unlock() {
    const context = this.#ensure();
    if (context.state === "running") return;
    context.resume().catch(() => {}); // while blocked, this neither succeeds nor fails
    after(BLOCKED_AFTER_MS).then(() => this.#check());
  }

  level() {
    if (!this.#analyser) return { rms: 0, peak: 0 };
    this.#analyser.getFloatTimeDomainData(this.#window);
    const peak = this.#window.reduce((most, sample) => Math.max(most, Math.abs(sample)), 0);
    const energy = this.#window.reduce((sum, sample) => sum + sample * sample, 0);
    return { rms: Math.sqrt(energy / this.#window.length), peak };
  }

  close() {
    this.#listeners.abort();
    this.#context?.close();
    this.#context = null;
  }

  #ensure() {
    if (this.#context) return this.#context;
    // An iPhone's mute switch would silence the page; a page that also listens sets "play-and-record" itself.
    const session = /** @type {any} */ (navigator).audioSession;
    if (session?.type === "auto") session.type = "playback";
    const context = new AudioContext({ sampleRate: RATE_HZ, latencyHint: "interactive" });
    context.onstatechange = () => this.#check();
    const { signal } = this.#listeners;
    const wake = () => context.state !== "running" && context.state !== "closed" && this.unlock();
    for (const gesture of ["pointerdown", "touchend", "keydown"]) {
      document.addEventListener(gesture, wake, { signal, capture: true, passive: true });
    }
    document.addEventListener("visibilitychange", () => document.hidden || (this.#isBlocked && wake()), { signal });
    this.#context = context;
    return context;
  }

  #sink() {
    const context = this.#ensure();
    this.#analyser = new AnalyserNode(context, { fftSize: this.#window.length });
    this.#analyser.connect(context.destination);
    return this.#analyser;
  }

  // Every state but "running" is silence: a phone that rings is "interrupted".
  #check() {
    const isBlocked = this.#context !== null && this.#context.state !== "running";
    if (isBlocked === this.#isBlocked) return;
    this.#isBlocked = isBlocked;
    emit(this.#target, isBlocked ? "blocked" : "unblocked", { state: this.#context?.state });
  }
}

/** How long sound takes from the output to the ear. It is rarely asked: Firefox stands still if its output is not ready. */
class Latency {
  #ms = 0;
  #readAt = -Infinity;

  /** @param {AudioContext} context */
  constructor(context) {
    this.context = context;
  }

  get ms() {
    const { currentTime, state } = this.context;
    if (state === "running" && currentTime > 1 && currentTime - this.#readAt > 30) {
      this.#readAt = currentTime;
      this.#ms = 1000 * (this.context.outputLatency || this.context.baseLatency || 0);
    }
    return this.#ms;
  }
}

/** Plays in the audio thread: the worklet below fills every block, whatever the page is doing. @implements {Output} */
class RingOutput {
  #utterance = 0;
  #latency;
  #pushed = 0;
  #report = { state: /** @type {Output["state"]} */ ("idle"), played: 0, buffered: 0, underruns: 0, at: 0 };
  onEnded = () => {};
  onChanged = () => {};

  /** @param {AudioContext} context @param {AudioNode} sink */
  constructor(context, sink) {
    this.context = context;
    this.#latency = new Latency(context);
    this.node = new AudioWorkletNode(context, "streamer-ring", { numberOfInputs: 0, outputChannelCount: [1] });
    this.node.port.onmessage = ({ data }) => this.#heardFrom(data);
    this.node.connect(sink);
  }

  get latencyMs() {
    return this.#latency.ms;
  }

  get state() {
    return this.#report.state;
  }

  get underruns() {
    return this.#report.underruns;
  }

  get played() {
    const { state, played, buffered, at } = this.#report;
    if (state !== "playing") return played;
    const since = (this.context.currentTime - at) * RATE_HZ;
    return Math.round(played + Math.min(Math.max(since, 0), buffered));
  }

  begin() {
    this.#utterance += 1;
    this.#pushed = 0;
    this.#report = { state: "buffering", played: 0, buffered: 0, underruns: 0, at: 0 };
    this.node.port.postMessage({ type: "begin", utterance: this.#utterance });
  }

  /** @param {Float32Array} samples */
  push(samples) {
    this.#pushed += samples.length;
    this.node.port.postMessage({ type: "push", samples });
  }

  end() {
    if (this.#pushed) this.node.port.postMessage({ type: "end" });
    else queueMicrotask(() => this.onEnded());
  }

  /** @param {number} numSamples */
  trim(numSamples) {
    this.node.port.postMessage({ type: "trim", numSamples });
  }

  stop() {
    this.#utterance += 1; // its last reports mean nothing any more
    this.#report = { ...this.#report, state: "idle", played: this.played };
    this.node.port.postMessage({ type: "stop" });
  }

  /** @param {any} report */
  #heardFrom(report) {
    if (report.utterance !== this.#utterance) return;
    this.#report = report;
    this.onChanged();
    if (report.how === "ended") this.onEnded();
  }
}

/** Plays pieces at set times, where the page may have no worklet. @implements {Output} */
class ScheduledOutput {
  /** @typedef {{source: AudioBufferSourceNode, start: number, size: number}} Piece */
  /** @type {Piece[]} */
  #scheduled = [];
  /** @type {Float32Array[]} */
  #waiting = [];
  #numWaiting = 0;
  #numScheduled = 0; // up to the end of the last one in `#scheduled`
  #numPast = 0; // samples of pieces that are over
  #nextStart = 0;
  #isComplete = false;
  #isFading = false;
  #targetS = FIRST_TARGET_S;
  /** @type {ReturnType<typeof setInterval> | undefined} */
  #timer;
  #gain;
  #latency;
  state = /** @type {Output["state"]} */ ("idle");
  underruns = 0;
  onEnded = () => {};
  onChanged = () => {};

  /** @param {AudioContext} context @param {AudioNode} sink */
  constructor(context, sink) {
    this.context = context;
    this.#latency = new Latency(context);
    this.sink = sink;
    this.#gain = new GainNode(context);
  }

  get latencyMs() {
    return this.#latency.ms;
  }

  get played() {
    const now = this.context.currentTime;
    let played = this.#numPast;
    for (const { start, size } of this.#scheduled) {
      played += Math.min(size, Math.max(0, Math.round((now - start) * RATE_HZ)));
    }
    return played;
  }

  begin() {
    this.#gain = new GainNode(this.context);
    this.#gain.connect(this.sink);
    this.#scheduled = [];
    this.#waiting = [];
    this.#numWaiting = this.#numScheduled = this.#numPast = this.#nextStart = this.underruns = 0;
    this.#isComplete = this.#isFading = false;
    this.#timer = setInterval(() => this.#tick(), 20);
    this.#enter("buffering");
  }

  /** @param {Float32Array} samples */
  push(samples) {
    if (this.state === "idle") return;
    this.#waiting.push(samples);
    this.#numWaiting += samples.length;
    this.#tick();
  }

  end() {
    this.#isComplete = true;
    queueMicrotask(() => this.#tick());
  }

  /** @param {number} numSamples */
  trim(numSamples) {
    let first = this.#numScheduled;
    this.#waiting = this.#waiting.map((samples) => {
      const kept = samples.slice(0, Math.max(0, numSamples - first));
      first += samples.length;
      return kept;
    });
    this.#numWaiting = this.#waiting.reduce((sum, { length }) => sum + length, 0);
    while (this.#scheduled.length && this.#numScheduled - this.#scheduled[this.#scheduled.length - 1].size >= numSamples) {
      const { source, start, size } = /** @type {Piece} */ (this.#scheduled.pop());
      source.stop();
      this.#nextStart = start;
      this.#numScheduled -= size;
    }
  }

  stop() {
    if (this.state === "idle") return;
    this.#numPast = this.played;
    const now = this.context.currentTime;
    this.#fade(1, 0, now);
    for (const { source } of this.#scheduled.splice(0)) source.stop(now + FADE_S);
    this.#leave();
  }

  #tick() {
    const now = this.context.currentTime;
    const isDry = this.state === "playing" && !this.#waiting.length && !this.#isComplete;
    if (isDry && now >= this.#nextStart) {
      this.underruns += 1;
      this.#targetS = Math.min(this.#targetS + TARGET_STEP_S, TARGET_MAX_S);
      this.#enter("buffering");
    } else if (isDry && !this.#isFading && now > this.#nextStart - 0.03) {
      this.#isFading = true;
      this.#fade(1, 0, Math.max(now, this.#nextStart - FADE_S));
    }
    const hasEnough = this.#isComplete || this.#numWaiting >= this.#targetS * RATE_HZ;
    if (this.state === "buffering" && this.#waiting.length && hasEnough) {
      this.#nextStart = now + 0.02;
      this.#enter("playing");
    }
    if (this.state === "playing" && this.#waiting.length) {
      if (this.#isFading) this.#fade(0, 1, Math.max(now, this.#nextStart));
      this.#isFading = false;
      for (const samples of this.#waiting.splice(0)) this.#schedule(samples);
      this.#numWaiting = 0;
    }
    while (this.#scheduled.length > 1 && this.#scheduled[1].start <= now) {
      this.#numPast += /** @type {Piece} */ (this.#scheduled.shift()).size;
    }
    if (!this.#isComplete || this.state === "idle" || now < this.#nextStart) return;
    if (!this.underruns) this.#targetS = Math.max(TARGET_S, this.#targetS - TARGET_STEP_S);
    this.#numPast = this.#numScheduled;
    this.#scheduled = [];
    this.#leave();
    this.onEnded();
  }

  /** @param {Float32Array} samples */
  #schedule(samples) {
    if (!samples.length) return;
    const buffer = new AudioBuffer({ length: samples.length, sampleRate: RATE_HZ });
    buffer.copyToChannel(/** @type {Float32Array<ArrayBuffer>} */ (samples), 0);
    const source = new AudioBufferSourceNode(this.context, { buffer });
    source.connect(this.#gain);
    // Aligned to samples, so that rounding leaves no gap.
    const start = Math.ceil(Math.max(this.#nextStart, this.context.currentTime) * RATE_HZ - 1e-6) / RATE_HZ;
    source.start(start);
    this.#scheduled.push({ source, start, size: samples.length });
    this.#numScheduled += samples.length;
    this.#nextStart = start + samples.length / RATE_HZ;
  }

  /** @param {number} from @param {number} to @param {number} at */
  #fade(from, to, at) {
    const { gain } = this.#gain;
    gain.cancelScheduledValues(at);
    gain.setValueAtTime(from, at);
    gain.linearRampToValueAtTime(to, at + FADE_S);
  }

  #leave() {
    clearInterval(this.#timer);
    this.state = "idle";
  }

  /** @param {Output["state"]} state */
  #enter(state) {
    this.state = state;
    queueMicrotask(() => this.onChanged());
  }
}

// ---- the audio thread's end of `RingOutput`: this file is loaded there as a worklet ----

/**
 * A ring of samples that is filled by messages and played without a gap.
 *
 * Messages in: begin {utterance}, push {samples}, trim {numSamples}, end, stop. Reports out, some 20 times a second
 * and at each change: {utterance, state, played, buffered, underruns, at, how}.
 */
export class SpeechRing {
  utterance = 0;
  /** @type {"idle" | "buffering" | "playing"} */
  state = "idle";
  first = 0;
  count = 0;
  played = 0;
  underruns = 0;
  isComplete = false;
  isFadingIn = false;
  isStopping = false;
  stopGain = 1;
  sinceReport = 0;
  now = 0;
  /** @type {any[]} */
  later = []; // messages for the next utterance, while this one is fading out

  /** @param {(report: object) => void} send @param {number} rateHz */
  constructor(send, rateHz) {
    this.send = send;
    this.rateHz = rateHz;
    this.ring = new Float32Array(60 * rateHz);
    this.target = FIRST_TARGET_S * rateHz; // it stays from one utterance to the next, because the line does
  }

  /** @param {number} utterance */
  begin(utterance) {
    this.utterance = utterance;
    this.state = "buffering";
    this.first = this.count = this.played = this.underruns = this.sinceReport = 0;
    this.isComplete = this.isFadingIn = false;
    this.stopGain = 1;
  }

  /** @param {any} message */
  receive(message) {
    if (this.isStopping) {
      this.later.push(message);
    } else if (message.type === "begin") {
      this.begin(message.utterance);
    } else if (this.state === "idle") {
      return;
    } else if (message.type === "push") {
      this.push(message.samples);
    } else if (message.type === "trim") {
      this.count = Math.min(this.count, Math.max(0, message.numSamples - this.played));
    } else if (message.type === "end") {
      this.isComplete = true;
    } else if (message.type === "stop") {
      if (this.state === "playing") this.isStopping = true;
      else this.finish("stopped");
    }
  }

  /** @param {Float32Array} samples */
  push(samples) {
    if (this.count + samples.length > this.ring.length) this.grow(this.count + samples.length);
    const at = (this.first + this.count) % this.ring.length;
    const head = Math.min(samples.length, this.ring.length - at);
    this.ring.set(samples.subarray(0, head), at);
    this.ring.set(samples.subarray(head), 0);
    this.count += samples.length;
  }

  /** @param {number} needed */
  grow(needed) {
    const larger = new Float32Array(2 * needed); // speech is never dropped
    for (let i = 0; i < this.count; i++) larger[i] = this.ring[(this.first + i) % this.ring.length];
    this.ring = larger;
    this.first = 0;
  }

  /** Fill a block. @param {Float32Array} output @param {number} now The context's time at its begin, in seconds. */
  process(output, now) {
    this.now = now + output.length / this.rateHz;
    if (this.state === "buffering") {
      if (this.count >= this.target || (this.isComplete && this.count > 0)) {
        this.state = "playing";
        this.isFadingIn = this.played > 0;
        this.play(output);
        if (this.state === "playing") this.report();
      } else if (this.isComplete) {
        this.finish("ended");
      }
    } else if (this.state === "playing") {
      this.play(output);
    }
    this.sinceReport += output.length;
    if (this.state !== "idle" && this.sinceReport >= this.rateHz / 20) this.report();
  }

  /** @param {Float32Array} output */
  play(output) {
    const size = Math.min(output.length, this.count);
    for (let i = 0; i < size; i++) output[i] = this.ring[(this.first + i) % this.ring.length];
    this.first = (this.first + size) % this.ring.length;
    this.count -= size;
    this.played += size;
    if (this.isFadingIn) ramp(output, size, 0, 1);
    this.isFadingIn = false;
    if (this.isStopping) {
      const next = Math.max(0, this.stopGain - size / (FADE_S * this.rateHz));
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
      this.target = Math.min(this.target + TARGET_STEP_S * this.rateHz, TARGET_MAX_S * this.rateHz);
      this.report();
    }
  }

  /** @param {"ended" | "stopped"} how */
  finish(how) {
    if (how === "ended" && !this.underruns) {
      this.target = Math.max(TARGET_S * this.rateHz, this.target - TARGET_STEP_S * this.rateHz);
    }
    const { later } = this;
    this.state = "idle";
    this.count = 0;
    this.isStopping = false;
    this.later = [];
    this.report(how);
    for (const message of later) this.receive(message);
  }

  /** @param {"ended" | "stopped"} [how] */
  report(how) {
    this.sinceReport = 0;
    const { utterance, state, played, count, underruns, now } = this;
    this.send({ utterance, state, played, buffered: count, underruns, at: now, how });
  }
}

/** @param {Float32Array} samples @param {number} size @param {number} from @param {number} to */
function ramp(samples, size, from, to) {
  for (let i = 0; i < size; i++) samples[i] *= from + ((to - from) * (i + 1)) / size;
}

const scope = /** @type {any} */ (globalThis);
if (scope.registerProcessor) {
  scope.registerProcessor(
    "streamer-ring",
    class extends scope.AudioWorkletProcessor {
      constructor() {
        super();
        this.ring = new SpeechRing((report) => this.port.postMessage(report), scope.sampleRate);
        this.port.onmessage = (/** @type {any} */ { data }) => this.ring.receive(data);
      }

      /** @param {unknown} _inputs @param {Float32Array[][]} outputs */
      process(_inputs, outputs) {
        this.ring.process(outputs[0][0], scope.currentTime);
        return true;
      }
    },
  );
}
