// Speaks a text while it is being written, word by word, from Node; each sentence is printed when it begins to sound.
//
//     npm install ws
//     node node_live_text.mjs live.ogg
//
// A key, if the server requires one, is read from STREAMER_KEY.
import { createWriteStream } from "node:fs";
import { argv, env, exit } from "node:process";
import { setTimeout as sleep } from "node:timers/promises";
import WebSocket from "ws";

const [file = "live.ogg", url = "ws://localhost:8765/v1/stream"] = argv.slice(2);
const TEXT =
  "Here is what makes streaming worth the trouble. You hear this sentence while the next one is being written.";

// A file needs no pacing (lead_ms=null) and no packet headers (framing=bare).
const server = new WebSocket(`${url}?framing=bare&encoding=ogg_opus&lead_ms=null`, {
  headers: env.STREAMER_KEY ? { Authorization: `Bearer ${env.STREAMER_KEY}` } : {},
});
const say = (message) => server.send(JSON.stringify({ id: "live", ...message }));
const output = createWriteStream(file);

function fail(reason) {
  console.error(`node_live_text: ${reason}`);
  exit(1);
}

server.on("error", (error) => fail(error.message));
server.on("close", (code) => fail(`the server closed the connection (${code})`));
server.on("open", async () => {
  say({ type: "start" });
  for (const word of TEXT.split(" ")) {
    say({ type: "text", text: `${word} ` });
    await sleep(100);
  }
  say({ type: "end" });
});
server.on("message", (data, isBinary) => {
  if (isBinary) return output.write(data);
  const message = JSON.parse(data);
  if (message.type === "sentence_start") console.log(message.text);
  const problem = message.type === "error" ? message : message.error;
  if (problem) fail(problem.message);
  if (message.type === "done") {
    server.removeAllListeners("close");
    server.close();
    output.end(() => console.log(`${file}: ${message.audio_ms} ms`));
  }
});
