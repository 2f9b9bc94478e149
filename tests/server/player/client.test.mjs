// Contracts of `StreamerClient` that need no browser: what it sends, in which order things are heard, and what a lost
// connection changes.

import assert from "node:assert/strict";
import { afterEach, beforeEach, test } from "node:test";

import { StreamerClient, guessWords, parseFrame } from "../../../streamer/server/player/streamer-client.js";
import { FakeOutput, FakeSocket, comeOnline, settle } from "./fake_server.mjs";

let client;
let output;
let events;

/** Write down an utterance's events. */
function watch(utterance, ...types) {
  for (const type of types) {
    utterance.addEventListener(type, ({ detail }) => events.push([type, detail?.text ?? detail?.reason ?? detail?.state ?? ""]));
  }
}

beforeEach(() => {
  globalThis.WebSocket = FakeSocket;
  FakeSocket.all = [];
  output = new FakeOutput();
  events = [];
  client = new StreamerClient("http://server:8765/voice", { output, paths: ["pcm"], settings: { voice: "joe" } });
});

afterEach(() => client.close());

/** A connected client; `limits` are the server's. */
async function connected(limits = {}) {
  const connecting = client.connect();
  FakeSocket.last.greet(limits);
  await connecting;
  await settle();
  return FakeSocket.last;
}

test("it connects below the server's path, with the subprotocol", async () => {
  const socket = await connected();
  assert.equal(socket.address, "ws://server:8765/voice/v1/stream");
  assert.equal(socket.subprotocol, "streamer.v1");
});

test("https becomes wss", () => {
  const other = new StreamerClient("https://server/", { output: new FakeOutput(), paths: ["pcm"] });
  other.connect();
  assert.equal(FakeSocket.last.address, "wss://server/v1/stream");
  other.close();
});

test("speak sends start, text and end, with the defaults and its own settings", async () => {
  const socket = await connected();
  client.speak("Hello.", { language: "en", params: { seed: 5 } });
  await settle();
  assert.deepEqual(socket.sent.slice(-3), [
    { type: "start", id: "u1", voice: "joe", language: "en", params: { seed: 5 }, encoding: "pcm_s16le", sample_rate: 48000, frame_ms: 20 },
    { type: "text", id: "u1", text: "Hello." },
    { type: "end", id: "u1" },
  ]);
});

test("speak before the connection is there is sent once it is", async () => {
  client.speak("Hello.");
  await settle();
  assert.deepEqual(FakeSocket.last.messages("start"), []);
  FakeSocket.last.greet();
  await settle();
  assert.equal(FakeSocket.last.messages("start").length, 1);
  assert.equal(FakeSocket.all.length, 1);
});

test("text is appended and flushed in order", async () => {
  const socket = await connected();
  const utterance = client.start();
  await settle();
  utterance.append("One ");
  utterance.append("two");
  utterance.flush();
  utterance.append(" three.");
  utterance.end();
  utterance.end();
  const said = socket.sent.slice(-5).map(({ type, text }) => text ?? type);
  assert.deepEqual(said, ["One ", "two", "flush", " three.", "end"]);
  assert.throws(() => utterance.append("late"), /ended/);
});

for (const [text, pieces] of [
  ["abcdefgh", ["abc", "def", "gh"]],
  ["ab😀cd", ["ab😀", "cd"]],
  ["😀😀😀😀", ["😀😀😀", "😀"]],
  ["abc", ["abc"]],
  ["ééé é", ["ééé", " é"]],
]) {
  test(`"${text}" is cut at the server's limit, between characters`, async () => {
    const socket = await connected({ max_text_chars: 3 });
    client.speak(text);
    await settle();
    assert.deepEqual(socket.messages("text").map((message) => message.text), pieces);
  });
}

test("no more text is sent than the server may hold, and the rest when a sentence begins", async () => {
  const socket = await connected({ max_buffered_chars: 10, max_text_chars: 10 });
  client.speak("0123456789abcdefghij!");
  await settle();
  assert.deepEqual(socket.messages("text").map(({ text }) => text), ["0123456789"]);
  assert.deepEqual(socket.messages("end"), []);
  socket.start("u1", 1);
  socket.sentence("u1", 0, "01234", 0, 0);
  assert.deepEqual(socket.messages("text").map(({ text }) => text), ["0123456789", "abcde"]);
  socket.sentence("u1", 1, "56789abcde", 5, 0);
  assert.deepEqual(socket.messages("text").at(-1).text, "fghij!");
  assert.equal(socket.messages("end").length, 1);
});

