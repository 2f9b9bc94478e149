// Light or dark: as the reader's system is, or as they choose here.

const THEMES = ["system", "light", "dark"];
const NAME = "streamer-theme"; // in the browser's storage
const system = matchMedia("(prefers-color-scheme: dark)");

/** @param {HTMLButtonElement} button Goes through the themes. @param {() => void} onChange */
export function followTheme(button, onChange) {
  let theme = THEMES.includes(localStorage.getItem(NAME)) ? localStorage.getItem(NAME) : "system";
  const show = () => {
    button.textContent = `Theme: ${theme}`;
    document.documentElement.dataset.theme = theme === "system" ? (system.matches ? "dark" : "light") : theme;
    onChange();
  };
  button.addEventListener("click", () => {
    theme = THEMES[(THEMES.indexOf(theme) + 1) % THEMES.length];
    localStorage.setItem(NAME, theme);
    show();
  });
  system.addEventListener("change", show);
  show();
}
