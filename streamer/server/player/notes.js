// What a text asks for that the loaded model cannot do, told before anybody wonders.

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

/** Sentences for the reader; empty where the model can do it all. `capabilities` as `session` has them. */
export function unspeakable(text, { languages = [], tags = [] } = {}) {
  const notes = [];
  const known = new Set(tags.map((tag) => tag.toLowerCase()));
  const used = [...(text.match(/\[[\p{L} _-]+\]/gu) ?? []), ...(text.match(/♪|\b(?:WO)?MAN:/g) ?? [])];
  const missing = [...new Set(used.filter((tag) => !known.has(tag.toLowerCase())))];
  if (missing.length) {
    notes.push(`The loaded model cannot do ${missing.join(", ")}; it leaves this out or speaks it as words.`);
  }
  const codes = languages.map((language) => language.slice(0, 2).toLowerCase());
  if (!codes.length) return notes;
  const script = SCRIPTS.find(([letters, spoken]) => letters.test(text) && !spoken.some((code) => codes.includes(code)));
  const isEnglishOnly = codes.every((code) => code === "en");
  if (script) {
    notes.push(`The loaded model does not speak ${script[2]}, only: ${languages.join(", ")}.`);
  } else if (isEnglishOnly && GERMAN_AND_OTHERS.test(text)) {
    notes.push("The loaded model speaks English only; other languages sound wrong.");
  }
  return notes;
}
