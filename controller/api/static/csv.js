// A table as a CSV file: what is drawn here, or, of a list with more pages, all of it as the controller has it.
// Decides what a cell says in a file. Refuses to know what a table is about.
import { html, useState } from "./vendor/preact-htm.js";
import { Icon } from "./marks.js";
import { api, said } from "./store.js";
import { count } from "./words.js";

/** Rows of one question: the most that the controller answers. */
const AT_ONCE = 1000;
/** Rows of one file: more is a matter for the command line, which writes them piece by piece. */
const MOST = 200_000;
/** A spreadsheet would run a text that begins so as a formula; a number is none. */
const FORMULA = /^[=+\-@\t\r]/;

function cell(value) {
  const text = String(value ?? ""), safe = FORMULA.test(text) && !Number.isFinite(Number(text)) ? `'${text}` : text;
  return /[",\n\r]/.test(safe) ? `"${safe.replaceAll('"', '""')}"` : safe;
}

export const written = (rows) => rows.map((row) => `${row.map(cell).join(",")}\r\n`).join("");

/** Gives the reader a file. */
export function save(text, name, type = "text/csv") {
  const link = Object.assign(document.createElement("a"), { href: URL.createObjectURL(new Blob([text], { type })), download: name });
  link.click();
  URL.revokeObjectURL(link.href);
}

/** What a part of a cell says: times exactly, pictures by their label, nothing of what only eyes or ears need. */
function words(node) {
  if (node.nodeType === Node.TEXT_NODE) return node.data;
  if (node.nodeType !== Node.ELEMENT_NODE || node.matches("svg, .hide, [aria-hidden=true], .narrow, .tip")) return node.getAttribute?.("role") === "img" ? node.getAttribute("aria-label") || "" : "";
  if (node.matches("time")) return node.dateTime;
  if (node.matches("[role=img]")) return node.getAttribute("aria-label") || "";
  const inside = [...node.childNodes].map(words).join("");
  return node.matches(".sub, li, p") ? ` ${inside}` : inside;
}

const line = (row) => [...row.cells].map((each) => words(each).replace(/\s+/g, " ").replace(/ [↓↑]$/, "").trim());
const drawn = (table) => [...table.rows].filter((row) => !row.querySelector("td[colspan]")).map(line);

/** Every row of a list, page by page. `path` has the filters; `key` names the rows in an answer. */
async function every({ path, key, row }, tell) {
  const [where, asked] = path.split("?"), query = new URLSearchParams(asked), rows = [];
  for (let total = 1; rows.length < Math.min(total, MOST);) {
    query.set("limit", AT_ONCE);
    query.set("offset", rows.length);
    const found = await api(`${where}?${query}`);
    if (!found[key].length) break;
    total = found.total;
    rows.push(...found[key].map(row));
    tell(`${count(rows.length)} of ${count(total)}`);
  }
  return rows;
}

/**
 * A button that saves a table. `of`: {path, key, row, head} of a list that has more pages, or {rows: async () => [...], head};
 * without it the table beside the button is saved as it is drawn.
 */
export function Csv({ label, of }) {
  const [busy, setBusy] = useState(""), name = `${label.toLowerCase().replace(/,? (as a )?table$/, "").replace(/[^a-z0-9]+/g, "-")}.csv`;
  const make = async (event) => {
    const table = event.currentTarget.closest(".table-end")?.previousElementSibling?.querySelector("table");
    try {
      setBusy("asking");
      save(written(of ? [of.head, ...(of.rows ? await of.rows() : await every(of, setBusy))] : drawn(table)), name);
    } catch (error) { said("bad", error.message); }
    setBusy("");
  };
  return html`<button class="copy csv" onClick=${busy ? undefined : make} aria-disabled=${busy ? "true" : undefined} title=${of ? "All that fits the filters, as a file" : "This table, as a file"}>
    <${Icon} name="down" />CSV<span class="hide"> of ${label.replace(/,? (as a )?table$/, "")}</span>${busy && html` <span class="faint">${busy}</span>`}</button>`;
}