test("two utterances are heard one after the other", async () => {
  const socket = await connected();
  const first = client.speak("One.");
  const second = client.speak("Two.");
  await settle();
  assert.deepEqual(socket.messages("start").map(({ after }) => after ?? null), [null, "u1"]);
  socket.start("u1", 1);
  socket.sendPacket(1, 0, { isLast: true });
  socket.say({ type: "done", id: "u1", reason: "completed", audio_ms: 20 });
  socket.start("u2", 2);
  socket.sendPacket(2, 0);
  socket.sendPacket(2, 1, { isLast: true });
  socket.say({ type: "done", id: "u2", reason: "completed", audio_ms: 35 });
  await settle();
  assert.equal(output.numPushed, 960);
  assert.equal(second.receivedMs, 35);
  output.play();
  assert.equal((await first.finished).reason, "completed");
  assert.equal(client.current, second);
  assert.equal(output.numPushed, 35 * 48); // what `audio_ms` announced, not all of the last packet
  output.play();
  const outcome = await second.finished;
  assert.deepEqual([outcome.reason, outcome.playedMs], ["completed", 35]);
  assert.deepEqual(output.log, ["begin", "begin"]);
  assert.equal(client.current, null);
});

test("a second that interrupts silences the first before it starts", async () => {
  const socket = await connected();
  const first = client.speak("One.");
  await settle();
  socket.start("u1", 1);
  for (let i = 0; i < 5; i++) socket.sendPacket(1, i);
  output.play(60);
  client.speak("Two.", { interrupt: true });
  await settle();
  const order = socket.sent.filter(({ type }) => type === "cancel" || type === "start").map(({ type, id }) => `${type} ${id}`);
  assert.deepEqual(order, ["start u1", "cancel u1", "start u2"]);
  assert.equal(socket.messages("cancel")[0].played_ms, 60);
  assert.equal(socket.messages("start")[1].interrupt, undefined);
  assert.deepEqual(output.log, ["begin", "stop", "begin"]);
  socket.sendPacket(1, 5); // was on its way
  assert.equal(output.numPushed, 0);
  socket.say({ type: "done", id: "u1", reason: "cancelled", audio_ms: 120, heard: { text: "One.", char_end: 4 } });
  assert.deepEqual((await first.finished).heard, { text: "One.", char_end: 4 });
});

test("cancel after all was received tells the server too, which says what was heard", async () => {
  const socket = await connected();
  const utterance = client.speak("One two.");
  await settle();
  socket.start("u1", 1);
  for (let i = 0; i < 5; i++) socket.sendPacket(1, i, { isLast: i === 4 });
  socket.say({ type: "done", id: "u1", reason: "completed", audio_ms: 100 });
  await settle();
  output.play(40);
  utterance.cancel();
  utterance.cancel();
  assert.deepEqual(socket.messages("cancel"), [{ type: "cancel", id: "u1", played_ms: 40 }]);
  socket.say({ type: "warning", code: "utterance_over", id: "u1", heard: { text: "One", char_end: 3 } });
  const { reason, heard, playedMs } = await utterance.finished;
  assert.deepEqual([reason, heard.text, playedMs], ["cancelled", "One", 40]);
});

test("cancel without a connection is over at once, and nothing is spoken later", async () => {
  const utterance = client.speak("One.");
  await settle();
  utterance.cancel();
  assert.equal((await utterance.finished).reason, "cancelled");
  FakeSocket.last.greet();
  await settle();
  assert.deepEqual(FakeSocket.last.messages("start"), []);
});

test("cancel, and then the connection is lost: it still ends", async () => {
  const socket = await connected();
  const utterance = client.speak("One.");
  await settle();
  utterance.cancel();
  socket.close();
  assert.equal((await utterance.finished).reason, "cancelled");
});

test("sound does not reach the output after a cancel", async () => {
  const socket = await connected();
  const utterance = client.speak("One.");
  await settle();
  socket.start("u1", 1);
  utterance.cancel();
  socket.sendPacket(1, 0);
  assert.equal(output.numPushed, 0);
});

