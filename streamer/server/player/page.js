// The page: clicks become calls of `streamer-client.js`, and its events become sound, figures and marked words.
//
// `window.streamerPlayer` shows what happens, for tests and for the curious.

import { codeFor } from "./code.js";
import { LiveTyping } from "./live.js";
import { unspeakable } from "./notes.js";
import { Reading } from "./reading.js";
import { Recording } from "./recording.js";
import { sampleOf } from "./samples.js";
import { buildSettings, readSettings, showLanguages, showRanges, showSettings, wrongSetting } from "./settings.js";
import { StreamerClient } from "./streamer-client.js";
import { followTheme } from "./theme.js";
import { $, showConnection, showError, showFigures, showModel, showNotes, showPath, showVoices } from "./view.js";
import { Waveform } from "./waveform.js";

const REFRESH_MS = 40;
const KEY = "streamer-key"; // in the session's storage
const address = new URL(".", location.href);
const wanted = new URLSearchParams(location.search).get("path");
const paths = ["opus", "wasm", "pcm"].slice(Math.max(0, ["opus", "wasm", "pcm"].indexOf(wanted ?? "")));

const client = new StreamerClient(address, { key: sessionStorage.getItem(KEY), paths });
const waveform = new Waveform($("waveform"));
const reading = new Reading($("reading"), $("text"));
const live = new LiveTyping($("text"), () => show(client.start(readSettings())));
const stats = (window.streamerPlayer = {
  connection: "connecting",
  state: "idle", // idle | waiting (for sound) | buffering | playing
  path: null, // opus | wasm | pcm
  sampleRate: 48000,
  playedSamples: 0,
  playedMs: 0,
  receivedMs: 0,
  firstAudioMs: null,
  underruns: 0,
  gaps: 0,
  rms: 0,
  loudestRms: 0,
  word: "",
  done: [],
});

let shown = null; // {utterance, recording, text, settings}: what the page is about
let language = "curl";
let serverNotes = [];

client.addEventListener("state", ({ detail: { state } }) => {
  stats.connection = state === "connected" ? "connecting" : state; // until the session is known
  showConnection(state);
  $("key-form").hidden = state !== "key_needed";
  if (state === "key_needed") {
    sessionStorage.removeItem(KEY);
    $("key").focus();
  } else if (state === "lost") {
    fetch("readyz").then(
      ({ ok }) => !ok && client.state === "lost" && showConnection(state, "the server is getting ready…"),
      () => {},
    );
  }
  showButtons();
});
client.addEventListener("session", ({ detail: { model, capabilities } }) => {
  stats.connection = "connected";
  refreshNotes();
  showButtons();
  showLanguages(capabilities.languages);
  showRanges(capabilities.params);
  const key = sessionStorage.getItem(KEY);
  Promise.all([showVoices(key), showModel(model, key)]).then(showCode, showError);
});
client.addEventListener("path", ({ detail: { path, reason } }) => {
  stats.path = path;
  showPath(path);
  if (reason) note(`The browser could not decode Opus after all (${reason}).`);
});
client.addEventListener("blocked", () => ($("blocked").hidden = !isActive()));
client.addEventListener("unblocked", () => ($("blocked").hidden = true));
client.addEventListener("error", ({ detail }) => showError(detail));
client.addEventListener("warning", ({ detail: { code, message } }) => {
  const isKnown = unspeakable($("text").value, client.session?.capabilities).some((known) => known.code === code);
  if (!isKnown) note(message);
});
client.addEventListener("going_away", () => note("The server is about to stop; this page connects again by itself."));

const isActive = () => shown !== null && !shown.utterance.isOver;

function speak(text, settings = readSettings()) {
  if (!text.trim() || !client.session) return;
  if (wrongSetting()) return showError({ message: wrongSetting() });
  show(client.speak(text, { ...settings, interrupt: true }), settings);
  if (shown.utterance.text === $("text").value.normalize("NFC")) reading.open(shown.utterance.text);
}

/** Let the page be about this utterance. */
function show(utterance, settings = readSettings()) {
  showError(null);
  serverNotes = [];
  refreshNotes();
  reading.close();
  waveform.clear();
  const about = { utterance, settings, recording: null };
  shown = about;
  Object.assign(stats, { loudestRms: 0, firstAudioMs: null, word: "" });
  const on = (type, listen) => utterance.addEventListener(type, ({ detail }) => listen(detail));
  on("started", (started) => (about.recording ??= new Recording(started)));
  on("packet", ({ payload }) => about.recording.add(payload));
  on("samples", ({ samples }) => shown === about && waveform.add(samples));
  on("word", (word) => {
    if (shown !== about) return;
    stats.word = word.text;
    reading.mark(word);
  });
  on("done", (done) => {
    stats.done.push(done);
    if (done.error) showError(done.error);
    if (done.reason === "truncated") note("The speech was cut at a limit.");
    if (done.reason === "cancelled" && !utterance.isOver) note("The server ended this speech.");
  });
  on("ended", () => shown === about && reading.close());
  refresh();
  return utterance;
}

