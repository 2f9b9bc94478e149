// What was received of an utterance, as a file: Ogg (RFC 3533, RFC 7845) of the packets as they came, or WAV.

const PAGE_HEADER_BYTES = 27;
const SAMPLES_PER_MS = 48;
const RATE_HZ = 48000;
const SERIAL = 0x73747265;
const FIRST_PAGE = 2;
const LAST_PAGE = 4;
const MAX_PACKETS_PER_PAGE = 50;

const CRC = Uint32Array.from({ length: 256 }, (_, byte) => {
  let crc = byte << 24;
  for (let bit = 0; bit < 8; bit++) crc = crc & 0x80000000 ? (crc << 1) ^ 0x04c11db7 : crc << 1;
  return crc >>> 0;
});

/** Keeps the packets of one utterance: some four thousand bytes for a second of Opus. */
export class Recording {
  /** @type {Uint8Array[]} */
  packets = [];

  /** @param {{encoding: string, frame_ms: number, pre_skip: number}} started */
  constructor(started) {
    this.encoding = started.encoding;
    this.frameSamples = started.frame_ms * SAMPLES_PER_MS;
    this.preSkip = started.pre_skip;
  }

  get isOpus() {
    return this.encoding === "opus";
  }

  /** @param {Uint8Array} packet */
  add(packet) {
    this.packets.push(packet);
  }

  /** The length of the sound in samples at 48 kHz, `audioMs` at most. @param {number} audioMs */
  numSamples(audioMs) {
    const received = this.packets.length * this.frameSamples - this.preSkip;
    return Math.max(0, Math.min(received, Math.round(audioMs * SAMPLES_PER_MS)));
  }

  /** An Ogg Opus file. @param {number} audioMs */
  toOgg(audioMs) {
    const head = new DataView(new ArrayBuffer(19));
    writeText(head, 0, "OpusHead");
    head.setUint8(8, 1);
    head.setUint8(9, 1); // channels
    head.setUint16(10, this.preSkip, true);
    head.setUint32(12, RATE_HZ, true);
    const vendor = "streamer";
    const tags = new DataView(new ArrayBuffer(16 + vendor.length));
    writeText(tags, 0, "OpusTags");
    tags.setUint32(8, vendor.length, true);
    writeText(tags, 12, vendor);
    const pages = [page([new Uint8Array(head.buffer)], 0, 0, FIRST_PAGE), page([new Uint8Array(tags.buffer)], 0, 1, 0)];
    const end = this.numSamples(audioMs) + this.preSkip;
    for (let first = 0; first < this.packets.length; first += MAX_PACKETS_PER_PAGE) {
      const packets = this.packets.slice(first, first + MAX_PACKETS_PER_PAGE);
      const isLast = first + packets.length === this.packets.length;
      const position = Math.min(end, (first + packets.length) * this.frameSamples);
      pages.push(page(packets, position, pages.length, isLast ? LAST_PAGE : 0));
    }
    return new Blob(pages, { type: "audio/ogg" });
  }

  /** A WAV of 16 bits at 48 kHz. @param {number} audioMs */
  async toWav(audioMs) {
    if (!this.isOpus) return wav(this.packets);
    const context = new OfflineAudioContext(1, 1, RATE_HZ);
    const sound = await context.decodeAudioData(await this.toOgg(audioMs).arrayBuffer());
    const samples = sound.getChannelData(0);
    const integers = Int16Array.from(samples, (sample) => Math.round(32767 * Math.min(1, Math.max(-1, sample))));
    return wav([new Uint8Array(integers.buffer)]);
  }
}

/** @param {Uint8Array[]} packets @param {number} position @param {number} sequence @param {number} flags */
function page(packets, position, sequence, flags) {
  const lacing = packets.flatMap(({ length }) => [...Array(Math.floor(length / 255)).fill(255), length % 255]);
  const size = PAGE_HEADER_BYTES + lacing.length + packets.reduce((sum, { length }) => sum + length, 0);
  const bytes = new Uint8Array(size);
  const view = new DataView(bytes.buffer);
  writeText(view, 0, "OggS");
  view.setUint8(5, flags);
  view.setBigUint64(6, BigInt(position), true);
  view.setUint32(14, SERIAL, true);
  view.setUint32(18, sequence, true);
  view.setUint8(26, lacing.length);
  bytes.set(lacing, PAGE_HEADER_BYTES);
  let at = PAGE_HEADER_BYTES + lacing.length;
  for (const packet of packets) {
    bytes.set(packet, at);
    at += packet.length;
  }
  let crc = 0;
  for (const byte of bytes) crc = ((crc << 8) ^ CRC[(crc >>> 24) ^ byte]) >>> 0;
  view.setUint32(22, crc, true);
  return bytes;
}

/** @param {Uint8Array[]} parts 16-bit samples at 48 kHz. */
function wav(parts) {
  const numBytes = parts.reduce((sum, { length }) => sum + length, 0);
  const head = new DataView(new ArrayBuffer(44));
  writeText(head, 0, "RIFF");
  head.setUint32(4, 36 + numBytes, true);
  writeText(head, 8, "WAVEfmt ");
  head.setUint32(16, 16, true);
  head.setUint16(20, 1, true); // PCM
  head.setUint16(22, 1, true); // channels
  head.setUint32(24, RATE_HZ, true);
  head.setUint32(28, 2 * RATE_HZ, true);
  head.setUint16(32, 2, true);
  head.setUint16(34, 16, true);
  writeText(head, 36, "data");
  head.setUint32(40, numBytes, true);
  return new Blob([head.buffer, ...parts], { type: "audio/wav" });
}

/** @param {DataView} view @param {number} at @param {string} text */
function writeText(view, at, text) {
  for (let i = 0; i < text.length; i++) view.setUint8(at + i, text.charCodeAt(i));
}