test("a refused utterance ends, and the one behind it is spoken alone", async () => {
  const socket = await connected();
  const first = client.speak("One.");
  const second = client.speak("Two.");
  await settle();
  socket.say({ type: "error", code: "voice_not_found", message: "no", scope: "utterance", param: "voice", id: "u1" });
  socket.say({ type: "error", code: "utterance_state", message: "no", scope: "utterance", param: "after", id: "u2" });
  const { reason, error } = await first.finished;
  assert.deepEqual([reason, error.code], ["refused", "voice_not_found"]);
  const again = socket.messages("start").at(-1);
  assert.deepEqual([again.id, again.after], ["u2~2", undefined]);
  assert.equal(socket.messages("text").at(-1).text, "Two.");
  socket.start("u2~2", 2);
  socket.say({ type: "done", id: "u2~2", reason: "completed", audio_ms: 0 });
  assert.equal((await second.finished).reason, "completed");
});

test("a failure ends when the sound that came before it was heard", async () => {
  const socket = await connected();
  const utterance = client.speak("One.");
  await settle();
  socket.start("u1", 1);
  socket.sendPacket(1, 0);
  const error = { code: "engine_failed", message: "it stumbled" };
  socket.say({ type: "done", id: "u1", reason: "failed", audio_ms: 20, error });
  await settle();
  output.play();
  assert.deepEqual(await utterance.finished.then(({ reason, error }) => [reason, error]), ["failed", error]);
});

test("sentences and words are told when they are heard, by a guess until the server's times are there", async () => {
  const socket = await connected();
  const utterance = client.speak("One two. Three.");
  watch(utterance, "sentence", "word");
  await settle();
  socket.start("u1", 1);
  socket.sentence("u1", 0, "One two.", 0, 0);
  for (let i = 0; i < 100; i++) socket.sendPacket(1, i);
  output.play(20);
  assert.deepEqual(events, [["sentence", "One two."], ["word", "One"]]);
  const items = [
    { text: "One", start_ms: 0, end_ms: 300, char_start: 0, char_end: 3 },
    { text: "two.", start_ms: 900, end_ms: 1000, char_start: 4, char_end: 8 },
  ];
  socket.say({ type: "words", id: "u1", index: 0, items });
  socket.say({ type: "sentence_end", id: "u1", index: 0, end_ms: 1000 });
  socket.sentence("u1", 1, "Three.", 9, 1250);
  output.play(700);
  assert.equal(events.length, 2);
  output.play(200);
  assert.deepEqual(events.at(-1), ["word", "two."]);
  output.play(350);
  assert.deepEqual(events.slice(3), [["sentence", "Three."], ["word", "Three."]]);
});

test("guessed words have their places in the text", () => {
  const words = guessWords({ index: 0, text: "Ça va 😀?", char_start: 10, char_end: 18, start_ms: 500, end_ms: null, words: [] }, 10);
  assert.deepEqual(words, [
    { text: "Ça", start_ms: 500, end_ms: 550, char_start: 10, char_end: 12 },
    { text: "va", start_ms: 550, end_ms: 600, char_start: 13, char_end: 15 },
    { text: "😀?", start_ms: 600, end_ms: 650, char_start: 16, char_end: 18 },
  ]);
});

for (const [text, expected] of [
  ["你好。", ["你", "好。"]],
  ["3:30 pm", ["3:30", "pm"]],
  ["", []],
  ["well-known 'words'", ["well-known", "'words'"]],
  ["今日 ok", ["今", "日", "ok"]],
]) {
  test(`"${text}" has the words that the server finds`, () => {
    const sentence = { index: 0, text, char_start: 0, char_end: 9, start_ms: 0, end_ms: null, words: [] };
    assert.deepEqual(guessWords(sentence).map((word) => word.text), expected);
  });
}

/** A lost connection comes back; returns the new socket. */
async function reconnected(socket) {
  socket.close(1006);
  comeOnline();
  FakeSocket.last.greet();
  await settle();
  return FakeSocket.last;
}

