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
  document.querySelectorAll(".plot.drawn").forEach(plot => Plotly.relayout(plot, inkOf()));
}
themeButton.addEventListener("click", () => {
  root.dataset.theme = isDark() ? "light" : "dark";
  keep("theme", root.dataset.theme);
  showTheme();
});
systemDark.addEventListener("change", showTheme);

// Figures are drawn when they come near the screen.
function inkOf() {
  const style = getComputedStyle(root);
  const ink = style.getPropertyValue("--ink").trim();
  return {
    "font.color": ink,
    "hoverlabel.bgcolor": style.getPropertyValue("--card").trim(),
    "hoverlabel.font.color": ink,
  };
}

let isLoaded = false;
function loadPlotly() {  // the page opens before this much script is read
  if (isLoaded) return;
  isLoaded = true;
  const script = document.createElement("script");
  script.textContent = document.getElementById("plotly").textContent;
  document.head.append(script);
}

function draw(plot) {
  loadPlotly();
  const figure = JSON.parse(document.getElementById(plot.id + "-data").textContent);
  const wanted = (figure.layout.meta || {}).min_width;
  if (wanted) plot.style.minWidth = wanted + "px";
  const narrow = plot.clientWidth < 480;
  const layout = { ...figure.layout, autosize: true, dragmode: narrow ? false : "zoom" };
  const config = { responsive: true, displaylogo: false, displayModeBar: narrow ? false : "hover" };
  Plotly.newPlot(plot, figure.data, layout, config).then(() => {
    plot.classList.add("drawn");
    Plotly.relayout(plot, inkOf());
  });
}

const watcher = new IntersectionObserver(entries => {
  for (const entry of entries) {
    if (!entry.isIntersecting) continue;
    watcher.unobserve(entry.target);
    draw(entry.target);
  }
}, { rootMargin: "300px" });
document.querySelectorAll(".plot").forEach(plot => watcher.observe(plot));

// The leaderboard: sort by a column's button, filter by words that must all occur.
const board = document.getElementById("board");
const body = board.tBodies[0];
const filter = document.getElementById("filter");

function valueOf(row, column) {
  const { value } = row.cells[column].dataset;
  return value === "" || isNaN(value) ? value : Number(value);
}

function compare(a, b, sign) {
  if (a === "" || b === "") return (a === "") - (b === "");
  return sign * (typeof a === typeof b ? (a < b ? -1 : a > b) : typeof a === "number" ? -1 : 1);
}

function sortBy(header) {
  const up = header.getAttribute("aria-sort") !== "ascending";
  const first = header.dataset.first === "descending" && !header.hasAttribute("aria-sort");
  const ascending = first ? false : up;
  for (const other of board.tHead.rows[0].cells) other.removeAttribute("aria-sort");
  header.setAttribute("aria-sort", ascending ? "ascending" : "descending");
  const column = header.cellIndex;
  const rows = [...body.rows].sort(
    (a, b) => compare(valueOf(a, column), valueOf(b, column), ascending ? 1 : -1));
  body.append(...rows);
}
board.tHead.addEventListener("click", event => {
  const header = event.target.closest("th");
  if (header) sortBy(header);
});

function applyFilter() {
  const words = filter.value.toLowerCase().split(/\s+/).filter(Boolean);
  let shown = 0;
  for (const row of body.rows) {
    const text = row.textContent.toLowerCase();
    row.hidden = !words.every(word => text.includes(word));
    shown += !row.hidden;
  }
  document.getElementById("shown").textContent = shown + " of " + body.rows.length + " shown";
}
filter.value = kept("filter");
filter.addEventListener("input", () => { keep("filter", filter.value); applyFilter(); });
document.getElementById("all-columns").addEventListener("change", event =>
  board.classList.toggle("all", event.target.checked));

document.querySelectorAll("button.copy").forEach(button => button.addEventListener("click", () => {
  const text = document.getElementById(button.dataset.copies).textContent;
  navigator.clipboard.writeText(text).then(
    () => { button.textContent = "Copied"; },
    () => { button.textContent = "Select the text and copy it"; });
}));

applyFilter();
showTheme();
