"use strict";
const data = JSON.parse(document.getElementById("data").textContent);
const get = (id) => document.getElementById(id);
const PARTS = { tests: "tests", "set-up": "setup", database: "database", starting: "starting", idle: "idle" };

function make(tag, attributes = {}, ...children) {
  const element = document.createElement(tag);
  for (const [name, value] of Object.entries(attributes)) element.setAttribute(name, value);
  element.append(...children);
  return element;
}

function time(seconds) {
  if (seconds >= 60) return `${Math.floor(seconds / 60)} min ${Math.round(seconds % 60)} s`;
  if (seconds >= 1) return `${seconds.toFixed(seconds < 10 ? 2 : 1)} s`;
  return `${(seconds * 1000).toFixed(seconds < 0.01 ? 1 : 0)} ms`;
}

// Allow line breaks in a long name after / and ::
const name = (text) => text.split(/(?<=\/|::)/).flatMap((part) => [part, make("wbr")]);

const plural = (count, word) => `${count.toLocaleString("en")} ${word}${count === 1 ? "" : "s"}`;

const tests = data.tests.map(([lane, module, name, start, setup, call, teardown, reset, outcome, tables]) => ({
  lane,
  module: data.modules[module],
  name,
  start: start / data.scale,
  setup: setup / data.scale,
  call: call / data.scale,
  teardown: (teardown - reset) / data.scale,
  reset: reset / data.scale,
  seconds: (setup + call + teardown) / data.scale,
  outcome: data.outcomes[outcome],
  tables: tables.map((each) => data.tables[each]),
}));
const events = data.events.map(([lane, kind, name, start, seconds]) => ({
  lane, kind, name, start: start / data.scale, seconds: seconds / data.scale,
}));

// Light and dark

const theme = get("theme");
function setTheme(dark) {
  document.documentElement.classList.toggle("dark", dark);
  theme.textContent = dark ? "Light" : "Dark";
  theme.setAttribute("aria-pressed", String(dark));
  if (view) draw();
}
const preferred = matchMedia("(prefers-color-scheme: dark)");
let view = null;
setTheme(preferred.matches);
preferred.addEventListener("change", () => setTheme(preferred.matches));
theme.addEventListener("click", () => setTheme(!document.documentElement.classList.contains("dark")));

// Figures

function figures() {
  const outcomes = {};
  for (const test of tests) outcomes[test.outcome] = (outcomes[test.outcome] || 0) + 1;
  const facts = data.facts;
  const list = [
    ["Tests", tests.length.toLocaleString("en"),
      Object.entries(outcomes).map(([name, count]) => `${count.toLocaleString("en")} ${name}`).join(", ")],
    ["Time", time(data.seconds), `on ${plural(data.workers.length, "worker")}`],
    ["Template", facts.template || "none", facts.template_name || ""],
    ["Resets", data.resets.times.toLocaleString("en"),
      data.resets.times ? `median ${time(data.resets.median)}, worst ${time(data.resets.worst)}` : ""],
    ["Re-clones", data.changed.length.toLocaleString("en"), "after schema changes, or on request"],
  ];
  for (const [term, value, more] of list)
    get("figures").append(make("div", {}, make("dt", {}, term), make("dd", {}, value, make("small", {}, more))));
  get("when").textContent = [new Date(data.began * 1000).toLocaleString(), facts.server].filter(Boolean).join(" · ");
  get("more").textContent = data.more;
  get("why").textContent = facts.why ? `Reason for building the template: ${facts.why}.` : "";
}

function spent() {
  const whole = Object.values(data.spent).reduce((sum, each) => sum + each, 0) || 1;
  const labels = [];
  for (const [name, seconds] of Object.entries(data.spent)) {
    const share = (100 * seconds) / whole;
    get("spent").append(make("i", { style: `width:${share}%;background:var(--${PARTS[name]})`, title: name }));
    get("legend").append(make("li", {},
      make("i", { style: `background:var(--${PARTS[name]})` }), `${name} ${time(seconds)}, ${share.toFixed(0)} %`));
    labels.push(`${name} ${share.toFixed(0)} %`);
  }
  get("spent").setAttribute("aria-label", labels.join(", "));
}

