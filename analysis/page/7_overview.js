// Several sweeps side by side, looked at again and again.
const live = document.getElementById("live");

async function look() {
  try {
    const next = new DOMParser().parseFromString(await (await fetch("/")).text(), "text/html");
    const [old, fresh] = [document, next].map(page => page.querySelector("#sweeps tbody"));
    if (old.innerHTML !== fresh.innerHTML) old.innerHTML = fresh.innerHTML;
    updateFigures(next);
    live.textContent = "live, as of " + new Date().toLocaleTimeString();
  } catch {
    live.textContent = "the page's server has ended: what is shown stays as it was";
  }
  setTimeout(look, 5000);
}
showTheme();
watchFigures();
setTimeout(look, 5000);
