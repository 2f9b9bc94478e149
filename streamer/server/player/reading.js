// The text while it is spoken: what was heard is dark, the word that is being heard is marked, the rest is pale.

/** Lies under the text box, whose own letters are transparent meanwhile: the text can be edited at any time. */
export class Reading {
  #heard = document.createElement("span");
  #now = document.createElement("span");
  #rest = document.createElement("span");
  /** @type {string[]} */
  #points = [];

  /** @param {HTMLElement} box @param {HTMLTextAreaElement} writing */
  constructor(box, writing) {
    this.box = box;
    this.writing = writing;
    this.#heard.className = "heard";
    this.#now.className = "now";
    box.append(this.#heard, this.#now, this.#rest);
    writing.addEventListener("scroll", () => (box.scrollTop = writing.scrollTop));
    writing.addEventListener("input", () => this.close());
  }

  /** Begin to show the text of the box. @param {string} text The same, as the server counts it. */
  open(text) {
    this.#points = Array.from(text);
    this.#show(0, 0);
    this.box.hidden = false;
    this.box.scrollTop = this.writing.scrollTop;
  }

  /** @param {{char_start: number, char_end: number}} word The one that is being heard. */
  mark({ char_start, char_end }) {
    if (this.box.hidden) return;
    this.#show(char_start, char_end);
    const { scrollTop, clientHeight } = this.writing;
    const top = this.#now.offsetTop - this.box.offsetTop;
    const isVisible = top >= scrollTop && top + this.#now.offsetHeight <= scrollTop + clientHeight;
    if (!isVisible) this.writing.scrollTop = Math.max(0, top - clientHeight / 3);
  }

  close() {
    this.box.hidden = true;
  }

  /** @param {number} start @param {number} end */
  #show(start, end) {
    this.#heard.textContent = this.#points.slice(0, start).join("");
    this.#now.textContent = this.#points.slice(start, end).join("");
    this.#rest.textContent = this.#points.slice(end).join("");
  }
}
