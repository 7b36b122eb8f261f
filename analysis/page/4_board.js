// The leaderboard: sorted by a column's button, filtered, each trial opened by its own button.
const board = document.getElementById("board");
const filter = document.getElementById("filter");
const rowsOf = () => [...board.tBodies[0].rows];

function valueOf(row, column) {
  const { value } = row.cells[column].dataset;
  return value === "" || isNaN(value) ? value : Number(value);
}

function compare(a, b, sign) {
  if (a === "" || b === "") return (a === "") - (b === "");
  return sign * (typeof a === typeof b ? (a < b ? -1 : a > b) : typeof a === "number" ? -1 : 1);
}

function sortBy(header, direction) {
  for (const other of board.tHead.rows[0].cells) other.removeAttribute("aria-sort");
  header.setAttribute("aria-sort", direction);
  const [column, sign] = [header.cellIndex, direction === "ascending" ? 1 : -1];
  const rows = rowsOf().sort((a, b) => compare(valueOf(a, column), valueOf(b, column), sign));
  board.tBodies[0].append(...rows);
  drawLevels();
}

function sortedHeader() { return board.tHead.querySelector("[aria-sort]"); }

board.tHead.addEventListener("click", event => {
  const header = event.target.closest("th");
  if (!header) return;
  const now = header.getAttribute("aria-sort");
  const next = { ascending: "descending", descending: "ascending" };
  sortBy(header, now ? next[now] : header.dataset.first);
});

// A line between rows of unlike training, where the order puts those together.
function drawLevels() {
  const header = sortedHeader();
  const isGrouped = !header || ["rank", "turns"].includes(header.dataset.name);
  const shown = rowsOf().filter(row => !row.hidden);
  rowsOf().forEach(row => row.classList.remove("first"));
  if (!isGrouped) return;
  shown.slice(1).forEach((row, i) =>
    row.classList.toggle("first", row.dataset.level !== shown[i].dataset.level));
}

function applyFilter() {
  const said = document.getElementById("shown");
  let matches;
  try {
    matches = parseFilter(filter.value,
      [...board.tHead.rows[0].cells].map(cell => cell.dataset.name));
    filter.removeAttribute("aria-invalid");
  } catch (error) {
    filter.setAttribute("aria-invalid", "true");
    said.textContent = error.message;
    return;
  }
  const rows = rowsOf();
  rows.forEach(row => { row.hidden = !matches(row); });
  said.textContent = rows.filter(row => !row.hidden).length + " of " + rows.length + " shown";
  drawLevels();
}
filter.value = kept("filter");
filter.addEventListener("input", () => { keep("filter", filter.value); applyFilter(); });
document.getElementById("all-columns").addEventListener("change", event =>
  board.classList.toggle("all", event.target.checked));

// A trial in a window of its own over the page; #trial-0007 in the address opens it.
const trialWindow = document.getElementById("trial");
function showTrial(id) {
  const template = document.getElementById("trial-" + id);
  if (!template) return;
  const body = trialWindow.querySelector(".body");
  body.replaceChildren(template.content.cloneNode(true));
  trialWindow.dataset.trial = id;
  if (!trialWindow.open) trialWindow.showModal();
  body.querySelectorAll(".curve").forEach(drawCurve);
  dispatchEvent(new CustomEvent("trialshown", { detail: id }));
}

function drawCurve(curve) {
  const { title, scale, x, y, text, dotted } = JSON.parse(curve.dataset.curve);
  const mode = x.length > 20 ? "lines" : "lines+markers";
  const color = "#1f77b4", told = text ? "%{text}" : "";
  const line = { x, y, text, mode, line: { color }, hovertemplate: `%{x} turns: %{y:.4~g}${told}<extra></extra>` };
  const between = { ...dotted, mode: "lines", line: { color, dash: "dot" }, hoverinfo: "skip" };
  draw(curve, {
    data: dotted ? [line, between] : [line],
    layout: {
      showlegend: false,
      height: curve.clientHeight, margin: { l: 56, r: 16, t: 8, b: 44 }, font: { family: "system-ui, sans-serif" },
      paper_bgcolor: "rgba(0,0,0,0)", plot_bgcolor: "rgba(0,0,0,0)",
      xaxis: { title: { text: "system turns trained on" }, gridcolor: "rgba(128,128,128,0.25)" },
      yaxis: {
        title: { text: title }, type: scale === "log" ? "log" : "linear", automargin: true,
        rangemode: scale === "from 0" ? "tozero" : "normal", gridcolor: "rgba(128,128,128,0.25)",
      },
    },
  });
}

board.tBodies[0].addEventListener("click", event => {
  const row = event.target.closest("tr");
  const button = event.target.closest("button.open") || row?.querySelector("button.open");
  if (!button || String(getSelection())) return;  // who selects a text does not want to leave it
  history.replaceState(null, "", "#trial-" + button.dataset.trial);
  showTrial(button.dataset.trial);
});
trialWindow.addEventListener("close", () => history.replaceState(null, "", location.pathname));
trialWindow.addEventListener("click", event => {
  if (event.target === trialWindow || event.target.closest(".close")) trialWindow.close();
});