test("after a lost connection, the sentence that was not heard whole is spoken again, with the same seed", async () => {
  const socket = await connected();
  const utterance = client.speak("One. Two. Three.");
  watch(utterance, "sentence");
  await settle();
  socket.start("u1", 1);
  socket.sentence("u1", 0, "One.", 0, 0);
  for (let i = 0; i < 10; i++) socket.sendPacket(1, i);
  socket.say({ type: "sentence_end", id: "u1", index: 0, end_ms: 200 });
  socket.sentence("u1", 1, "Two.", 5, 200);
  for (let i = 10; i < 15; i++) socket.sendPacket(1, i);
  output.play(100);
  const next = await reconnected(socket);
  assert.deepEqual(output.log, ["begin", "trim 9600"]); // the half of "Two." that nobody has heard yet
  const start = next.messages("start")[0];
  assert.deepEqual([start.id, start.params.seed], ["u1~2", 7]);
  assert.deepEqual(next.messages("text").map(({ text }) => text), ["Two. Three."]);
  next.start("u1~2", 1);
  next.sentence("u1~2", 0, "Two.", 0, 0);
  for (let i = 0; i < 10; i++) next.sendPacket(1, i);
  next.say({ type: "sentence_end", id: "u1~2", index: 0, end_ms: 200 });
  next.sentence("u1~2", 1, "Three.", 5, 250);
  next.sendPacket(1, 10, { isLast: true });
  next.say({ type: "done", id: "u1~2", reason: "completed", audio_ms: 220 });
  await settle();
  assert.deepEqual(utterance.sentences.map(({ text, char_start, start_ms }) => [text, char_start, start_ms]), [
    ["One.", 0, 0],
    ["Two.", 5, 200],
    ["Three.", 10, 450],
  ]);
  output.play();
  const { reason, playedMs } = await utterance.finished;
  assert.deepEqual([reason, playedMs], ["completed", 420]);
});

test("a sentence that is being heard when the connection is lost plays on, and is then said again", async () => {
  const socket = await connected();
  const utterance = client.speak("One two three.");
  await settle();
  socket.start("u1", 1);
  socket.sentence("u1", 0, "One two three.", 0, 0);
  for (let i = 0; i < 5; i++) socket.sendPacket(1, i);
  output.play(40);
  const next = await reconnected(socket);
  assert.deepEqual(output.log, ["begin"]);
  assert.equal(output.numPushed, 5 * 960);
  assert.equal(next.messages("text")[0].text, "One two three.");
  assert.equal(utterance.isOver, false);
});

test("what was received whole needs no connection any more", async () => {
  const socket = await connected();
  const utterance = client.speak("One.");
  await settle();
  socket.start("u1", 1);
  socket.sentence("u1", 0, "One.", 0, 0);
  socket.sendPacket(1, 0);
  socket.say({ type: "sentence_end", id: "u1", index: 0, end_ms: 20 });
  const next = await reconnected(socket); // before `done`
  assert.deepEqual(next.messages("start"), []);
  output.play();
  assert.equal((await utterance.finished).reason, "completed");
});

test("an utterance that had not started is asked for again as it was", async () => {
  const socket = await connected();
  client.speak("One.");
  client.speak("Two.");
  await settle();
  const next = await reconnected(socket);
  assert.deepEqual(next.messages("start").map(({ id, after }) => [id, after ?? null]), [["u1~2", null], ["u2~2", "u1~2"]]);
  assert.deepEqual(next.messages("text").map(({ text }) => text), ["One.", "Two."]);
});

test("text that is written while the connection is lost is spoken after it is back", async () => {
  const socket = await connected();
  const utterance = client.start();
  utterance.append("One ");
  await settle();
  socket.close(1006);
  await settle();
  utterance.append("two.");
  utterance.end();
  const next = await reconnected(socket);
  assert.equal(next.messages("text").map(({ text }) => text).join(""), "One two.");
  assert.equal(next.messages("end").length, 1);
});

test("what a server that stops has cut is spoken on the next connection", async () => {
  const socket = await connected();
  const utterance = client.speak("One. Two.");
  await settle();
  socket.start("u1", 1);
  socket.sentence("u1", 0, "One.", 0, 0);
  socket.sendPacket(1, 0);
  socket.say({ type: "sentence_end", id: "u1", index: 0, end_ms: 20 });
  socket.say({ type: "going_away", deadline_s: 1 });
  socket.say({ type: "done", id: "u1", reason: "cancelled", audio_ms: 20 });
  const next = await reconnected(socket);
  assert.equal(next.messages("text")[0].text.trim(), "Two.");
  assert.equal(utterance.isOver, false);
});