// Timeline

const canvas = get("timeline");
const LANE = 34, BAR = 20, TOP = 24, LEFT = 46;
const COLOUR = {
  start: "starting", collect: "starting", server: "database", template: "database", build: "database",
  clone: "database", reset: "database", reclone: "bad", leak: "bad", layer: "setup",
};
const byLane = data.workers.map(() => []);
// In painting order: a span comes after the span that contains it.
for (const event of events)
  byLane[event.lane].push({
    start: event.start, seconds: event.seconds, colour: COLOUR[event.kind], event, late: event.kind !== "template",
  });
for (const test of tests) {
  let start = test.start;
  for (const [phase, colour] of [["setup", "setup"], ["call", "tests"], ["teardown", "setup"], ["reset", "database"]]) {
    if (test[phase] > 0) byLane[test.lane].push({ start, seconds: test[phase], colour, test });
    start += test[phase];
  }
}
for (const lane of byLane)
  lane.sort((a, b) => Boolean(a.event) - Boolean(b.event) || Boolean(a.late) - Boolean(b.late) || a.start - b.start);

function draw() {
  const ratio = devicePixelRatio || 1;
  const width = canvas.clientWidth, height = TOP + LANE * data.workers.length;
  canvas.width = width * ratio;
  canvas.height = height * ratio;
  canvas.style.height = `${height}px`;
  const style = getComputedStyle(document.documentElement);
  const colours = {};
  for (const name of ["tests", "setup", "database", "starting", "idle", "bad", "ink", "soft", "line"])
    colours[name] = style.getPropertyValue(`--${name}`);
  const pen = canvas.getContext("2d");
  pen.scale(ratio, ratio);
  pen.clearRect(0, 0, width, height);
  pen.font = "12px system-ui, sans-serif";
  const scale = (width - LEFT) / (view.end - view.start);
  const x = (moment) => LEFT + (moment - view.start) * scale;

  const step = niceStep((view.end - view.start) / Math.max(2, width / 130));
  for (let moment = Math.ceil(view.start / step) * step; moment <= view.end; moment += step) {
    pen.fillStyle = colours.line;
    pen.fillRect(x(moment), TOP - 4, 1, height);
    pen.fillStyle = colours.soft;
    const label = `${Number(moment.toFixed(4))} s`;
    if (x(moment) + pen.measureText(label).width < width) pen.fillText(label, x(moment), 12);
  }
  byLane.forEach((lane, number) => {
    const top = TOP + number * LANE + (LANE - BAR) / 2;
    pen.fillStyle = colours.idle;
    pen.fillRect(LEFT, top, width - LEFT, BAR);
    pen.save();
    pen.beginPath();
    pen.rect(LEFT, 0, width - LEFT, height);
    pen.clip();
    const seen = lane.filter((span) => span.start <= view.end && span.start + span.seconds >= view.start);
    const dense = seen.length > (width - LEFT) / 2;
    if (dense) drawShares(pen, seen, top, width, scale, colours);
    for (const span of seen) {
      if (dense && span.colour !== "bad" && span !== view.chosen) continue;
      const wide = span.seconds * scale;
      pen.fillStyle = colours[span.colour];
      pen.fillRect(x(span.start), top, Math.max(wide - (wide > 4 ? 0.5 : 0), span.colour === "bad" ? 2 : 0.4), BAR);
      if (span === view.chosen) {
        pen.strokeStyle = colours.ink;
        pen.strokeRect(x(span.start) - 0.5, top - 1.5, wide + 1, BAR + 3);
      }
    }
    pen.restore();
    pen.fillStyle = colours.ink;
    pen.fillText(data.workers[number], 0, top + 14);
  });
}

