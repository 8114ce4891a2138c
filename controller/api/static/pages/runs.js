// All runs that were sent here: what each training was made of, and its results; found, sorted and paged by the controller.
import { html, useState, Panel, Table, Pager, Status, Ago, Act, Terminal, count, lasting } from "../ui.js";
import { address, ask, go, useAsked } from "../store.js";
import { Field, Pick, pageOf, question } from "../filters.js";
import { Asked, Nothing } from "./states.js";

const PAGE = 25;
const FILTERS = ["q", "status", "model", "data_set", "name", "sort"];
const STATUSES = ["finished", "running", "failed", "broken"];
const MOST_SHOWN = 4;

export const figure = (v) => (v == null ? "–" : Number.isInteger(v) ? count(v) : String(+v.toPrecision(5)));
const some = (found, write) => Object.entries(found).slice(0, MOST_SHOWN).map(([k, v]) => `${k} ${write(v)}`).join(", ") + (Object.keys(found).length > MOST_SHOWN ? ", …" : "");
const FILE = { head: ["run", "name", "status", "started", "took_s", "parameters", "metrics", "pushed", "data_sets", "sent_by"], key: "runs",
  row: (r) => [r.id, r.name, r.status, r.started_at, r.took_s ?? "", JSON.stringify(r.params), JSON.stringify(r.metrics), r.pushed.map(([m, v]) => `${m} v${v}`).join("; "), r.data_sets.join("; "), r.sent_by] };

const Row = ({ r, chosen, choose }) => html`<tr class="go" aria-selected=${String(chosen)}><td class="box"><input type="checkbox" aria-label=${`Compare ${r.id}`} checked=${chosen} onChange=${choose} /></td>
  <td><a class="strong" href=${address("runs", r.id)}>${r.name}</a><span class="sub mono nowrap">${r.id}</span><span class="sub narrow"><${Ago} at=${r.started_at} /></span></td><td><${Status} word=${r.status} /></td>
  <td class="lo soft small">${some(r.metrics, figure) || "none"}</td><td class="lo soft small">${some(r.params, String) || "none"}</td>
  <td class="lo nowrap">${r.pushed.map(([m, v], i) => html`${i ? ", " : ""}<a href=${`${address("models", m)}?version=${v}`}>${m} v${v}</a>`)}</td>
  <td class="figure lo nowrap">${r.took_s == null ? "–" : lasting(r.took_s)}</td><td class="figure lo soft nowrap"><${Ago} at=${r.started_at} /><span class="sub lo">${r.sent_by.replace(/^local:/, "")}</span></td></tr>`;

/** Orders: the newest first, and best and least by each metric that is on the page. */
function orders(found, now) {
  const names = [...new Set(found.flatMap((r) => Object.keys(r.metrics)))].sort().slice(0, 8);
  const all = names.flatMap((name) => [[`-metric.${name}`, `highest ${name} first`], [`metric.${name}`, `lowest ${name} first`]]);
  return [["started", "oldest first"], ["name", "by name"], ...(now.includes("metric.") && !all.some(([o]) => o === now) ? [[now, now]] : []), ...all];
}

export default function Runs({ query }) {
  const page = pageOf(query), path = `/v1/runs?${question(query, FILTERS, PAGE)}`, asked = useAsked(path, { topics: ["audit"], every_s: 60 }), [chosen, setChosen] = useState([]);
  const { data: models = [] } = useAsked("/v1/models", { topics: ["models"] }), filtered = FILTERS.some((key) => query.get(key));
  const choose = (id) => setChosen(chosen.includes(id) ? chosen.filter((each) => each !== id) : [...chosen, id].slice(-2));
  return html`<${Asked} of=${asked} what="run">${({ total, runs }) => (!total && !filtered
    ? html`<${Nothing} what="No run yet">A run appears here once it has pushed a version: <code>with edgeward.run("weather") as run: client.push(…)</code>. Any other is sent by <code>edgeward run send newest</code>.<//>`
    : html`<div class="head"><div><h1>Runs</h1><p class="meta prose">What each training was made of, and what came of it.</p></div>
      <div class="acts"><${Terminal} text="edgeward run list" /><${Act} icon="forward" off=${chosen.length === 2 ? "" : "Choose two runs by their boxes first."} onClick=${() => go(`${address("runs", chosen[1])}?with=${encodeURIComponent(chosen[0])}`)}>Compare ${chosen.length} of 2<//></div></div>
    <${Panel} label="Runs"><div class="filters"><${Field} name="q" label="Name, parameter, tag, data set, commit or sender" holder="a name, depth=6, a commit, a person" query=${query} wide />
        <${Pick} name="status" query=${query} options=${STATUSES} keep /><${Pick} name="model" query=${query} options=${models.map((m) => m.name)} />
        <${Pick} name="sort" title="Order" label="newest first" query=${query} options=${orders(runs, query.get("sort") || "")} />
        ${["data_set", "name"].filter((key) => query.get(key)).map((key) => html`<button class="chip" aria-pressed="true" onClick=${() => ask({ [key]: "" })}>${key.replace("_", " ")} ${query.get(key)}<span class="hide">, take this filter off</span></button>`)}</div>
      <${Table} label="Runs, table" csv=${{ ...FILE, path }} head=${html`<th class="box"><span class="hide">compare</span></th><th>run</th><th>status</th><th class="lo">metrics</th><th class="lo">parameters</th><th class="lo">pushed</th><th class="figure lo">took</th><th class="figure lo">began</th>`}>
      ${runs.map((r) => html`<${Row} key=${r.id} r=${r} chosen=${chosen.includes(r.id)} choose=${() => choose(r.id)} />`)}
      ${!runs.length && html`<tr><td colspan="8" class="soft">No run fits. <button class="link" onClick=${() => go("/runs")}>Take all filters off</button></td></tr>`}<//>
      ${total > PAGE && html`<${Pager} unit="runs" page=${page} pages=${Math.ceil(total / PAGE)} from=${(page - 1) * PAGE + 1} to=${(page - 1) * PAGE + runs.length} total=${total} go=${(n) => ask({ page: n }, { keepPage: true })} />`}<//>`)}<//>`;
}
