// What the page shows: each function writes one part of it, and nothing here decides anything.

export const $ = (id) => document.getElementById(id);

/** `error`: {message, code?, retry_after_s?}, or null to remove it. */
export function showError(error) {
  const wait = error?.retry_after_s ? ` Try again in ${Math.ceil(error.retry_after_s)} s.` : "";
  const code = error?.code ? ` (${error.code})` : "";
  $("error").hidden = !error;
  $("error").textContent = error ? `${error.message}${code}${wait}` : "";
}

export function showConnection(state, text) {
  $("connection").dataset.state = state;
  $("connection-text").textContent = text;
}

export function showNotes(notes) {
  const shown = [...$("notes").children].map((line) => line.textContent);
  if (JSON.stringify(shown) === JSON.stringify(notes)) return; // otherwise a screen reader would read it out again
  const lines = notes.map((text) => Object.assign(document.createElement("p"), { textContent: text }));
  $("notes").replaceChildren(...lines);
}

export function showPath(path) {
  $("path").textContent =
    path === "opus" ? "Sound: Opus packets, decoded by the browser." : "Sound: plain samples (16-bit PCM).";
}

export function showFigures({ firstAudioMs, receivedMs, playedMs }, realTimeFactor, isActive) {
  const leadS = Math.max(0, receivedMs - playedMs) / 1000;
  $("first-audio").textContent = firstAudioMs === null ? "–" : `${firstAudioMs} ms`;
  $("lead").textContent = isActive && receivedMs ? `${leadS.toFixed(1)} s` : "–";
  $("heard").textContent = `${(playedMs / 1000).toFixed(1)} s`;
  $("speed").textContent = realTimeFactor ? `${(1 / realTimeFactor).toFixed(1)} ×` : "–";
}

/** The sentence that is being heard. `sentences`: the `sentence_start` messages so far. */
export function showCaption(sentences, playedMs, isActive) {
  const heard = sentences.filter((sentence) => sentence.start_ms <= playedMs);
  const text = heard.at(-1)?.text ?? (isActive ? "…" : "");
  if ($("caption").textContent !== text) $("caption").textContent = text;
  $("caption").classList.toggle("spoken", isActive);
}

/** Reads a list of the server's, which may need a key as well. */
async function readList(path) {
  const key = $("key").value;
  return (await fetch(path, key ? { headers: { Authorization: `Bearer ${key}` } } : {})).json();
}

/** Lists the voices by language, if there are several. */
export async function showVoices() {
  const { voices, default: usual } = await readList("v1/voices");
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

function languageName(code) {
  if (!code) return "Other voices";
  try {
    return new Intl.DisplayNames(["en"], { type: "language" }).of(code);
  } catch {
    return code; // a model may name its languages as it likes
  }
}

/** A model's `note` is its card in one sentence, for instance that its voice is a first version. */
export async function showModel(name) {
  $("model").textContent = `Model: ${name}.`;
  const { models } = await readList("v1/models");
  const note = models.find(({ id }) => id === name)?.note;
  $("model-note").hidden = !note;
  $("model-note").textContent = note ?? "";
}
