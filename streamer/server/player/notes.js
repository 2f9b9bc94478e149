// Says what in a text the loaded model cannot do, while the text is being typed.

const SCRIPTS = [
  [/\p{Script=Hiragana}|\p{Script=Katakana}/u, ["ja"], "Japanese"],
  [/\p{Script=Han}/u, ["zh", "ja"], "Chinese"],
  [/\p{Script=Hangul}/u, ["ko"], "Korean"],
  [/\p{Script=Devanagari}/u, ["hi"], "Hindi"],
  [/\p{Script=Cyrillic}/u, ["ru", "uk"], "Cyrillic"],
  [/\p{Script=Arabic}/u, ["ar"], "Arabic"],
  [/\p{Script=Greek}/u, ["el"], "Greek"],
  [/\p{Script=Hebrew}/u, ["he"], "Hebrew"],
  [/\p{Script=Thai}/u, ["th"], "Thai"],
];
const GERMAN_AND_OTHERS = /[äöüßéèêàçñøåæąęłżśčřžğışõ¿¡]/i;

/**
 * Returns notes {code, text} with the codes of the server's warnings; it is empty if the model can do everything.
 * `capabilities` are those of `session`.
 */
export function unspeakable(text, { languages = [], tags = [] } = {}) {
  const notes = [];
  const known = new Set(["[pause]", ...tags.map((tag) => tag.toLowerCase())]);
  const used = [...(text.match(/\[[\p{L} _-]+\]/gu) ?? []), ...(text.match(/♪|\b(?:WO)?MAN:/g) ?? [])];
  const missing = [...new Set(used.filter((tag) => !known.has(tag.toLowerCase())))];
  if (missing.length) {
    const text = `The loaded model cannot do ${missing.join(", ")}; it leaves this out or speaks it as words.`;
    notes.push({ code: "unsupported_tag", text });
  }
  const codes = languages.map((language) => language.slice(0, 2).toLowerCase());
  if (!codes.length) return notes;
  const script = SCRIPTS.find(([letters, spoken]) => letters.test(text) && !spoken.some((code) => codes.includes(code)));
  const isEnglishOnly = codes.every((code) => code === "en");
  if (script) {
    const text = `The loaded model does not speak ${script[2]}, only: ${languages.join(", ")}.`;
    notes.push({ code: "unsupported_language", text });
  } else if (isEnglishOnly && GERMAN_AND_OTHERS.test(text)) {
    const text = "The loaded model speaks English only; other languages sound wrong.";
    notes.push({ code: "unsupported_language", text });
  }
  return notes;
}