// If spans are narrower than a pixel, show how the time of each pixel is divided among the kinds. A later span is
// part of an earlier one, so its time is subtracted there.
function drawShares(pen, seen, top, width, scale, colours) {
  const names = ["tests", "setup", "database", "starting"];
  const shares = Array.from({ length: Math.ceil(width - LEFT) }, () => ({}));
  for (const { start, seconds, colour } of seen) {
    const from = Math.max(0, (start - view.start) * scale), to = Math.min(shares.length, from + seconds * scale);
    for (let pixel = Math.floor(from); pixel < to; pixel++) {
      const part = Math.min(to, pixel + 1) - Math.max(from, pixel);
      const share = shares[pixel];
      const whole = Object.values(share).reduce((sum, each) => sum + each, 0);
      const left = whole + part > 1 ? (1 - part) / whole : 1;
      for (const other in share) share[other] *= left;
      share[colour] = (share[colour] || 0) + part;
    }
  }
  shares.forEach((share, pixel) => {
    let bottom = top + BAR;
    for (const name of names) {
      const tall = Math.min(share[name] || 0, (bottom - top) / BAR) * BAR;
      pen.fillStyle = colours[name];
      pen.fillRect(LEFT + pixel, bottom - tall, 1, tall);
      bottom -= tall;
    }
  });
}

function niceStep(least) {
  const power = 10 ** Math.floor(Math.log10(least));
  return power * [1, 2, 5, 10].find((each) => each * power >= least);
}

function show(start, end) {
  const length = Math.min(Math.max(end - start, 0.001), data.seconds);
  const from = Math.min(Math.max(start, 0), data.seconds - length);
  view = { start: from, end: from + length, chosen: view && view.chosen };
  draw();
}

function zoom(factor, around = (view.start + view.end) / 2) {
  show(around - (around - view.start) * factor, around + (view.end - around) * factor);
}

const move = (part) => show(view.start + part * (view.end - view.start), view.end + part * (view.end - view.start));
const actions = {
  in: () => zoom(0.5), out: () => zoom(2), all: () => show(0, data.seconds), left: () => move(-0.2), right: () => move(0.2),
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
  draw();
}

function describe({ test, event, start }) {
  if (event) return `${event.name || event.kind}: ${time(event.seconds)}, at ${time(start)}`;
  const parts = ["setup", "call", "teardown", "reset"].map((phase) => `${phase} ${time(test[phase])}`);
  const wrote = test.tables.length ? `; wrote ${test.tables.join(", ")}` : "";
  return `${test.module}::${test.name}: ${test.outcome}, ${parts.join(", ")}${wrote}`;
}

