// The page: clicks become messages, and the answers become sound and figures.
//
// `connection.js` keeps the connection, `sound.js` plays. `window.streamerPlayer` shows what happens, for tests
// and for the curious.

import { Connection } from "./connection.js";
import { unspeakable } from "./notes.js";
import { sampleOf } from "./samples.js";
import { OpusSound, PcmSound, canPlayOpus } from "./sound.js";
import {
  $,
  showCaption,
  showConnection,
  showError,
  showFigures,
  showModel,
  showNotes,
  showPath,
  showVoices,
} from "./view.js";
import { Waveform } from "./waveform.js";

const REFRESH_MS = 40;
const TELL_PLAYED_EVERY_MS = 250;
const MS_PER_TIMESTAMP = 1 / 48;

const waveform = new Waveform($("waveform"));
const stats = (window.streamerPlayer = {
  connection: "connecting",
  state: "idle", // idle | waiting (for sound) | buffering | playing
  path: null, // opus | pcm
  sampleRate: null,
  playedSamples: 0,
  playedMs: 0,
  receivedMs: 0,
  firstAudioMs: null,
  underruns: 0,
  gaps: 0,
  rms: 0,
  loudestRms: 0,
  done: [],
});

let session = { capabilities: {}, limits: {} };
let sound = null;
let current = null; // the utterance that is spoken, or was last
let numUtterances = 0;
let serverNotes = [];

const connection = new Connection({
  onState(state, text) {
    stats.connection = state;
    showConnection(state, text);
    if (state !== "connected" && current?.isOpen) lose();
    showButtons();
  },
  onMessage: (message) => receivers[message.type]?.(message),
  onFrame: receiveFrame,
  onKeyNeeded() {
    $("key-form").hidden = false;
    $("key").focus();
  },
});

const receivers = {
  session(message) {
    session = message;
    refreshNotes();
    Promise.all([showVoices(), showModel(message.model)]).catch(showError);
  },
  started(message) {
    if (message.id !== current?.id || current.isOver) return;
    current.stream = message.stream;
    current.frameMs = message.frame_ms;
    sound.begin(message);
  },
  sentence_start(message) {
    if (message.id === current?.id) current.sentences.push(message);
  },
  done(message) {
    stats.done.push(message);
    if (message.id !== current?.id) return;
    current.isOpen = false;
    current.done = message;
    if (message.error) showError(message.error);
    if (message.reason === "truncated") note("The speech was cut at a limit.");
    if (message.reason === "cancelled" && !current.isOver) note("The server ended this speech.");
    if (!current.isOver) sound.finish(message.audio_ms);
  },
  error(message) {
    showError(message);
    const isRefused = message.scope === "utterance" && message.id === current?.id && current.stream === null;
    if (isRefused) Object.assign(current, { isOpen: false, isOver: true });
  },
  warning(message) {
    const isKnown = unspeakable($("text").value, session.capabilities).some(({ code }) => code === message.code);
    if (message.code !== "utterance_over" && !isKnown) note(message.message);
  },
  going_away: () => note("The server is about to stop; this page connects again by itself."),
};

function receiveFrame(frame) {
  if (!current || frame.stream !== current.stream || current.isOver) return;
  if (frame.seq !== current.nextSeq) stats.gaps += 1;
  current.nextSeq = frame.seq + 1;
  const isEmpty = !frame.payload.byteLength;
  const endMs = frame.timestamp * MS_PER_TIMESTAMP + (isEmpty ? 0 : current.frameMs);
  stats.receivedMs = Math.max(stats.receivedMs, endMs);
  sound.packet(frame.payload, current.frameMs, frame.isLast);
}

async function speak(text = $("text").value.trim()) {
  hush();
  if (!text || !connection.isOpen) return;
  showError(null);
  const longest = session.limits.max_buffered_chars ?? Infinity;
  if (Array.from(text).length > longest) {
    showError({ message: `This text is too long: the server takes ${longest} characters at once.` });
    return;
  }
  serverNotes = [];
  refreshNotes();
  const clickedAt = performance.now();
  Object.assign(stats, { state: "waiting", playedSamples: 0, playedMs: 0, receivedMs: 0, gaps: 0, underruns: 0 });
  Object.assign(stats, { firstAudioMs: null, loudestRms: 0 });
  numUtterances += 1;
  const id = `page-${numUtterances}`;
  current = { id, text, stream: null, nextSeq: 0, sentences: [], clickedAt, isOpen: false, isOver: false };
  const utterance = current;
  try {
    await sound.wake();
  } catch (error) {
    if (utterance === current) current.isOver = true;
    showError(error);
    return;
  }
  if (utterance !== current || utterance.isOver) return;
  utterance.isOpen = true;
  const request = sound.constructor.request;
  connection.send({ type: "start", id, interrupt: true, voice: $("voice").value || undefined, ...request });
  for (const piece of pieces(text, session.limits.max_text_chars ?? text.length)) {
    connection.send({ type: "text", id, text: piece });
  }
  connection.send({ type: "end", id });
}

