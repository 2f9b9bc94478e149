// Speaks while one types: each word is sent when it is complete, and what was sent is not taken back.

const IDLE_MS = 800; // after which the last word counts as complete
const END_AFTER_MS = 8000; // of silence of the writer, an utterance ends
const COMPLETE = /^[^]*[\s\p{Script=Han}\p{Script=Hiragana}\p{Script=Katakana}。、！？]/u;

export class LiveTyping {
  isOn = false;
  #sent = ""; // what of the box was sent
  #stash = ""; // what stood in the box before
  #utterance = null;
  #idle;
  #end;

  /** @param {HTMLTextAreaElement} box @param {() => import("./streamer-client.js").Utterance} begin Opens an utterance. */
  constructor(box, begin) {
    this.box = box;
    this.begin = begin;
    this.placeholder = box.placeholder;
    box.addEventListener("input", (event) => this.isOn && !event.isComposing && this.#typed());
    box.addEventListener("compositionend", () => this.isOn && this.#typed());
  }

  turnOn() {
    this.isOn = true;
    this.#stash = this.box.value;
    this.#sent = this.box.value = "";
    this.box.placeholder = "Write: each word is spoken as soon as it is complete…";
    this.box.focus();
  }

  turnOff() {
    this.sayNow();
    this.#finish();
    this.isOn = false;
    this.box.placeholder = this.placeholder;
    this.box.value ||= this.#stash;
  }

  /** Send the last word too, and have all of it spoken. */
  sayNow() {
    this.#send(this.box.value.slice(this.#sent.length));
    this.#utterance?.flush();
  }

  /** Forget the utterance, which was cancelled; what is typed next belongs to another. */
  drop() {
    clearTimeout(this.#idle);
    clearTimeout(this.#end);
    this.#utterance = null;
    if (this.isOn) this.#sent = this.box.value;
  }

  #typed() {
    const { value } = this.box;
    if (!value.startsWith(this.#sent)) this.#sent = value; // a change of what was sent cannot be heard
    const rest = value.slice(this.#sent.length);
    const complete = rest.match(COMPLETE)?.[0] ?? "";
    this.#send(complete);
    if (complete.endsWith("\n")) this.#utterance?.flush();
    clearTimeout(this.#idle);
    this.#idle = setTimeout(() => this.#send(this.box.value.slice(this.#sent.length)), IDLE_MS);
  }

  #send(text) {
    if (!text) return;
    this.#sent += text;
    if (!this.#utterance && !text.trim()) return;
    if (!this.#utterance) {
      const utterance = (this.#utterance = this.begin());
      utterance.finished.then(() => utterance === this.#utterance && this.drop());
    }
    this.#utterance.append(text);
    clearTimeout(this.#end);
    this.#end = setTimeout(() => this.#finish(), END_AFTER_MS);
  }

  #finish() {
    clearTimeout(this.#idle);
    clearTimeout(this.#end);
    this.#utterance?.end();
    this.#utterance = null;
  }
}
