// Contracts of the page's parts that need no browser: programs that it shows, files that it writes, live typing.

import assert from "node:assert/strict";
import { execFileSync } from "node:child_process";
import { mkdtempSync, writeFileSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { test } from "node:test";

import { codeFor } from "../../../streamer/server/player/code.js";
import { LiveTyping } from "../../../streamer/server/player/live.js";
import { unspeakable } from "../../../streamer/server/player/notes.js";
import { Recording } from "../../../streamer/server/player/recording.js";

const ADDRESS = "https://speech.example.com/voice/";
const SETTINGS = { voice: "joe", speed: 1.25, normalize: false, params: { seed: 7, fine_temp: null } };
const TEXTS = [
  "Hello.",
  "It's \"quoted\", $HOME `ls` \\ and a\nnew line.",
  "Ünïcödé 😀 你好",
  "</script><b>no</b>",
  "'; rm -rf / #",
  "--flag {\"a\": [ 1 ]} %s",
];

for (const text of TEXTS) {
  test(`a shell reads ${JSON.stringify(text)} as it stands`, () => {
    const command = codeFor("curl", text, { ...SETTINGS, start: "safe" }, ADDRESS, false);
    const printed = execFileSync("sh", ["-c", command.replace(/^curl/, 'printf "%s\\0"')], { encoding: "utf8" });
    const words = printed.split("\0");
    assert.deepEqual(words.slice(0, 3), ["-f", `${ADDRESS}v1/speech`, "-d"]);
    assert.deepEqual(JSON.parse(words[3]), { text, ...SETTINGS });
  });

  test(`Python reads ${JSON.stringify(text)} as it stands`, () => {
    const program = codeFor("python", text, SETTINGS, ADDRESS, true);
    const request = program.slice(program.indexOf("request ="), program.indexOf("with connect("));
    const folder = mkdtempSync(join(tmpdir(), "streamer-"));
    writeFileSync(join(folder, "whole.py"), program);
    execFileSync("python3", ["-m", "py_compile", join(folder, "whole.py")]);
    const printed = execFileSync("python3", ["-c", `import json\n${request}\nprint(json.dumps(request))`], { encoding: "utf8" });
    assert.deepEqual(JSON.parse(printed), { type: "speak", id: "a", text, ...SETTINGS });
    assert.match(program, /"wss:\/\/speech\.example\.com\/voice\/v1\/stream\?/);
  });

  test(`a page with ${JSON.stringify(text)} holds one script, which says it`, async () => {
    const page = codeFor("javascript", text, SETTINGS, ADDRESS, false);
    assert.equal(page.split("</script>").length, 2);
    const script = page.match(/<script type="module">([^]*)<\/script>/)[1];
    const [said, settings] = new Function(`return [${script.match(/client\.speak\(([^]*?)\);\n/)[1]}]`)();
    assert.deepEqual([said, settings], [text, SETTINGS]);
  });
}

test("a key is never part of a program", () => {
  for (const language of ["curl", "python", "javascript"]) {
    assert.match(codeFor(language, "Hi.", {}, ADDRESS, true), /STREAMER_KEY|prompt\(/);
    assert.doesNotMatch(codeFor(language, "Hi.", {}, ADDRESS, false), /STREAMER_KEY|prompt\(/);
  }
});

test("a recording of plain samples is a WAV with its right length", async () => {
  const recording = new Recording({ encoding: "pcm_s16le", frame_ms: 20, pre_skip: 0 });
  recording.add(new Uint8Array([1, 0, 2, 0]));
  recording.add(new Uint8Array([3, 0]));
  const bytes = Buffer.from(await (await recording.toWav(20)).arrayBuffer());
  assert.equal(bytes.toString("latin1", 0, 4) + bytes.toString("latin1", 8, 12), "RIFFWAVE");
  assert.deepEqual([bytes.readUInt32LE(4), bytes.readUInt32LE(24), bytes.readUInt32LE(40)], [42, 48000, 6]);
  assert.deepEqual([...bytes.subarray(44)], [1, 0, 2, 0, 3, 0]);
});

/** A box and the utterances that typing into it opened. */
function typing() {
  const box = Object.assign(new EventTarget(), { value: "", placeholder: "", focus() {} });
  const utterances = [];
  const live = new LiveTyping(box, () => {
    const utterance = { said: "", numFlushes: 0, isEnded: false, finished: new Promise(() => {}) };
    Object.assign(utterance, {
      append: (text) => (utterance.said += text),
      flush: () => (utterance.numFlushes += 1),
      end: () => (utterance.isEnded = true),
    });
    utterances.push(utterance);
    return utterance;
  });
  const type = (value) => {
    box.value = value;
    box.dispatchEvent(new Event("input"));
  };
  return { box, live, utterances, type };
}

test("a word is sent when it is complete, and the rest when the writer waits or asks", () => {
  const { live, utterances, type } = typing();
  live.turnOn();
  type("Hel");
  assert.equal(utterances.length, 0);
  type("Hello ");
  type("Hello wor");
  assert.equal(utterances[0].said, "Hello ");
  live.sayNow();
  assert.deepEqual([utterances[0].said, utterances[0].numFlushes], ["Hello wor", 1]);
  live.turnOff();
  assert.equal(utterances[0].isEnded, true);
});

test("what was sent is not said twice, and a change of it is not said", () => {
  const { live, utterances, type } = typing();
  live.turnOn();
  type("One two ");
  type("One two");
  type("One");
  type("One three ");
  assert.equal(utterances[0].said, "One two  three ");
  live.turnOff();
});

test("signs of scripts without spaces are sent as they come", () => {
  const { live, utterances, type } = typing();
  live.turnOn();
  type("你好");
  assert.equal(utterances[0].said, "你好");
  live.turnOff();
});

test("after a stop, only new text is said, by another utterance", () => {
  const { live, utterances, type } = typing();
  live.turnOn();
  type("One ");
  live.drop();
  type("One two ");
  assert.deepEqual(utterances.map(({ said }) => said), ["One ", "two "]);
  live.turnOff();
});

test("turned off, the box has its former text, and typing is silent", () => {
  const { box, live, utterances, type } = typing();
  box.value = "Before.";
  live.turnOn();
  assert.equal(box.value, "");
  live.turnOff();
  assert.equal(box.value, "Before.");
  type("More words ");
  assert.equal(utterances.length, 0);
});

for (const [text, capabilities, codes] of [
  ["Hello [laughs]", { languages: ["en"], tags: [] }, ["unsupported_tag"]],
  ["Hello [laughs]", { languages: ["en"], tags: ["[laughs]"] }, []],
  ["Привет", { languages: ["en"], tags: [] }, ["unsupported_language"]],
  ["Привет", { languages: ["ru"], tags: [] }, []],
  ["über", { languages: ["en"], tags: [] }, ["unsupported_language"]],
  ["über", { languages: ["de"], tags: [] }, []],
]) {
  test(`"${text}" for a model of ${capabilities.languages} with ${capabilities.tags.length} tags: ${codes}`, () => {
    assert.deepEqual(unspeakable(text, capabilities).map(({ code }) => code), codes);
  });
}