/** Have the chosen voice say a sentence of its language. */
function listen() {
  const { language } = $("voice").selectedOptions[0].dataset;
  speak(sampleOf(language || session.capabilities.languages?.[0]));
}

/** Choose the better way to the loudspeaker that works here, before the first click. */
async function prepareSound() {
  if (navigator.audioSession) navigator.audioSession.type = "playback"; // else an iPhone's mute switch silences it
  const isPcmWanted = new URLSearchParams(location.search).get("path") === "pcm";
  if (!isPcmWanted && (await canPlayOpus())) {
    try {
      const opus = new OpusSound(onBrokenDecoder);
      await opus.prepare();
      return use(opus);
    } catch {
      // The browser claims more than it can do.
    }
  }
  use(new PcmSound());
}

function use(chosen) {
  sound = chosen;
  sound.onEnded = () => (current.isOver = true);
  Object.assign(stats, { path: sound.path, sampleRate: sound.sampleRate });
  showPath(sound.path);
}

/** The browser could not decode after all: take the other way, and start again from the beginning. */
function onBrokenDecoder(error) {
  hush();
  use(new PcmSound());
  speak(current.text).then(() => note(`The browser could not decode Opus (${error.message}); the sound comes as plain samples.`));
}

/** Stop the sound, and tell the server unless it has sent everything already. */
function hush() {
  if (!current || current.isOver) return;
  current.isOver = true;
  const playedMs = current.stream === null ? 0 : Math.round(sound.playedMs);
  sound.stop();
  if (current.isOpen) connection.send({ type: "cancel", id: current.id, played_ms: playedMs });
}

/** The connection is lost: play what has arrived, then fall silent. */
function lose() {
  current.isOpen = false;
  if (current.stream === null) current.isOver = true;
  else sound.finish(stats.receivedMs);
  showError({ message: "The connection was lost before the speech was complete." });
}

function* pieces(text, size) {
  const points = Array.from(text); // the server counts code points, and a pair must not be torn
  for (let start = 0; start < points.length; start += size) yield points.slice(start, start + size).join("");
}

// ---- what is shown ----

setInterval(refresh, REFRESH_MS);

function refresh() {
  if (!current) return;
  const isActive = !current.isOver;
  const level = sound.level();
  stats.rms = level.rms;
  stats.state = !isActive ? "idle" : sound.state === "idle" ? "waiting" : sound.state;
  if (isActive && current.stream !== null) {
    stats.playedSamples = sound.playedSamples;
    stats.playedMs = sound.playedMs;
    stats.underruns = sound.underruns;
    stats.loudestRms = Math.max(stats.loudestRms, level.rms);
    if (stats.firstAudioMs === null && stats.playedSamples > 0) {
      stats.firstAudioMs = Math.round(performance.now() - current.clickedAt - stats.playedMs);
    }
    tellPlayed();
  } else if (current.stream !== null && sound.playedSamples > stats.playedSamples) {
    stats.playedSamples = sound.playedSamples; // the last few, after the last look
    stats.playedMs = sound.playedMs;
  }
  if (isActive || level.peak > 0.001) waveform.add(level.peak);
  showFigures(stats, current.done?.real_time_factor, isActive);
  showCaption(current.sentences, stats.playedMs, isActive);
  showButtons();
}

function tellPlayed() {
  const now = performance.now();
  if (stats.state !== "playing" || !current.isOpen || now - (current.toldAt ?? 0) < TELL_PLAYED_EVERY_MS) return;
  current.toldAt = now;
  connection.send({ type: "played", id: current.id, ms: Math.round(stats.playedMs) });
}

function showButtons() {
  const isConnected = stats.connection === "connected";
  $("speak").disabled = !isConnected || !$("text").value.trim();
  $("listen").disabled = !isConnected;
  $("stop").disabled = !current || current.isOver;
}

function note(text) {
  if (!serverNotes.includes(text)) serverNotes.push(text);
  refreshNotes();
}

function refreshNotes() {
  const ownNotes = unspeakable($("text").value, session.capabilities).map(({ text }) => text);
  showNotes([...ownNotes, ...serverNotes]);
}

$("speak-form").addEventListener("submit", (event) => {
  event.preventDefault();
  speak();
});
$("stop").addEventListener("click", hush);
$("listen").addEventListener("click", listen);
$("text").addEventListener("input", () => {
  serverNotes = [];
  refreshNotes();
  showButtons();
});
$("key-form").addEventListener("submit", (event) => {
  event.preventDefault();
  $("key-form").hidden = true;
  showError(null);
  connection.useKey($("key").value);
});
addEventListener("keydown", (event) => {
  if (event.key === "Enter" && (event.ctrlKey || event.metaKey) && !$("speak").disabled) speak();
  if (event.key === "Escape") hush();
});
await prepareSound();
connection.open();
