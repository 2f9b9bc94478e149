// The WebSocket to the server: it reconnects by itself, with growing delays.

const SUBPROTOCOL = "streamer.v1";
const HEADER_BYTES = 12;
const PING_EVERY_MS = 20000;
const SILENT_TOO_LONG_MS = 50000;
const FIRST_WAIT_MS = 500;
const LONGEST_WAIT_MS = 10000;
const UNAUTHORIZED = 4401;

/** Calls onState(state, text), onMessage(message), onFrame(frame) and onKeyNeeded(). */
export class Connection {
  constructor({ onState, onMessage, onFrame, onKeyNeeded }) {
    Object.assign(this, { onState, onMessage, onFrame, onKeyNeeded });
    this.key = sessionStorage.getItem("streamer-key");
    this.needsKey = false;
    this.waitMs = FIRST_WAIT_MS;
    this.heardAt = 0;
    setInterval(() => this.#keepAlive(), PING_EVERY_MS);
    addEventListener("online", () => this.#retryNow());
    document.addEventListener("visibilitychange", () => document.hidden || this.#retryNow());
  }

  get isOpen() {
    return this.socket?.readyState === WebSocket.OPEN;
  }

  open() {
    clearTimeout(this.retry);
    this.onState("connecting", "connecting…");
    const address = new URL("v1/stream", location.href);
    address.protocol = location.protocol === "https:" ? "wss:" : "ws:";
    const socket = new WebSocket(address, SUBPROTOCOL);
    this.socket = socket;
    socket.binaryType = "arraybuffer";
    socket.onopen = () => {
      this.heardAt = performance.now();
      if (this.key) this.send({ type: "auth", token: this.key });
    };
    socket.onmessage = ({ data }) => this.#receive(data);
    socket.onclose = (event) => socket === this.socket && this.#lost(event);
  }

  send(message) {
    if (this.isOpen) this.socket.send(JSON.stringify(message));
  }

  useKey(key) {
    this.key = key;
    this.needsKey = false;
    sessionStorage.setItem("streamer-key", key);
    this.open();
  }

  #receive(data) {
    this.heardAt = performance.now();
    if (data instanceof ArrayBuffer) {
      const frame = parseFrame(data);
      if (frame) this.onFrame(frame);
      return;
    }
    const message = JSON.parse(data);
    if (message.type === "session") {
      this.waitMs = FIRST_WAIT_MS;
      this.onState("connected", "connected");
      if (!this.key) this.#ping(); // if a key is needed, this is refused at once and not after seconds
    }
    this.onMessage(message);
  }

  #lost({ code }) {
    if (code === UNAUTHORIZED) {
      this.key = null;
      this.needsKey = true;
      sessionStorage.removeItem("streamer-key");
      this.onState("closed", "key needed");
      this.onKeyNeeded();
      return;
    }
    const waitMs = this.waitMs * (0.8 + 0.4 * Math.random());
    this.waitMs = Math.min(2 * this.waitMs, LONGEST_WAIT_MS);
    this.onState("closed", "not connected, trying again…");
    this.retry = setTimeout(() => this.open(), waitMs);
    fetch("readyz").then(
      (answer) => !answer.ok && !this.isOpen && this.onState("closed", "the server is getting ready…"),
      () => {},
    );
  }

  #retryNow() {
    if (this.socket?.readyState === WebSocket.CLOSED && !this.needsKey) this.open();
  }

  #keepAlive() {
    if (!this.isOpen) return;
    if (performance.now() - this.heardAt > SILENT_TOO_LONG_MS) this.#abandon();
    else this.#ping();
  }

  #ping() {
    this.send({ type: "ping", t: Math.round(performance.now()) });
  }

  // close() would wait for an answer, which a dead connection never gives.
  #abandon() {
    const { socket } = this;
    socket.onclose = socket.onmessage = null;
    socket.close();
    this.#lost({ code: 1006 });
  }
}

/** version u8 = 1 | flags u8 | stream u16 | seq u32 | timestamp i32 (samples at 48 kHz) | payload */
function parseFrame(data) {
  if (data.byteLength < HEADER_BYTES) return null;
  const header = new DataView(data);
  if (header.getUint8(0) !== 1) return null;
  const flags = header.getUint8(1);
  return {
    isLast: (flags & 2) !== 0,
    stream: header.getUint16(2),
    seq: header.getUint32(4),
    timestamp: header.getInt32(8),
    payload: new Uint8Array(data, HEADER_BYTES),
  };
}
