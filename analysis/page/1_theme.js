"use strict";

// Light or dark: the system's choice until the button is pressed.
const root = document.documentElement;
const themeButton = document.getElementById("theme");
const systemDark = matchMedia("(prefers-color-scheme: dark)");
const kept = name => { try { return sessionStorage.getItem(name) || ""; } catch { return ""; } };
const keep = (name, value) => { try { sessionStorage.setItem(name, value); } catch { /* none */ } };
if (kept("theme")) root.dataset.theme = kept("theme");  // a page that reloads stays as it was
const isDark = () => (root.dataset.theme ? root.dataset.theme === "dark" : systemDark.matches);

function showTheme() {
  themeButton.setAttribute("aria-pressed", String(isDark()));
  document.querySelectorAll(".drawn").forEach(plot => Plotly.relayout(plot, inkOf()));
}
themeButton.addEventListener("click", () => {
  root.dataset.theme = isDark() ? "light" : "dark";
  keep("theme", root.dataset.theme);
  showTheme();
});
systemDark.addEventListener("change", showTheme);

// A copy button copies the text in front of it.
document.addEventListener("click", event => {
  const button = event.target.closest("button.copy");
  if (!button) return;
  navigator.clipboard.writeText(button.previousElementSibling.textContent).then(
    () => { button.textContent = "Copied"; },
    () => { button.textContent = "Select the text and copy it"; });
});
