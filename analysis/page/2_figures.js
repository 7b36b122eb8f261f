// Figures: those near the screen first, then the others while nothing else is to be done, and all
// of them before the page is printed.
function inkOf() {
  const style = getComputedStyle(root);
  const ink = style.getPropertyValue("--ink").trim();
  return {
    "font.color": ink,
    "hoverlabel.bgcolor": style.getPropertyValue("--card").trim(),
    "hoverlabel.font.color": ink,
  };
}

let isLoaded = Boolean(window.Plotly);
function loadPlotly() {  // the page opens before this much script is read
  if (isLoaded) return;
  isLoaded = true;
  const script = document.createElement("script");
  script.textContent = document.getElementById("plotly").textContent;
  document.head.append(script);
}

const figureOf = plot => JSON.parse(document.getElementById(plot.id + "-data").textContent);

function layoutOf(plot, figure) {
  const ink = inkOf();
  return {
    ...figure.layout,
    autosize: true,
    dragmode: plot.clientWidth < 480 ? false : "zoom",
    font: { ...figure.layout.font, color: ink["font.color"] },
    hoverlabel: {
      ...figure.layout.hoverlabel,
      bgcolor: ink["hoverlabel.bgcolor"],
      font: { color: ink["hoverlabel.font.color"] },
    },
  };
}

function draw(plot, figure = figureOf(plot)) {
  if (plot.classList.contains("drawn")) return;
  loadPlotly();
  const wanted = (figure.layout.meta || {}).min_width;
  if (wanted) plot.style.minWidth = wanted + "px";
  const narrow = plot.clientWidth < 480;
  const config = { responsive: true, displaylogo: false, displayModeBar: narrow ? false : "hover" };
  Plotly.newPlot(plot, figure.data, layoutOf(plot, figure), config);
  plot.classList.add("drawn");
}

const idle = window.requestIdleCallback || (work => setTimeout(work, 50));
const undrawn = () => document.querySelector(".plot:not(.drawn)");
function drawNext() {
  const plot = undrawn();
  if (!plot) return;
  draw(plot);
  idle(drawNext);
}

const watcher = new IntersectionObserver(entries => {
  for (const entry of entries) {
    if (!entry.isIntersecting) continue;
    watcher.unobserve(entry.target);
    draw(entry.target);
  }
}, { rootMargin: "300px" });
function watchFigures() {
  document.querySelectorAll(".plot:not(.drawn)").forEach(plot => watcher.observe(plot));
  idle(drawNext);
}

// Takes over another state of the same page's figures.
function updateFigures(next) {
  const names = page => [...page.querySelectorAll(".plot")].map(plot => plot.id).join();
  if (names(document) !== names(next)) {
    document.getElementById("figures-body").replaceWith(next.getElementById("figures-body"));
    watchFigures();
    return;
  }
  for (const plot of document.querySelectorAll(".plot")) {
    const data = document.getElementById(plot.id + "-data");
    const fresh = next.getElementById(plot.id + "-data").textContent;
    const reading = plot.id + "-reading";
    document.getElementById(reading)?.replaceWith(next.getElementById(reading));
    if (data.textContent === fresh) continue;
    data.textContent = fresh;
    if (!plot.classList.contains("drawn")) continue;
    const figure = figureOf(plot);
    Plotly.react(plot, figure.data, layoutOf(plot, figure));
  }
}
