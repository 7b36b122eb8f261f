// A served page asks its server whether the sweep has gone on, and takes over what has changed:
// sorting, filter, opened parts and the place on the page stay.
const LOOK_MS = 2000;
const live = document.getElementById("live");
let version = live.dataset.version;

async function look() {
  try {
    const now = (await (await fetch("version")).text()).trim();
    if (now !== version) {
      const text = await (await fetch("part")).text();
      takeOver(new DOMParser().parseFromString(text, "text/html"));
      version = now;
    }
    live.textContent = "live, as of " + new Date().toLocaleTimeString();
  } catch (error) {
    if (!(error instanceof TypeError)) throw error;  // what fetch raises where nobody answers
    live.textContent = "the page's server has ended: what is shown stays as it was";
  }
  setTimeout(look, LOOK_MS);
}

function takeOver(next) {
  const sorted = sortedHeader();
  const order = sorted && [sorted.dataset.name, sorted.getAttribute("aria-sort")];
  for (const id of ["banner", "answer", "legend", "failures", "record-body", "commands"]) {
    replace(id, next);
  }
  for (const id of ["dialogues-body", "configurations"]) replace(id, next, true);
  const fresh = next.getElementById("board");
  board.tHead.replaceChildren(...fresh.tHead.childNodes);
  board.tBodies[0].replaceChildren(...fresh.tBodies[0].childNodes);
  document.getElementById("trials").innerHTML = next.getElementById("trials").innerHTML;
  updateFigures(next);
  const header = order && [...board.tHead.rows[0].cells].find(c => c.dataset.name === order[0]);
  if (header) sortBy(header, order[1]);
  applyFilter();
  if (trialWindow.open) showTrial(trialWindow.dataset.trial);
}

function replace(id, next, keepsOpen = false) {
  const [old, fresh] = [document.getElementById(id), next.getElementById(id)];
  if (old.innerHTML === fresh.innerHTML) return;
  const opened = [...old.querySelectorAll("details[open] > summary")].map(s => s.textContent);
  old.innerHTML = fresh.innerHTML;
  if (!keepsOpen) return;
  for (const summary of old.querySelectorAll("details > summary")) {
    if (opened.includes(summary.textContent)) summary.parentElement.open = true;
  }
}

// What only a server can bring: the trial's dialogues.
addEventListener("trialshown", async event => {
  const id = event.detail;
  const answer = await fetch("trials/" + encodeURIComponent(id));
  if (!answer.ok || trialWindow.dataset.trial !== id) return;
  const dialogues = document.createElement("section");
  dialogues.innerHTML = "<h3>Dialogues</h3>" + await answer.text();
  trialWindow.querySelector(".body").append(dialogues);
});

setTimeout(look, LOOK_MS);
