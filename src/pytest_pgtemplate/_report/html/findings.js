// The tables of findings, such as fixtures worth sharing.

const FEW = 8;

function addFinding(title, note, headings, rows) {
  if (!rows.length) return;
  const cell = (value) => {
    const number = typeof value === "number" || /^[\d.,]+ (s|ms)$/.test(value);
    return value instanceof Node ? value : make("td", number ? { class: "number" } : {}, ...breakable(String(value)));
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

function showFindings() {
  addFinding("Repeated fixture setups",
    "These fixtures were set up for each test. With pg_shared and scope=\"module\", they would run once per module.",
    [["fixture"], ["times", 1], ["took", 1], ["may save", 1]],
    data.sharing.map((each) => [
      make("td", {}, each.fixture, make("small", {}, ...breakable(each.module))), each.times, formatTime(each.seconds), formatTime(each.saves)]));
  const most = Math.max(1, ...data.written.map(([, count]) => count));
  addFinding("Tables written", "", [["table"], ["tests", 1], [""]],
    data.written.map(([table, count]) => [table, count,
      make("td", { class: "share" }, make("i", { style: `width:${(100 * count) / most}%` }))]));
  addFinding("Re-clones", "After these tests, the database was replaced by a new clone.", [["test"], ["reason"]], data.changed);
  addFinding("Leaks", "Tests that left a transaction open, which the reset ended.", [["test"], ["transaction"]], data.leaked);
  addFinding("Shared data", "Fixtures wider than a test that wrote rows.", [["fixture"], ["times", 1], ["took", 1]],
    data.layers.map(([name, count, seconds]) => [name, count, formatTime(seconds)]));
}
