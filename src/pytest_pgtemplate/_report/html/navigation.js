// The part of the run that the timeline shows: zooming, moving, pointing at a span.

function showRange(start, end) {
  const length = Math.min(Math.max(end - start, 0.001), data.seconds);
  const from = Math.min(Math.max(start, 0), data.seconds - length);
  view = { start: from, end: from + length, chosen: view && view.chosen };
  drawTimeline();
}

function zoom(factor, around = (view.start + view.end) / 2) {
  showRange(around - (around - view.start) * factor, around + (view.end - around) * factor);
}

const moveBy = (part) => showRange(view.start + part * (view.end - view.start), view.end + part * (view.end - view.start));
const actions = {
  in: () => zoom(0.5), out: () => zoom(2), all: () => showRange(0, data.seconds), left: () => moveBy(-0.2), right: () => moveBy(0.2),
};
const KEYS = { "+": "in", "=": "in", "-": "out", 0: "all", ArrowLeft: "left", ArrowRight: "right" };

function momentAt(event) {
  const box = canvas.getBoundingClientRect();
  return view.start + ((event.clientX - box.left - LEFT) / (box.width - LEFT)) * (view.end - view.start);
}

function showDetails(event) {
  const moment = momentAt(event);
  const lane = byLane[Math.floor((event.clientY - canvas.getBoundingClientRect().top - TOP) / LANE)];
  const near = (view.end - view.start) / canvas.clientWidth;
  const span = lane && lane.findLast((each) => each.start - near <= moment && moment <= each.start + each.seconds + near);
  if (view.chosen === span) return;
  view.chosen = span;
  get("under").textContent = span ? describe(span) : "";
  drawTimeline();
}

function describe({ test, event, start }) {
  if (event) return `${event.name || event.kind}: ${formatTime(event.seconds)}, at ${formatTime(start)}`;
  const parts = ["setup", "call", "teardown", "reset"].map((phase) => `${phase} ${formatTime(test[phase])}`);
  const wrote = test.tables.length ? `; wrote ${test.tables.join(", ")}` : "";
  return `${test.module}::${test.name}: ${test.outcome}, ${parts.join(", ")}${wrote}`;
}

function listenToTimeline() {
  let dragged = null;
  canvas.addEventListener("pointerdown", (event) => { dragged = momentAt(event); canvas.setPointerCapture(event.pointerId); });
  canvas.addEventListener("pointerup", () => { dragged = null; });
  canvas.addEventListener("pointermove", (event) => {
    if (dragged === null) return showDetails(event);
    const by = dragged - momentAt(event);
    showRange(view.start + by, view.end + by);
  });
  canvas.addEventListener("wheel", (event) => {
    if (!event.ctrlKey && !event.metaKey) return;  // the page scrolls
    event.preventDefault();
    zoom(event.deltaY > 0 ? 1.25 : 0.8, momentAt(event));
  }, { passive: false });
  canvas.addEventListener("keydown", (event) => {
    if (!(event.key in KEYS)) return;
    event.preventDefault();
    actions[KEYS[event.key]]();
  });
  for (const button of document.querySelectorAll("[data-do]"))
    button.addEventListener("click", actions[button.dataset.do]);
  addEventListener("resize", drawTimeline);
}
