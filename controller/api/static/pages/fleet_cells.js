// Every device as a cell, by a label; the legend counts and filters.
import { html, useState, Panel, Glyph, Seg, Table, count } from "../ui.js";
import { address, ask, go, state, useAsked } from "../store.js";
import { Heat, WORDS } from "../heat.js";
import { ranked } from "./fleet.js";

const HEALTH = ["failing", "attention", "silent", "offline", "updating", "well"];

/** Whether a cell fits the filters of the address that a cell can know; null without any. */
function fits(query, cells) {
  const [health, presence, model, version] = ["health", "presence", "model", "version"].map((key) => query.get(key) || "");
  const label = query.getAll("label").find((text) => text.startsWith(`${cells.by}=`))?.slice(cells.by.length + 1);
  const place = model === cells.model && version ? cells.versions.indexOf(Number(version)) : -1;
  const q = (query.get("q") || "").toLowerCase();
  if (![health, presence, label, place >= 0, cells.per_cell === 1 && q].some(Boolean)) return null;
  return (group, i) => (!health || WORDS.health[group.health[i]] === health) && (!presence || WORDS.presence[group.presence[i]] === presence)
    && (!label || group.name === label) && (place < 0 || parseInt(group.version[i], 36) === place) && (!q || !group.names.length || group.names[i].toLowerCase().includes(q));
}

function legend(look, cells, fleet) {
  const live = state.fleet || {};
  if (look === "version") {
    return cells.versions.map((v, i) => [`v${v}`, cells.counts[i], html`<span class=${`swatch p-v${ranked(fleet, cells.model, v)}`} />`, { model: cells.model, version: String(v) }]);
  }
  const words = look === "health" ? HEALTH : ["online", "silent", "offline"], counts = (look === "health" ? live.health : live.presence) || tally(cells, look);
  return words.map((word) => [word, counts[word] || 0, html`<${Glyph} of=${word} />`, { [look]: word }]);
}

function tally(cells, look) {
  const found = {};
  for (const group of cells.groups) for (const letter of group[look]) found[WORDS[look][letter]] = (found[WORDS[look][letter]] || 0) + 1;
  return found;
}

function Twin({ cells }) {
  return html`<${Table} label=${`Devices by ${cells.by}`} head=${html`<th>${cells.by}</th><th class="figure">devices</th><th class="figure">failing, attention or silent</th>`}>
    ${cells.groups.map((g) => html`<tr><td>${cells.by === "stratum" ? g.name : html`<a href=${`/fleet?label=${encodeURIComponent(`${cells.by}=${g.name}`)}`}>${g.name}</a>`}</td>
      <td class="figure">${count(g.devices)}</td><td class="figure">${count(g.ill)}</td></tr>`)}<//>`;
}

export function Every({ fleet, query }) {
  const [look, setLook] = useState("health"), [by, setBy] = useState(""), [model, setModel] = useState(""), [table, setTable] = useState(false);
  const wanted = model || query.get("model") || "";
  const { data: cells } = useAsked(`/v1/fleet/cells?by=${encodeURIComponent(by)}&model=${encodeURIComponent(wanted)}`, { topics: ["fleet"] });
  if (!cells) return html`<${Panel} title="Every device"><div class="in"><span class="wait heat-wait" /></div><//>`;
  const lit = fits(query, cells), on = (filter) => Object.entries(filter).every(([k, v]) => query.get(k) === v);
  const pick = (filter) => ask(on(filter) ? Object.fromEntries(Object.keys(filter).map((k) => [k, ""])) : filter);
  const open = (group, i) => (group.names.length ? go(address("devices", group.names[i])) : ask({ label: `${cells.by}=${group.name}`, health: WORDS.health[group.health[i]] }));
  const tools = html`${look === "version" && cells.models.length > 1 && html`<select aria-label="Model" value=${cells.model} onChange=${(e) => setModel(e.target.value)}>
      ${cells.models.map((m) => html`<option value=${m} selected=${m === cells.model}>${m}</option>`)}</select>`}
    <select class="lo" aria-label="Group by" value=${cells.by} onChange=${(e) => setBy(e.target.value)}>
      ${[...new Set([...cells.labels, "stratum"])].map((each) => html`<option value=${each} selected=${each === cells.by}>by ${each}</option>`)}</select>
    <${Seg} label="Show" value=${look} options=${["health", "version", "presence"]} onPick=${setLook} />`;
  const note = cells.per_cell > 1 ? `a cell is ${cells.per_cell} devices, drawn as the worst of them` : lit ? "those that fit the filter" : "";
  return html`<${Panel} title="Every device" note=${note} end=${tools}><div class="in">
    <div class="legend" role="group" aria-label="Filter">${legend(look, cells, fleet).map(([word, n, swatch, filter]) => html`
      <button class="chip" aria-pressed=${String(on(filter))} onClick=${() => pick(filter)}>${swatch} ${word} <b class="strong">${count(n)}</b></button>`)}</div>
    <${Heat} cells=${cells} look=${look} rank=${(v) => ranked(fleet, cells.model, v)} lit=${lit} onPick=${open} />
    <details class="twin" onToggle=${(e) => setTable(e.target.open)}><summary>As a table, by ${cells.by}</summary>${table && html`<${Twin} cells=${cells} />`}</details></div><//>`;
}
