// The controls beside the text, and the fields of the protocol that they stand for. What is not touched is not sent.

import { $, languageName } from "./view.js";

/** Bark's sampling parameters: name, label, what it does, its kind of control, and the model's usual value. The server
 * tells the ranges of those that have none here (`showRanges`). */
const KNOBS = [
  { name: "text_temp", label: "Text temperature", hint: "How freely the words are spoken", min: 0.01, max: 2, step: 0.01, usual: 0.7 },
  { name: "waveform_temp", label: "Sound temperature", hint: "How freely the voice sounds", min: 0.01, max: 2, step: 0.01, usual: 0.7 },
  { name: "fine_temp", label: "Fine temperature", hint: "How freely the details sound", min: 0.01, max: 2, step: 0.01, usual: 0.5 },
  { name: "top_p", label: "Top p", hint: "Only the likeliest tokens, up to this share", min: 0.01, max: 1, step: 0.01, usual: 1 },
  { name: "min_eos_p", label: "End probability", hint: "A sentence ends once its end is this likely", min: 0.01, max: 1, step: 0.01, usual: 0.2 },
  { name: "top_k", label: "Top k", hint: "Only this many of the likeliest tokens", min: 1, max: 100000, step: 1 },
  { name: "max_gen_duration_s", label: "Longest, s", hint: "A longer sentence is cut there, in seconds", min: 0.2, max: 60, step: 0.1 },
  { name: "max_coarse_history", label: "Coarse history", hint: "How long the voice is remembered, in tokens", step: 1 },
  { name: "sliding_window_len", label: "Coarse window", hint: "How much is made at a time, in tokens", step: 1 },
];
const CHOICES = ["language", "text_format", "normalize", "continuity", "start"];
const BOOLEANS = { true: true, false: false };

/** Build the knobs; `onChange` is called when any setting changes. @param {() => void} onChange */
export function buildSettings(onChange) {
  $("knobs").append(...KNOBS.map(buildKnob));
  Object.assign($("seed"), { min: 0, max: Number.MAX_SAFE_INTEGER });
  bound($("seed"), { label: "Seed", step: 1 });
  for (const id of ["voice", "seed", ...CHOICES]) $(id).addEventListener("input", onChange);
  $("speed").addEventListener("input", onChange);
  $("knobs").addEventListener("input", onChange);
  $("reset").addEventListener("click", () => {
    $("seed").value = "";
    $("seed").setCustomValidity("");
    $("speed").value = "1";
    for (const id of CHOICES) $(id).value = "";
    for (const knob of KNOBS) unset(knob);
    onChange();
  });
}

/** Returns the settings that differ from the server's own, as fields of `start`. */
export function readSettings() {
  const params = {};
  if ($("seed").value.trim() && $("seed").validity.valid) params.seed = Number($("seed").value);
  for (const { name } of KNOBS) if (isSet(name)) params[name] = Number($(name).value);
  const settings = {};
  const chosen = $("voice").selectedOptions[0];
  if (chosen && $("voice").value && !chosen.defaultSelected) settings.voice = $("voice").value;
  if (Number($("speed").value) !== 1) settings.speed = Number($("speed").value);
  for (const id of CHOICES) {
    const { value } = $(id);
    if (value) settings[id] = BOOLEANS[value] ?? value;
  }
  if (Object.keys(params).length) settings.params = params;
  return settings;
}

/** What is wrong with a setting, and what it may be; empty if nothing is. */
export function wrongSetting() {
  return document.querySelector(".settings :invalid")?.validationMessage ?? "";
}

/** Show the values beside their controls, and whether there is something to reset. */
export function showSettings() {
  $("speed-value").textContent = `${Number($("speed").value)} ×`;
  const { voice: _, ...others } = readSettings();
  $("reset").hidden = !Object.keys(others).length;
}

/** Let what depends on the model have its ranges. @param {Object<string, [number, number]>} ranges */
export function showRanges(ranges) {
  for (const [name, [min, max]] of Object.entries(ranges)) {
    Object.assign($(name), { min, max });
    $(name).dispatchEvent(new Event("input", { bubbles: true }));
  }
}

/** @param {string[]} languages */
export function showLanguages(languages) {
  const names = languages.map((code) => new Option(languageName(code), code));
  $("language").replaceChildren(new Option("found automatically", ""), ...names);
  $("language").closest(".field").hidden = languages.length < 2;
}

function buildKnob({ name, label, hint, min, max, step, usual }) {
  const field = document.createElement("div");
  field.title = hint;
  const caption = Object.assign(document.createElement("label"), { htmlFor: name, textContent: label });
  const input = document.createElement("input");
  Object.assign(input, { id: name, min: min ?? "", max: max ?? "", step });
  if (usual === undefined) {
    // A number that has no usual value to start a slider from.
    input.inputMode = "decimal";
    input.autocomplete = "off";
    input.placeholder = "model's own";
    field.className = "field";
    field.append(caption, input);
    bound(input, { label, step });
    return field;
  }
  const output = document.createElement("output");
  output.htmlFor = name;
  input.type = "range";
  input.value = usual;
  output.textContent = "model's own";
  field.className = "field slider unset";
  field.append(caption, output, input);
  input.addEventListener("input", () => {
    field.classList.remove("unset");
    output.textContent = Number(input.value).toFixed(2);
  });
  return field;
}

/** Let a box say what it may hold, if it holds something else. */
function bound(input, { label, step }) {
  const kind = step === 1 ? "a whole number" : "a number";
  input.addEventListener("input", () => {
    const { min, max } = input;
    const value = Number(input.value);
    const isRight = value >= Number(min) && value <= Number(max) && (step !== 1 || Number.isInteger(value));
    input.setCustomValidity(isRight || !input.value.trim() ? "" : `${label} is ${kind} from ${min} to ${max}, and not ${input.value}.`);
  });
}

function unset({ name, usual }) {
  $(name).value = usual ?? "";
  $(name).setCustomValidity("");
  if (usual === undefined) return;
  $(name).parentElement.classList.add("unset");
  $(name).parentElement.querySelector("output").textContent = "model's own";
}

function isSet(name) {
  const input = $(name);
  if (input.type === "range") return !input.parentElement.classList.contains("unset");
  return input.value.trim() !== "" && input.validity.valid;
}