function listen() {
  let dragged = null;
  canvas.addEventListener("pointerdown", (event) => { dragged = momentAt(event); canvas.setPointerCapture(event.pointerId); });
  canvas.addEventListener("pointerup", () => { dragged = null; });
  canvas.addEventListener("pointermove", (event) => {
    if (dragged === null) return showDetails(event);
    const by = dragged - momentAt(event);
    show(view.start + by, view.end + by);
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
  addEventListener("resize", draw);
}

// Findings

const FEW = 8;

function finding(title, note, headings, rows) {
  if (!rows.length) return;
  const cell = (value) => {
    const number = typeof value === "number" || /^[\d.,]+ (s|ms)$/.test(value);
    return value instanceof Node ? value : make("td", number ? { class: "number" } : {}, ...name(String(value)));
  };
  const rowOf = (row) => make("tr", {}, ...row.map(cell));
  const head = make("tr", {}, ...headings.map(([text, number]) => make("th", number ? { class: "number" } : {}, text)));
  const body = make("tbody", {}, ...rows.slice(0, FEW).map(rowOf));
  const section = make("section", {},
    make("h2", {}, title), ...(note ? [make("p", { class: "note" }, note)] : []),
    make("div", { class: "wide" }, make("table", {}, make("thead", {}, head), body)));
  if (rows.length > FEW) {
    const more = make("button", { type: "button", class: "rest" }, `Show ${(rows.length - FEW).toLocaleString("en")} more`);
    more.addEventListener("click", () => { body.append(...rows.slice(FEW).map(rowOf)); more.remove(); });
    section.append(more);
  }
  get("findings").append(section);
}

function findings() {
  finding("Repeated fixture setups",
    "These fixtures were set up for each test. With pg_shared and scope=\"module\", they would run once per module.",
    [["fixture"], ["times", 1], ["took", 1], ["may save", 1]],
    data.sharing.map((each) => [
      make("td", {}, each.fixture, make("small", {}, ...name(each.module))), each.times, time(each.seconds), time(each.saves)]));
  const most = Math.max(1, ...data.written.map(([, count]) => count));
  finding("Tables written", "", [["table"], ["tests", 1], [""]],
    data.written.map(([table, count]) => [table, count,
      make("td", { class: "share" }, make("i", { style: `width:${(100 * count) / most}%` }))]));
  finding("Re-clones", "After these tests, the database was replaced by a new clone.", [["test"], ["reason"]], data.changed);
  finding("Leaks", "Tests that left a transaction open, which the reset ended.", [["test"], ["transaction"]], data.leaked);
  finding("Shared data", "Fixtures wider than a test that wrote rows.", [["fixture"], ["times", 1], ["took", 1]],
    data.layers.map(([name, count, seconds]) => [name, count, time(seconds)]));
}

// Tests

const COLUMNS = [
  ["test", (test) => `${test.module}::${test.name}`], ["outcome", (test) => test.outcome],
  ["setup", (test) => test.setup], ["call", (test) => test.call], ["teardown", (test) => test.teardown],
  ["reset", (test) => test.reset], ["total", (test) => test.seconds], ["tables", (test) => test.tables.join(", ")],
];
const PAGE = 50;
const table = { by: 6, down: true, shown: PAGE };

function listTests() {
  const wanted = get("find").value.toLowerCase();
  const [, value] = COLUMNS[table.by];
  const found = tests.filter((test) =>
    `${test.module}::${test.name} ${test.outcome} ${test.tables.join(" ")}`.toLowerCase().includes(wanted));
  found.sort((a, b) => (value(a) < value(b) ? -1 : value(a) > value(b) ? 1 : 0) * (table.down ? -1 : 1));
  get("tests").tBodies[0].replaceChildren(...found.slice(0, table.shown).map(row));
  get("count").textContent = plural(found.length, "test");
  get("rest").hidden = found.length <= table.shown;
  [...get("tests").tHead.rows[0].cells].forEach((cell, number) => {
    if (number === table.by) cell.setAttribute("aria-sort", table.down ? "descending" : "ascending");
    else cell.removeAttribute("aria-sort");
  });
}

function row(test) {
  const title = make("td", {}, make("span", {}, ...name(`${test.module}::`)), ...name(test.name));
  const outcome = make("td", test.outcome === "failed" || test.outcome === "error" || test.outcome === "crashed" ? { class: "bad" } : {}, test.outcome);
  const times = COLUMNS.slice(2, 7).map(([, value]) => make("td", { class: "number" }, value(test) ? time(value(test)) : ""));
  return make("tr", {}, title, outcome, ...times, make("td", {}, test.tables.join(", ")));
}

function testTable() {
  COLUMNS.forEach(([title, value], number) => {
    const button = make("button", { type: "button" }, title);
    button.addEventListener("click", () => {
      table.down = table.by === number ? !table.down : number > 1;
      table.by = number;
      listTests();
    });
    const numeric = number > 1 && number < 7;
    get("tests").tHead.rows[0].append(make("th", { scope: "col", ...(numeric ? { class: "number" } : {}) }, button));
  });
  get("find").addEventListener("input", () => { table.shown = PAGE; listTests(); });
  get("rest").addEventListener("click", () => { table.shown += 10 * PAGE; listTests(); });
  listTests();
}

figures();
spent();
show(0, data.seconds);
listen();
findings();
testTable();
document.documentElement.dataset.ready = String(tests.length);
