// SPDX-License-Identifier: Apache-2.0
// Tables of what the API lists. Whatever comes from there is set as text, never
// parsed as HTML; the page's policy forbids that as well.
"use strict";

const PAGE_ITEMS = 50;

const time = (seconds) =>
  seconds === null ? "" : new Date(seconds * 1000).toISOString().slice(0, 19).replace("T", " ") + "Z";

const VIEWS = {
  models: {
    empty: "No model was added yet: undercroft provider model add",
    columns: [
      ["name", (row) => row.name],
      ["model", (row) => row.model_id, "id"],
      ["current licenses", (row) => row.current_licenses.toLocaleString("en"), "number"],
      ["added", (row) => time(row.added_at), "time"],
    ],
  },
  devices: {
    empty: "No device is enrolled yet: undercroft enroll --provider",
    columns: [
      ["label", (row) => row.label],
      ["device", (row) => row.device_id, "id"],
      ["state", (row) => (row.blocked_at === null ? "enrolled" : "blocked"), "state"],
      ["endorsed", (row) => (row.endorsed ? "yes" : "no")],
      ["build", (row) => row.evidence.build],
      ["hardware key", (row) => row.evidence.hardware_key],
      ["enrolled", (row) => time(row.enrolled_at), "time"],
    ],
  },
  licenses: {
    empty: "No license was issued yet.",
    columns: [
      ["license", (row) => row.license_id, "id"],
      ["model", (row) => names.get(row.model_id) ?? row.model_id, "id"],
      ["device", (row) => row.device_id, "id"],
      ["state", (row) => row.state, "state"],
      ["issued", (row) => time(row.issued_at), "time"],
      ["expires", (row) => time(row.terms.expires ?? null), "time"],
      ["conditions", (row) => conditions(row.terms)],
    ],
  },
  revocations: {
    empty: "Nothing was revoked.",
    columns: [
      ["version", (row) => String(row.version), "number"],
      ["model", (row) => names.get(row.model_id) ?? row.model_id, "id"],
      ["device", (row) => row.device_id ?? "all", "id"],
      ["licenses issued before", (row) => time(row.issued_before), "time"],
      ["reason", (row) => row.reason],
    ],
  },
};

const names = new Map(); // of models
let apiKey = "";
let turn = 0; // answers to an earlier click come too late

function conditions(terms) {
  return Object.entries(terms)
    .filter(([name]) => name !== "expires")
    .map(([name, value]) =>
      name === "rate" ? `${value[0]} in ${value[1]} s` : `${name.replaceAll("_", " ")} ${value}`)
    .join(", ");
}

function say(text, isError) {
  const message = document.getElementById("message");
  message.textContent = text;
  message.className = isError ? "error" : "";
}

function element(name, text, className) {
  const made = document.createElement(name);
  made.textContent = text;
  if (className) made.className = className;
  return made;
}

async function ask(path) {
  const answer = await fetch(path, {
    headers: { Authorization: `Bearer ${apiKey}` },
    cache: "no-store",
    redirect: "error",
  });
  const value = await answer.json();
  if (!answer.ok) {
    const wait = answer.headers.get("Retry-After");
    throw new Error(`${value.title}. ${value.hint}${wait ? ` (${wait} s)` : ""}`);
  }
  return value;
}

function addRows(body, view, items) {
  for (const item of items) {
    const row = body.insertRow();
    for (const [, read, kind] of view.columns) {
      const text = read(item) ?? "";
      const cell = element("td", text, kind);
      if (kind === "id") cell.title = text;
      if (kind === "state") cell.dataset.state = text;
      row.append(cell);
    }
  }
}

async function show(name) {
  const mine = ++turn;
  const view = VIEWS[name];
  for (const other of Object.keys(VIEWS)) {
    document.getElementById(other).hidden = other !== name;
    document.getElementById(`tab-${other}`)
      .setAttribute("aria-selected", String(other === name));
  }
  const section = document.getElementById(name);
  const table = document.createElement("table");
  const head = table.createTHead().insertRow();
  for (const [title] of view.columns) {
    const cell = element("th", title);
    cell.scope = "col";
    head.append(cell);
  }
  const body = table.createTBody();
  const more = element("button", "More", "more");
  let next = null;
  const load = async () => {
    more.disabled = true;
    try {
      const place = next === null ? "" : `&after=${encodeURIComponent(next)}`;
      const path = name === "models" ? "v1/models" : `v1/${name}?limit=${PAGE_ITEMS}${place}`;
      const page = await ask(path);
      if (mine !== turn) return;
      if (name === "models") page.items.forEach((row) => names.set(row.model_id, row.name));
      addRows(body, view, page.items);
      next = page.next;
      more.hidden = next === null;
      say(body.rows.length ? `${body.rows.length} shown` : view.empty, false);
    } catch (error) {
      if (mine === turn) say(error.message, true);
    } finally {
      more.disabled = false;
    }
  };
  more.hidden = true;
  more.addEventListener("click", load);
  section.replaceChildren(table, more);
  await load();
}

document.getElementById("login").addEventListener("submit", async (event) => {
  event.preventDefault();
  const field = document.getElementById("key");
  apiKey = field.value.trim();
  field.value = "";
  try {
    const page = await ask("v1/models");
    page.items.forEach((row) => names.set(row.model_id, row.name));
  } catch (error) {
    document.getElementById("tabs").hidden = true;
    for (const name of Object.keys(VIEWS)) document.getElementById(name).replaceChildren();
    say(error.message, true);
    return;
  }
  document.getElementById("tabs").hidden = false;
  await show("models");
});

for (const name of Object.keys(VIEWS)) {
  document.getElementById(`tab-${name}`).addEventListener("click", () => show(name));
}
