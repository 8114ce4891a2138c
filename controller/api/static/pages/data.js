// All data sets: captured rows with their labels, version by version, and what was deleted from them.
import { html, Panel, Table, Ago, Status, Terminal, bytes, count } from "../ui.js";
import { address, useAsked } from "../store.js";
import { Asked, Nothing } from "./states.js";

const state = (d) => (d.sha256 ? (d.erased_rows ? ["warning", `${count(d.erased_rows)} rows deleted`] : ["stable", "whole"]) : ["ended", `deleted: ${d.deleted_why}`]);

const Row = ({ d }) => html`<tr><td><b class="strong nowrap">${d.name}@${d.version}</b><span class="sub mono lo">${d.sha256.slice(0, 12)}</span></td>
  <td><a href=${address("models", d.model)}>${d.model}</a></td><td class="figure">${count(d.rows)}</td><td class="figure lo">${count(d.labelled)}</td>
  <td class="figure lo">${count(d.devices)}</td><td class="figure lo nowrap">${bytes(d.size_bytes)}</td><td><${Status} word=${state(d)[0]}>${state(d)[1]}<//></td>
  <td class="figure soft nowrap"><${Ago} at=${d.created_at} /><span class="sub lo">${d.created_by}</span></td></tr>`;

export default function Data() {
  const asked = useAsked("/v1/data", { every_s: 60 });
  return html`<${Asked} of=${asked} what="data set">${(all) => (!all.length
    ? html`<${Nothing} what="No data set yet">A data set is made of rows that devices captured, with their labels: <code>edgeward data make NAME --model MODEL</code>.<//>`
    : html`<div class="head"><div><h1>Data sets</h1></div><${Terminal} text="edgeward data list" /></div><${Panel} label="Data sets">
      <${Table} label="Data sets, table" head=${html`<th>version</th><th>model</th><th class="figure">rows</th><th class="figure lo">with a label</th><th class="figure lo">devices</th><th class="figure lo">size</th><th>state</th><th class="figure">made</th>`}>
      ${[...all].reverse().map((d) => html`<${Row} key=${`${d.name}@${d.version}`} d=${d} />`)}<//><//>`)}<//>`;
}
