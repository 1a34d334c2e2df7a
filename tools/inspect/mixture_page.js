"use strict";
// Fills the tables from the page's data: one way of grouping at a time, sorted and filtered.
const { columns, ways } = JSON.parse(document.getElementById("data").textContent);
const headings = Object.keys(columns);
const table = document.querySelector(".figures");
const search = document.querySelector("input");
const more = document.querySelector(".more");
const FIRST_COLUMN = 2; // of a row: after its name and what else it is found by
const FEW = 100;
const state = { way: "collection", column: FIRST_COLUMN, descending: true, all: false };

const formats = {
  percent: (value) => `${Number((100 * value).toPrecision(3))} %`,
  count: (value) => Math.round(value).toLocaleString("en-US"),
  number: (value) => value.toLocaleString("en-US", { maximumSignificantDigits: 3 }),
};

function cell(text, note) {
  const element = document.createElement("td");
  element.textContent = text;
  if (note) element.append(Object.assign(document.createElement("small"), { textContent: note }));
  return element;
}

function compare(a, b) {
  const [x, y] = [a[state.column], b[state.column]];
  if (x === null || y === null) return (x === null) - (y === null); // what is not known comes last
  const order = typeof x === "string" ? x.localeCompare(y) : x - y;
  return state.descending ? -order : order;
}

function heading(text, column) {
  const element = document.createElement("th");
  element.scope = "col";
  if (column === state.column) element.ariaSort = state.descending ? "descending" : "ascending";
  const button = Object.assign(document.createElement("button"), { type: "button", textContent: text });
  button.addEventListener("click", () => {
    state.descending = column === state.column ? !state.descending : column > 0;
    state.column = column;
    show();
  });
  element.append(button);
  return element;
}

function show() {
  const rows = ways[state.way];
  const words = search.value.toLowerCase().split(/\s+/);
  const found = rows.filter((row) => {
    const text = `${row[0]} ${row[1]}`.toLowerCase();
    return words.every((word) => text.includes(word));
  });
  found.sort(compare);
  const shown = state.all ? found : found.slice(0, FEW);
  const used = headings.filter((_, i) => rows.some((row) => row[FIRST_COLUMN + i] !== null));
  const head = document.createElement("tr");
  head.append(heading(state.way, 0));
  for (const each of used) head.append(heading(each, FIRST_COLUMN + headings.indexOf(each)));
  table.tHead.replaceChildren(head);
  table.tBodies[0].replaceChildren(...shown.map((row) => {
    const line = document.createElement("tr");
    line.append(cell(row[0], row[1]));
    for (const each of used) {
      const value = row[FIRST_COLUMN + headings.indexOf(each)];
      line.append(cell(value === null ? "" : formats[columns[each]](value)));
    }
    return line;
  }));
  for (const button of document.querySelectorAll("[data-way]")) {
    button.ariaPressed = String(button.dataset.way === state.way);
  }
  const rate = found.reduce((sum, row) => sum + row[FIRST_COLUMN], 0);
  more.firstElementChild.textContent =
    `${shown.length.toLocaleString("en-US")} of ${found.length.toLocaleString("en-US")} rows` +
    (state.way === "language" ? " (a task counts under each of its languages)" : `, ${rate.toLocaleString("en-US", { style: "percent", maximumFractionDigits: 2 })} of the mixture`);
  more.lastElementChild.hidden = shown.length === found.length;
}

function choose(way, text) {
  Object.assign(state, { way, all: false });
  search.value = text;
  show();
}

for (const button of document.querySelectorAll("[data-way]")) {
  button.addEventListener("click", () => choose(button.dataset.way, ""));
}
search.addEventListener("input", show);
more.lastElementChild.addEventListener("click", () => { state.all = true; show(); });
for (const map of document.querySelectorAll(".map")) {
  map.addEventListener("click", (event) => {
    if (!event.target.dataset.name) return;
    choose("task", event.target.dataset.name);
    document.getElementById("tables").scrollIntoView();
  });
}
show();
