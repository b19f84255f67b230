// The table of all tests.

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
  get("tests").tBodies[0].replaceChildren(...found.slice(0, table.shown).map(testRow));
  get("count").textContent = plural(found.length, "test");
  get("rest").hidden = found.length <= table.shown;
  [...get("tests").tHead.rows[0].cells].forEach((cell, number) => {
    if (number === table.by) cell.setAttribute("aria-sort", table.down ? "descending" : "ascending");
    else cell.removeAttribute("aria-sort");
  });
}

function testRow(test) {
  const title = make("td", {}, make("span", {}, ...breakable(`${test.module}::`)), ...breakable(test.name));
  const outcome = make("td", test.outcome === "failed" || test.outcome === "error" || test.outcome === "crashed" ? { class: "bad" } : {}, test.outcome);
  const times = COLUMNS.slice(2, 7).map(([, value]) => make("td", { class: "number" }, value(test) ? formatTime(value(test)) : ""));
  return make("tr", {}, title, outcome, ...times, make("td", {}, test.tables.join(", ")));
}

function createTestTable() {
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