test("a key that is wrong or missing is asked for, and what waits is spoken with the next one", async () => {
  const states = [];
  client.addEventListener("state", ({ detail }) => states.push(detail.state));
  client.speak("One.");
  await settle();
  FakeSocket.last.readyState = 1;
  FakeSocket.last.close(4401);
  await settle();
  assert.deepEqual(states, ["connecting", "key_needed"]);
  client.useKey("open-sesame");
  FakeSocket.last.greet();
  await settle();
  assert.deepEqual(FakeSocket.last.sent[0], { type: "auth", token: "open-sesame" });
  assert.equal(FakeSocket.last.messages("start").length, 1);
});

for (const code of ["rate_limited", "overloaded"]) {
  test(`a client whose session is refused as ${code} comes back with its key when it is told to`, async (context) => {
    const states = [];
    client.useKey("open-sesame");
    const socket = await connected();
    client.addEventListener("state", ({ detail }) => states.push(detail.state));
    client.speak("One.");
    await settle();
    context.mock.timers.enable({ apis: ["setTimeout"] });
    socket.say({ type: "error", scope: "session", code, message: "come back later", retryable: true, retry_after_s: 30 });
    socket.close(1013);
    context.mock.timers.tick(29_999);
    assert.deepEqual([states, FakeSocket.all.length], [["lost"], 1]);
    context.mock.timers.tick(1_000);
    assert.deepEqual([states, FakeSocket.all.length], [["lost", "connecting"], 2]);
    context.mock.timers.reset();
    FakeSocket.last.greet();
    await settle();
    assert.deepEqual(FakeSocket.last.sent[0], { type: "auth", token: "open-sesame" });
    assert.deepEqual(FakeSocket.last.messages("text").map(({ text }) => text), ["One."]);
    context.mock.timers.enable({ apis: ["setTimeout"] });
    FakeSocket.last.close(1006);
    context.mock.timers.tick(1_000);
    assert.equal(FakeSocket.all.length, 3); // a line that is lost later is tried again as soon as ever
  });
}

test("a key that is fetched is another one for each connection", async () => {
  let numKeys = 0;
  client.useKey(async () => `ticket-${++numKeys}`);
  await settle();
  FakeSocket.last.greet();
  assert.deepEqual(FakeSocket.last.sent[0], { type: "auth", token: "ticket-1" });
  FakeSocket.last.close(1006);
  comeOnline();
  await settle();
  FakeSocket.last.greet();
  assert.deepEqual(FakeSocket.last.sent[0], { type: "auth", token: "ticket-2" });
});

test("the server learns how much was heard, of this connection's sound", async () => {
  const socket = await connected();
  client.speak("One.");
  await settle();
  socket.start("u1", 1);
  for (let i = 0; i < 50; i++) socket.sendPacket(1, i);
  output.play(300);
  await new Promise((resolve) => setTimeout(resolve, 60));
  assert.deepEqual(socket.messages("played").at(-1), { type: "played", id: "u1", ms: 300 });
});

test("a listener's time is the output's, less what is on its way to the ear", async () => {
  const socket = await connected();
  const utterance = client.speak("One.");
  await settle();
  output.latencyMs = 30;
  socket.start("u1", 1);
  for (let i = 0; i < 50; i++) socket.sendPacket(1, i);
  output.play(100);
  assert.equal(utterance.playedMs, 70);
});

for (const [name, bytes] of [
  ["a frame of another version", [2, 0, 0, 1, 0, 0, 0, 0, 0, 0, 0, 0]],
  ["half a header", [1, 0, 0, 1]],
  ["nothing", []],
]) {
  test(`${name} is passed over`, () => assert.equal(parseFrame(new Uint8Array(bytes).buffer), null));
}

test("a frame is taken apart", () => {
  const { isLast, stream, sequence, payload } = parseFrame(new Uint8Array([1, 3, 1, 2, 0, 0, 1, 0, 255, 255, 255, 1, 9, 8]).buffer);
  assert.deepEqual([isLast, stream, sequence, [...payload]], [true, 258, 256, [9, 8]]);
});
