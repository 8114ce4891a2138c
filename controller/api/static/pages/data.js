// All data sets: captured rows with their labels, version by version; found, filtered and paged by the controller.
import { html, Panel, Table, Pager, Ago, Status, Terminal, bytes, count, many } from "../ui.js";
import { address, ask, go, useAsked } from "../store.js";
import { Field, Pick, pageOf, question } from "../filters.js";
import { Asked, Nothing } from "./states.js";

const PAGE = 25;
const FILTERS = ["q", "model"];

/** [kind of word, words]: what is left of a version's rows. */
export const stateOf = (d) => (d.sha256 ? (d.erased_rows ? ["warning", `${many(d.erased_rows, "row")} deleted`] : ["stable", "whole"]) : ["ended", `deleted: ${d.deleted_why}`]);
export const placeOf = (d) => `${address("data", d.name)}?version=${d.version}`;

const Row = ({ d }) => html`<tr class="go"><td><a class="strong nowrap" href=${placeOf(d)}>${d.name}@${d.version}</a><span class="sub mono lo">${d.sha256.slice(0, 12)}</span></td>
  <td><a href=${address("models", d.model)}>${d.model}</a></td><td class="figure">${count(d.rows)}</td><td class="figure lo">${count(d.labelled)}</td>
  <td class="figure lo">${count(d.devices)}</td><td class="figure lo nowrap">${bytes(d.size_bytes)}</td><td><${Status} word=${stateOf(d)[0]}>${stateOf(d)[1]}<//></td>
  <td class="figure soft nowrap"><${Ago} at=${d.created_at} /><span class="sub lo">${d.created_by}</span></td></tr>`;

const FILE = { head: ["version", "model", "rows", "labelled", "devices", "size_bytes", "sha256", "made", "by", "kept_until", "rows_deleted", "deleted_at"], key: "data_sets",
  row: (d) => [`${d.name}@${d.version}`, d.model, d.rows, d.labelled, d.devices, d.size_bytes, d.sha256, d.created_at, d.created_by, d.keep_until ? new Date(1000 * d.keep_until).toISOString() : "", d.erased_rows, d.deleted_at] };

export default function Data({ query }) {
  const page = pageOf(query), path = `/v1/data?${question(query, FILTERS, PAGE)}`, asked = useAsked(path, { every_s: 60 }), { data: models = [] } = useAsked("/v1/models", { topics: ["models"] });
  const filtered = FILTERS.some((key) => query.get(key));
  return html`<${Asked} of=${asked} what="data set">${({ total, data_sets: found }) => (!total && !filtered
    ? html`<${Nothing} what="No data set yet">A data set is made of rows that devices captured, with their labels: <code>edgeward data make NAME --model MODEL</code>.<//>`
    : html`<div class="head"><div><h1>Data sets</h1></div><${Terminal} text="edgeward data list" /></div><${Panel} label="Data sets">
      <div class="filters"><${Field} name="q" label="Name, model, column or maker" holder="a name, a column, a digest" query=${query} wide />
        <${Pick} name="model" query=${query} options=${models.map((m) => m.name)} keep /></div>
      <${Table} label="Data sets, table" csv=${{ ...FILE, path }} head=${html`<th>version</th><th>model</th><th class="figure">rows</th><th class="figure lo">with a label</th><th class="figure lo">devices</th><th class="figure lo">size</th><th>state</th><th class="figure">made</th>`}>
      ${found.map((d) => html`<${Row} key=${`${d.name}@${d.version}`} d=${d} />`)}
      ${!found.length && html`<tr><td colspan="8" class="soft">No data set fits. <button class="link" onClick=${() => go("/data")}>Take all filters off</button></td></tr>`}<//>
      ${total > PAGE && html`<${Pager} unit="data sets" page=${page} pages=${Math.ceil(total / PAGE)} from=${(page - 1) * PAGE + 1} to=${(page - 1) * PAGE + found.length} total=${total} go=${(n) => ask({ page: n }, { keepPage: true })} />`}<//>`)}<//>`;
}
