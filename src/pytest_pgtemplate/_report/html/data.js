"use strict";
// The data of the run, and what all parts of the page use. page.py joins the files, in its order.

const data = JSON.parse(document.getElementById("data").textContent);
const get = (id) => document.getElementById(id);

function make(tag, attributes = {}, ...children) {
  const element = document.createElement(tag);
  for (const [name, value] of Object.entries(attributes)) element.setAttribute(name, value);
  element.append(...children);
  return element;
}

function formatTime(seconds) {
  if (seconds >= 60) return `${Math.floor(seconds / 60)} min ${Math.round(seconds % 60)} s`;
  if (seconds >= 1) return `${seconds.toFixed(seconds < 10 ? 2 : 1)} s`;
  return `${(seconds * 1000).toFixed(seconds < 0.01 ? 1 : 0)} ms`;
}

// Allow line breaks in a long name after / and ::
const breakable = (text) => text.split(/(?<=\/|::)/).flatMap((part) => [part, make("wbr")]);

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
