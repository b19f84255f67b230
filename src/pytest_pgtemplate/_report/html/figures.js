// The figures at the top, and where the time went.

const PART_COLOURS = { tests: "tests", "set-up": "setup", database: "database", starting: "starting", idle: "idle" };

function showFigures() {
  const outcomes = {};
  for (const test of tests) outcomes[test.outcome] = (outcomes[test.outcome] || 0) + 1;
  const facts = data.facts;
  const list = [
    ["Tests", tests.length.toLocaleString("en"),
      Object.entries(outcomes).map(([name, count]) => `${count.toLocaleString("en")} ${name}`).join(", ")],
    ["Time", formatTime(data.seconds), `on ${plural(data.workers.length, "worker")}`],
    ["Template", facts.template || "none", facts.template_name || ""],
    ["Resets", data.resets.times.toLocaleString("en"),
      data.resets.times ? `median ${formatTime(data.resets.median)}, worst ${formatTime(data.resets.worst)}` : ""],
    ["Re-clones", data.changed.length.toLocaleString("en"), "after schema changes, or on request"],
  ];
  for (const [term, value, more] of list)
    get("figures").append(make("div", {}, make("dt", {}, term), make("dd", {}, value, make("small", {}, more))));
  get("when").textContent = [new Date(data.began * 1000).toLocaleString(), facts.server].filter(Boolean).join(" · ");
  get("more").textContent = data.more;
  get("why").textContent = facts.why ? `Reason for building the template: ${facts.why}.` : "";
}

function showTimeSpent() {
  const whole = Object.values(data.spent).reduce((sum, each) => sum + each, 0) || 1;
  const labels = [];
  for (const [name, seconds] of Object.entries(data.spent)) {
    const share = (100 * seconds) / whole;
    get("spent").append(make("i", { style: `width:${share}%;background:var(--${PART_COLOURS[name]})`, title: name }));
    get("legend").append(make("li", {},
      make("i", { style: `background:var(--${PART_COLOURS[name]})` }), `${name} ${formatTime(seconds)}, ${share.toFixed(0)} %`));
    labels.push(`${name} ${share.toFixed(0)} %`);
  }
  get("spent").setAttribute("aria-label", labels.join(", "));
}
