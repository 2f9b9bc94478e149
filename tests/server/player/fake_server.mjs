// A server for `StreamerClient` in Node: a WebSocket whose other end is the test, and an output that plays when told.

export class FakeSocket {
  /** @type {FakeSocket[]} */
  static all = [];
  readyState = 0;

  constructor(address, subprotocol) {
    Object.assign(this, { address: String(address), subprotocol, sent: [] });
    FakeSocket.all.push(this);
  }

  static get last() {
    return FakeSocket.all.at(-1);
  }

  send(text) {
    this.sent.push(JSON.parse(text));
  }

  close(code = 1005) {
    if (this.readyState === 3) return;
    this.readyState = 3;
    this.onclose?.({ code });
  }

  // ---- the test's side ----

  greet(limits = {}) {
    this.readyState = 1;
    this.onopen?.();
    this.say({ type: "session", model: "fake", capabilities: { languages: ["en"] }, limits });
  }

  say(message) {
    this.onmessage?.({ data: JSON.stringify(message) });
  }

  /** Send a packet of 20 ms of 16-bit samples, all of one value. */
  sendPacket(stream, sequence, { isLast = false, value = 1000, numSamples = 960 } = {}) {
    const data = new ArrayBuffer(12 + 2 * numSamples);
    const view = new DataView(data);
    view.setUint8(0, 1);
    view.setUint8(1, isLast ? 2 : 0);
    view.setUint16(2, stream);
    view.setUint32(4, sequence);
    for (let i = 0; i < numSamples; i++) view.setInt16(12 + 2 * i, value, true);
    this.onmessage?.({ data });
  }

  start(id, stream, more = {}) {
    this.say({ type: "started", id, stream, frame_ms: 20, pre_skip: 0, seed: 7, ...more });
  }

  sentence(id, index, text, char_start, start_ms) {
    this.say({ type: "sentence_start", id, index, text, char_start, char_end: char_start + [...text].length, start_ms });
  }

  messages(type) {
    return this.sent.filter((message) => message.type === type);
  }
}

export class FakeOutput {
  state = "idle";
  played = 0;
  underruns = 0;
  latencyMs = 0;
  log = [];
  numPushed = 0;
  isComplete = false;
  onEnded = () => {};
  onChanged = () => {};

  begin() {
    Object.assign(this, { state: "buffering", played: 0, numPushed: 0, isComplete: false });
    this.log.push("begin");
  }

  push(samples) {
    this.numPushed += samples.length;
  }

  end() {
    this.isComplete = true;
    if (!this.numPushed) queueMicrotask(() => this.onEnded());
  }

  trim(numSamples) {
    this.numPushed = Math.min(this.numPushed, numSamples);
    this.log.push(`trim ${numSamples}`);
  }

  stop() {
    this.state = "idle";
    this.log.push("stop");
  }

  /** Play so much of what was pushed; the rest if `ms` is absent. */
  play(ms = Infinity) {
    this.played = Math.min(this.numPushed, this.played + 48 * ms);
    this.state = "playing";
    this.onChanged();
    if (this.played < this.numPushed || !this.isComplete) return;
    this.state = "idle";
    this.onEnded();
  }
}

const listeners = new Set();
globalThis.addEventListener = (type, listener) => type === "online" && listeners.add(listener);

/** Tell the client that there is a network again, so that it does not wait. */
export const comeOnline = () => listeners.forEach((listener) => listener());

/** Wait until what was started has happened. */
export const settle = () => new Promise((resolve) => setTimeout(resolve, 5));
