// Speaks a text into an Ogg Opus file from Node without any package: Node 22 has a WebSocket built in.
//
//     node node_speak.mjs "Hello there." hello.ogg
//
// (Node 20: node --experimental-websocket.) A key, if the server requires one, is read from STREAMER_KEY.
import { writeFile } from "node:fs/promises";
import { argv, env, exit } from "node:process";

const [text = "Hello there.", file = "hello.ogg", url = "ws://localhost:8765/v1/stream"] = argv.slice(2);

/** Return the sound of a text as an Ogg Opus file, and the server's `done`. */
function speak(text) {
  return new Promise((resolve, reject) => {
    const pieces = [];
    // A file needs no pacing (lead_ms=null) and no packet headers (framing=bare).
    const server = new WebSocket(`${url}?framing=bare&encoding=ogg_opus&lead_ms=null`);
    server.binaryType = "arraybuffer";
    server.onerror = () => reject(new Error(`no server answers at ${url}`));
    server.onclose = ({ code }) => reject(new Error(`the server closed the connection (${code})`));
    server.onopen = () => {
      // This WebSocket sets no header fields, as in a browser: the key is the first message.
      if (env.STREAMER_KEY) server.send(JSON.stringify({ type: "auth", token: env.STREAMER_KEY }));
      server.send(JSON.stringify({ type: "speak", id: "text", text }));
    };
    server.onmessage = ({ data }) => {
      if (typeof data !== "string") return pieces.push(Buffer.from(data));
      const message = JSON.parse(data);
      const problem = message.type === "error" ? message : message.error;
      if (problem) reject(new Error(problem.message));
      if (message.type === "done") resolve([Buffer.concat(pieces), message]);
      if (problem || message.type === "done") server.close();
    };
  });
}

try {
  const [sound, done] = await speak(text);
  await writeFile(file, sound);
  console.log(`${file}: ${done.audio_ms} ms, seed ${done.seed}`);
} catch (error) {
  console.error(`node_speak: ${error.message}`);
  exit(1);
}
