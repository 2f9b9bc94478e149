// What is on the page as a program: the same text, voice and settings for curl, Python and JavaScript.

/**
 * @param {"curl" | "python" | "javascript"} language
 * @param {string} text
 * @param {Record<string, any>} settings The fields that differ from the server's own.
 * @param {string} address The server's, with a slash at the end.
 * @param {boolean} hasKey Whether the server asks for a key.
 */
export function codeFor(language, text, settings, address, hasKey) {
  return { curl, python, javascript }[language](text, settings, address, hasKey);
}

function curl(text, settings, address, hasKey) {
  const { start: _, ...fields } = settings; // a file has no first packet to hold back
  const body = JSON.stringify({ text, ...fields });
  const key = hasKey ? ` \\\n  -H "Authorization: Bearer $STREAMER_KEY"` : "";
  return `curl -f ${shell(`${address}v1/speech`)}${key} \\\n  -d ${shell(body)} -o speech.ogg\n`;
}

function python(text, settings, address, hasKey) {
  const message = { type: "speak", id: "a", text, ...settings };
  const fields = Object.entries(message).map(([name, value]) => `    ${JSON.stringify(name)}: ${pythonic(value)},`);
  const url = `${address.replace("http", "ws")}v1/stream?framing=bare&encoding=ogg_opus&lead_ms=null`;
  const imports = hasKey ? "import json\nimport os\n" : "import json\n";
  const key = hasKey ? '\n    additional_headers={"Authorization": f"Bearer {os.environ[\'STREAMER_KEY\']}"},' : "";
  const target = key ? `\n    ${JSON.stringify(url)},${key}\n` : JSON.stringify(url);
  return `${imports}
from websockets.sync.client import connect

request = {
${fields.join("\n")}
}
with connect(${target}) as server, open("speech.ogg", "wb") as file:
    server.send(json.dumps(request))
    for message in server:
        if isinstance(message, bytes):
            file.write(message)
        elif json.loads(message)["type"] in ("done", "error"):
            print(message)
            break
`;
}

function javascript(text, settings, address, hasKey) {
  const options = hasKey ? `, { key: prompt("Key") }` : "";
  const more = Object.keys(settings).length ? `, ${script(settings)}` : "";
  return `<button id="speak">Speak</button>
<script type="module">
  import { StreamerClient } from ${script(`${address}player/streamer-client.js`)};

  const client = new StreamerClient(${script(address)}${options});
  document.getElementById("speak").onclick = () => {
    const utterance = client.speak(${script(text)}${more});
    utterance.addEventListener("word", ({ detail }) => console.log(detail.text));
  };
</script>
`;
}

/** In single quotes a shell changes nothing, and a quote itself stands outside of them. */
const shell = (text) => `'${text.replaceAll("'", `'\\''`)}'`;

/** JSON, with Python's names; JSON's strings are Python's, lone surrogates apart. */
function pythonic(value) {
  if (value === null) return "None";
  if (value === true) return "True";
  if (value === false) return "False";
  if (typeof value !== "object") return JSON.stringify(value);
  const items = Object.entries(value).map(([name, item]) => `${JSON.stringify(name)}: ${pythonic(item)}`);
  return `{${items.join(", ")}}`;
}

/** JSON that may stand in a script in a page: no tag can end it. */
const script = (value) => JSON.stringify(value).replaceAll("<", "\\u003c");
