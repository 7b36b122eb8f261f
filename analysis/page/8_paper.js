// On paper: all figures drawn, as wide as the sheet, two on it, dark on white; and the leaderboard
// whole, with what was searched under each row where the sheet is too narrow for it.
const SHEET_PX = 690;  // what A4 and Letter hold between their margins
const PLOT_PX = 330;
const NARROWEST = 0.7;  // of its size: a table any smaller cannot be read
const table = document.getElementById("board");
let themeOfScreen;

// What is wider than the sheet is made smaller whole: the browser would shrink the page instead.
function fitPlot(plot) {
  const { layout } = figureOf(plot);
  const width = Math.max(SHEET_PX, 0.75 * ((layout.meta || {}).min_width || 0));
  plot.style.minWidth = "";
  plot.style.zoom = SHEET_PX / width;
  const height = PLOT_PX * width / SHEET_PX;
  Plotly.relayout(plot, { width, height, autosize: false, "font.size": 0.75 * layout.font.size });
}

function releasePlot(plot) {
  const { layout } = figureOf(plot);
  const wanted = (layout.meta || {}).min_width;
  plot.style.zoom = "";
  if (wanted) plot.style.minWidth = wanted + "px";
  const height = layout.height || null;
  Plotly.relayout(plot, { width: null, height, autosize: true, "font.size": layout.font.size });
}

function fitBoard(board) {
  root.style.width = SHEET_PX + "px";
  if (SHEET_PX / board.offsetWidth < NARROWEST) foldBoard(board);
  board.style.zoom = Math.min(1, SHEET_PX / board.offsetWidth);
}

function foldBoard(board) {
  const fields = [...board.tHead.rows[0].cells].filter(cell => cell.classList.contains("field"));
  for (const row of [...board.tBodies[0].rows]) {
    const values = fields.map(cell => [cell.dataset.name, row.cells[cell.cellIndex].textContent]);
    const told = values.filter(([, value]) => value).map(([name, value]) => `${name} ${value}`);
    const below = document.createElement("tr");
    below.className = "below";
    below.hidden = row.hidden;
    below.insertCell().colSpan = row.cells.length;
    below.cells[0].textContent = told.join(", ");
    row.after(below);
  }
  board.classList.add("folded");
}

function releaseBoard(board) {
  board.querySelectorAll("tr.below").forEach(row => row.remove());
  board.classList.remove("folded");
  root.style.width = board.style.zoom = "";
}

addEventListener("beforeprint", () => {
  themeOfScreen = root.dataset.theme;
  root.dataset.theme = "light";
  root.classList.add("paper");
  if (table) fitBoard(table);
  document.querySelectorAll(".plot").forEach(plot => {
    draw(plot);
    fitPlot(plot);
    Plotly.relayout(plot, inkOf());
  });
});
addEventListener("afterprint", () => {
  root.classList.remove("paper");
  if (table) releaseBoard(table);
  if (themeOfScreen) root.dataset.theme = themeOfScreen; else delete root.dataset.theme;
  document.querySelectorAll(".plot.drawn").forEach(plot => {
    releasePlot(plot);
    Plotly.relayout(plot, inkOf());
  });
});
