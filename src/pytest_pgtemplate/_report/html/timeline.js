// The timeline: a lane for each worker. "view" has the part of the run that it shows, and the chosen span.

let view = null;
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

function drawTimeline() {
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
  const drawing = { pen, width, height, scale, x, colours };
  drawSeconds(drawing);
  byLane.forEach((lane, number) => drawLane(drawing, lane, number));
}

function drawSeconds({ pen, width, height, x, colours }) {
  const step = niceStep((view.end - view.start) / Math.max(2, width / 130));
  for (let moment = Math.ceil(view.start / step) * step; moment <= view.end; moment += step) {
    pen.fillStyle = colours.line;
    pen.fillRect(x(moment), TOP - 4, 1, height);
    pen.fillStyle = colours.soft;
    const label = `${Number(moment.toFixed(4))} s`;
    if (x(moment) + pen.measureText(label).width < width) pen.fillText(label, x(moment), 12);
  }
}

function drawLane(drawing, lane, number) {
  const { pen, width, height, scale, x, colours } = drawing;
  const top = TOP + number * LANE + (LANE - BAR) / 2;
  pen.fillStyle = colours.idle;
  pen.fillRect(LEFT, top, width - LEFT, BAR);
  pen.save();
  pen.beginPath();
  pen.rect(LEFT, 0, width - LEFT, height);
  pen.clip();
  const seen = lane.filter((span) => span.start <= view.end && span.start + span.seconds >= view.start);
  const dense = seen.length > (width - LEFT) / 2;
  if (dense) drawShares(drawing, seen, top);
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
}

// If spans are narrower than a pixel, show how the time of each pixel is divided among the kinds. A later span is
// part of an earlier one, so its time is subtracted there.
function drawShares({ pen, width, scale, colours }, seen, top) {
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
