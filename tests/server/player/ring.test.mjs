// Contracts of the worklet's ring: nothing is lost, nothing clicks, and it waits longer where the sound ran out.

import assert from "node:assert/strict";
import { test } from "node:test";

import { SpeechRing } from "../../../streamer/server/player/streamer-client.js";

const RATE_HZ = 48000;
const BLOCK = 128;

/** A ring, what it reports, and its time. */
function create() {
  const reports = [];
  const ring = new SpeechRing((report) => reports.push(report), RATE_HZ);
  let now = 0;
  const play = (numBlocks) => {
    const sound = new Float32Array(numBlocks * BLOCK);
    for (let i = 0; i < numBlocks; i++) {
      ring.process(sound.subarray(i * BLOCK, (i + 1) * BLOCK), now);
      now += BLOCK / RATE_HZ;
    }
    return sound;
  };
  const push = (ms, value = 0.5) => ring.receive({ type: "push", samples: new Float32Array(48 * ms).fill(value) });
  return { ring, reports, play, push };
}

/** The largest step between two neighbours. */
const largestStep = (sound) => sound.reduce((most, sample, i) => (i ? Math.max(most, Math.abs(sample - sound[i - 1])) : most), 0);

test("it plays nothing before the target is reached, and then every sample, in order", () => {
  const { ring, reports, play, push } = create();
  ring.receive({ type: "begin", utterance: 1 });
  push(50);
  assert.ok(play(4).every((sample) => sample === 0));
  const ramp = Float32Array.from({ length: 48 * 20 }, (_, i) => i / 1000);
  ring.receive({ type: "push", samples: ramp });
  ring.receive({ type: "end" });
  const sound = play(40);
  assert.deepEqual(sound.slice(48 * 50, 48 * 70), ramp);
  assert.ok(sound.slice(48 * 70).every((sample) => sample === 0));
  assert.deepEqual([reports.at(-1).how, reports.at(-1).played, reports.at(-1).underruns], ["ended", 48 * 70, 0]);
});

test("a sound shorter than the target is played once it is complete", () => {
  const { ring, reports, play, push } = create();
  ring.receive({ type: "begin", utterance: 1 });
  push(10);
  ring.receive({ type: "end" });
  play(10);
  assert.deepEqual([reports.at(-1).how, reports.at(-1).played], ["ended", 480]);
});

test("where the sound runs out, it fades out and in, counts, and waits for more than before", () => {
  const { ring, reports, play, push } = create();
  ring.receive({ type: "begin", utterance: 1 });
  push(151);
  const before = play(60);
  assert.equal(reports.at(-1).state, "buffering");
  assert.equal(reports.at(-1).underruns, 1);
  push(100);
  assert.ok(play(4).every((sample) => sample === 0)); // 150 ms were enough at first, 200 are needed now
  push(110);
  const behind = play(20);
  assert.ok(largestStep(before.subarray(BLOCK)) < 0.02, "the end clicks");
  assert.ok(largestStep(behind) < 0.02, "the beginning clicks");
});

test("the target stays for the next utterance, has a limit, and sinks after a sound without an underrun", () => {
  const { ring, play, push } = create();
  for (let i = 0; i < 20; i++) {
    ring.receive({ type: "begin", utterance: i });
    push(501);
    play(200);
  }
  assert.equal(ring.target, 0.5 * RATE_HZ);
  ring.receive({ type: "begin", utterance: 30 });
  push(600);
  ring.receive({ type: "end" });
  play(300);
  assert.ok(Math.abs(ring.target - 0.45 * RATE_HZ) < 1);
});

test("stop is silent within five milliseconds, without a click", () => {
  const { ring, reports, play, push } = create();
  ring.receive({ type: "begin", utterance: 1 });
  push(200);
  play(10);
  ring.receive({ type: "stop" });
  const sound = play(10);
  assert.ok(sound.slice(5 * 48 + BLOCK).every((sample) => sample === 0));
  assert.ok(largestStep(sound) < 0.02);
  assert.equal(reports.at(-1).how, "stopped");
});

test("what is begun while the one before fades out is heard behind it, whole", () => {
  const { ring, reports, play, push } = create();
  ring.receive({ type: "begin", utterance: 1 });
  push(200);
  play(10);
  ring.receive({ type: "stop" });
  ring.receive({ type: "begin", utterance: 2 });
  push(70, 0.25);
  ring.receive({ type: "end" });
  play(60);
  assert.deepEqual([reports.at(-1).utterance, reports.at(-1).how, reports.at(-1).played], [2, "ended", 70 * 48]);
});

test("trim forgets what is beyond, and never what was played", () => {
  const { ring, play, push } = create();
  ring.receive({ type: "begin", utterance: 1 });
  push(160);
  play(10);
  ring.receive({ type: "trim", numSamples: 48 * 50 });
  ring.receive({ type: "trim", numSamples: 10 });
  assert.equal(ring.count, 0);
  assert.equal(ring.played, 10 * BLOCK);
});

test("a minute and more of sound is kept", () => {
  const { ring, play, push } = create();
  ring.receive({ type: "begin", utterance: 1 });
  push(150);
  play(5);
  for (let i = 0; i < 90; i++) push(1000, (i % 9) / 10);
  assert.equal(ring.count, 48 * 90150 - 5 * BLOCK);
  play((48 * 150 - 5 * BLOCK) / BLOCK);
  for (let i = 0; i < 90; i++) {
    const sound = play(375);
    assert.ok(Math.abs(sound[20000] - (i % 9) / 10) < 1e-6);
  }
});

test("messages for no utterance are passed over", () => {
  const { ring, reports, play, push } = create();
  push(100);
  ring.receive({ type: "end" });
  ring.receive({ type: "stop" });
  assert.ok(play(20).every((sample) => sample === 0));
  assert.deepEqual(reports, []);
});
