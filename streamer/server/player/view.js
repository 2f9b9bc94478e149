// What the page shows: each function writes one part of it, and nothing here decides anything.

export const $ = (id) => document.getElementById(id);

/** `error`: {message, code?, retry_after_s?}, or null to remove it. */
export function showError(error) {
  const wait = error?.retry_after_s ? ` Try again in ${Math.ceil(error.retry_after_s)} s.` : "";
  const code = error?.code ? ` (${error.code})` : "";
  $("error").hidden = !error;
  $("error").textContent = error ? `${error.message}${code}${wait}` : "";
}

const CONNECTION = {
  connecting: "connecting…",
  connected: "connected",
  lost: "not connected, trying again…",
  key_needed: "key needed",
};

/** `text` says more than the state alone. */
export function showConnection(state, text = CONNECTION[state]) {
  $("connection").dataset.state = state === "connecting" || state === "connected" ? state : "closed";
  $("connection-text").textContent = text;
}

export function showNotes(notes) {
  const shown = [...$("notes").children].map((line) => line.textContent);
  if (JSON.stringify(shown) === JSON.stringify(notes)) return; // otherwise a screen reader would read it out again
  const lines = notes.map((text) => Object.assign(document.createElement("p"), { textContent: text }));
  $("notes").replaceChildren(...lines);
}

const PATHS = {
  opus: "Sound: Opus, decoded by the browser.",
  wasm: "Sound: Opus, decoded by WebAssembly.",
  pcm: "Sound: plain samples (16-bit PCM).",
};

export function showPath(path) {
  $("path").textContent = PATHS[path];
}

/** `done`: the server's, once it has come. */
export function showFigures({ firstAudioMs, receivedMs, playedMs, underruns }, done, isActive) {
  const seconds = (ms) => `${(ms / 1000).toFixed(1)} s`;
  const isBegun = receivedMs > 0;
  show("first-audio", firstAudioMs === null ? "–" : `${firstAudioMs} ms`, done?.first_audio_ms ? `model ${Math.round(done.first_audio_ms)}` : "");
  show("lead", isActive && isBegun ? seconds(Math.max(0, receivedMs - playedMs)) : "–");
  show("underruns", isBegun ? String(underruns) : "–");
  show("pace", done?.real_time_factor ? `${(1 / done.real_time_factor).toFixed(1)} ×` : "–");
  show("heard", isBegun ? seconds(playedMs) : "–", isBegun ? `of ${seconds(receivedMs)}` : "");
}

function show(id, text, more = "") {
  const box = $(id);
  if (box.dataset.shown === `${text} ${more}`) return;
  box.dataset.shown = `${text} ${more}`;
  box.replaceChildren(text);
  if (more) box.append(" ", Object.assign(document.createElement("small"), { textContent: more }));
}

/** Reads a list of the server's, which may need a key as well. */
async function readList(path, key) {
  return (await fetch(path, key ? { headers: { Authorization: `Bearer ${key}` } } : {})).json();
}

/** Lists the voices by language, if there are several. */
export async function showVoices(key) {
  const { voices, default: usual } = await readList("v1/voices", key);
  const chosen = $("voice").value || usual;
  const groups = new Map();
  for (const { name, language } of voices) {
    const option = new Option(name, name, name === usual, name === chosen);
    option.dataset.language = language ?? "";
    const label = languageName(language);
    groups.set(label, [...(groups.get(label) ?? []), option]);
  }
  const labels = [...groups.keys()].sort();
  const shown = labels.map((label) => {
    const group = Object.assign(document.createElement("optgroup"), { label });
    group.append(...groups.get(label));
    return group;
  });
  $("voice").replaceChildren(...(shown.length > 1 ? shown : shown.flatMap((group) => [...group.children])));
}

export function languageName(code) {
  if (!code) return "Other voices";
  try {
    return new Intl.DisplayNames(["en"], { type: "language" }).of(code);
  } catch {
    return code; // a model may name its languages as it likes
  }
}

/** A model's `note` is its card in one sentence, for instance that its voice is a first version. */
export async function showModel(name, key) {
  $("model").textContent = `Model: ${name}.`;
  const { models } = await readList("v1/models", key);
  const note = models.find(({ id }) => id === name)?.note;
  $("model-note").hidden = !note;
  $("model-note").textContent = note ?? "";
}