function again() {
  const { utterance, settings } = shown;
  speak(utterance.text, { ...settings, params: { ...settings.params, seed: utterance.seed } });
}

/** Have the chosen voice say a sentence of its language. */
function listen() {
  const spoken = $("voice").selectedOptions[0].dataset.language;
  speak(sampleOf(spoken || client.session.capabilities.languages?.[0]));
}

function stop() {
  live.drop();
  client.cancel();
  refresh();
}

async function download(kind) {
  const { recording, utterance } = shown;
  const audioMs = utterance.receivedMs;
  const file = kind === "ogg" ? recording.toOgg(audioMs) : await recording.toWav(audioMs);
  const link = Object.assign(document.createElement("a"), { href: URL.createObjectURL(file), download: `speech.${kind}` });
  link.click();
  setTimeout(() => URL.revokeObjectURL(link.href), 60000);
}

// ---- what is shown ----

setInterval(refresh, REFRESH_MS);

function refresh() {
  if (!shown) return;
  const { utterance } = shown;
  const { rms } = client.level();
  stats.rms = rms;
  stats.state = utterance.isOver ? "idle" : utterance.state;
  stats.playedSamples = utterance.playedSamples;
  stats.playedMs = utterance.playedMs;
  stats.receivedMs = utterance.receivedMs;
  stats.underruns = utterance.underruns;
  stats.gaps = utterance.numGaps;
  stats.firstAudioMs = utterance.firstSoundMs;
  if (isActive()) stats.loudestRms = Math.max(stats.loudestRms, rms);
  waveform.show(stats.playedMs);
  showFigures(stats, utterance.done, isActive());
  showButtons();
}

function showButtons() {
  const isConnected = client.session !== null;
  const hasSound = shown !== null && shown.recording !== null && shown.recording.packets.length > 0;
  $("speak").disabled = !isConnected || !$("text").value.trim();
  $("listen").disabled = !isConnected;
  $("stop").disabled = !isActive();
  $("download-wav").disabled = !hasSound;
  $("download-ogg").disabled = !hasSound || !shown.recording.isOpus;
  const seed = shown?.utterance.seed ?? null;
  $("again").disabled = !isConnected || seed === null;
  $("keep-seed").disabled = seed === null;
  $("again-seed").textContent = seed === null ? "" : `seed ${seed}`;
}

function note(text) {
  if (!serverNotes.includes(text)) serverNotes.push(text);
  refreshNotes();
}

function refreshNotes() {
  const ownNotes = unspeakable($("text").value, client.session?.capabilities).map(({ text }) => text);
  showNotes([...ownNotes, ...serverNotes]);
}

function showCode() {
  showSettings();
  if (!$("code").open) return;
  const hasKey = sessionStorage.getItem(KEY) !== null;
  $("code-text").textContent = codeFor(language, $("text").value, readSettings(), address.href, hasKey);
}

// ---- what a person does ----

buildSettings(showCode);
followTheme($("theme"), () => waveform.draw());

$("speak-form").addEventListener("submit", (event) => {
  event.preventDefault();
  if (live.isOn) live.sayNow();
  else speak($("text").value);
});
$("stop").addEventListener("click", stop);
$("listen").addEventListener("click", listen);
$("again").addEventListener("click", again);
$("keep-seed").addEventListener("click", () => {
  $("seed").value = shown.utterance.seed;
  showCode();
});
$("download-wav").addEventListener("click", () => download("wav").catch(showError));
$("download-ogg").addEventListener("click", () => download("ogg").catch(showError));
$("live").addEventListener("change", () => {
  if ($("live").checked) live.turnOn();
  else live.turnOff();
  showButtons();
});
$("text").addEventListener("input", () => {
  serverNotes = [];
  refreshNotes();
  showButtons();
  showCode();
});
$("code").addEventListener("toggle", showCode);
for (const tab of document.querySelectorAll("[role=tab]")) {
  tab.addEventListener("click", () => {
    language = tab.dataset.language;
    for (const other of tab.parentElement.children) other.setAttribute("aria-selected", String(other === tab));
    showCode();
  });
}
$("copy").addEventListener("click", async () => {
  const text = $("code-text");
  getSelection().selectAllChildren(text);
  try {
    await navigator.clipboard.writeText(text.textContent);
  } catch {
    document.execCommand("copy"); // pages on plain http have no clipboard
  }
  $("copy").textContent = "Copied";
  setTimeout(() => ($("copy").textContent = "Copy"), 1500);
});
$("key-form").addEventListener("submit", (event) => {
  event.preventDefault();
  showError(null);
  sessionStorage.setItem(KEY, $("key").value);
  client.useKey($("key").value);
});
addEventListener("keydown", (event) => {
  const isCommand = event.key === "Enter" && (event.ctrlKey || event.metaKey);
  if (isCommand && event.shiftKey && !$("again").disabled) again();
  else if (isCommand && !event.shiftKey && !$("speak").disabled) $("speak-form").requestSubmit();
  else if (event.key === "Escape") stop();
});
await client.connect();
