// OpenAI's library for Node speaks the turns of a conversation.
import { writeFile } from "node:fs/promises";
import { argv } from "node:process";
import OpenAI from "openai";

const orders = JSON.parse(argv[2]);
const client = new OpenAI({ baseURL: `http://127.0.0.1:${orders.port}/v1`, apiKey: "any" });
const stopAfterBytes = orders.stop_after_s * 48000;

async function speak({ text, is_interrupted }, format) {
  const interruption = new AbortController();
  const answer = await client.audio.speech.create(
    { model: orders.model, voice: "alloy", input: text, response_format: format },
    { signal: interruption.signal },
  );
  if (!is_interrupted) return [Buffer.from(await answer.arrayBuffer()), null];
  const pieces = [];
  let numBytes = 0;
  for await (const piece of answer.body) {
    pieces.push(piece);
    numBytes += piece.length;
    if (numBytes >= stopAfterBytes) break;
  }
  interruption.abort();
  return [Buffer.concat(pieces), Date.now() / 1000];
}

const turns = [];
for (const [number, turn] of orders.turns.entries()) {
  const format = orders.formats[number % orders.formats.length];
  const [sound, stopped_at] = await speak(turn, format);
  await writeFile(`${orders.folder}/${number}.${format}`, sound);
  turns.push({ stopped_at });
}
console.log(JSON.stringify({ turns }));
