// All models: which version is where, how good, and whether something is on its way.
import { html, Panel, Table, Status, Spark, Terminal, count, plain } from "../ui.js";
import { address, useAsked } from "../store.js";
import { newest, show } from "../quality.js";
import { BeingConverted } from "../pushing.js";
import { Asked, Nothing } from "./states.js";

const TOPICS = { topics: ["models", "rollouts"] };

function Row({ m, open }) {
  const { data } = useAsked(`/v1${address("models", m.name)}/quality?every=day&days=30`, TOPICS), points = (data?.points || []).filter((p) => p.value != null);
  const now = newest(points), best = now[Math.max(...Object.keys(now).map(Number))], values = points.map((p) => p.value);
  return html`<tr class="go"><td><a class="strong nowrap" href=${address("models", m.name)}>${m.name}</a></td><td class="figure lo">${count(m.versions)}</td>
    <td class="figure">v${m.newest_release}</td><td class="figure">${m.newest_passed ? `v${m.newest_passed}` : "none"}</td>
    <td class="figure lo nowrap">${best ? html`${show(best.metric, best.value)} <span class="faint small">${plain(best.metric)}, v${best.release}</span>` : html`<span class="faint">no labels</span>`}</td>
    <td class="lo soft spark-column">${values.length > 1 && html`<${Spark} values=${values} label=${`${m.name}: ${plain(best.metric)} of ${values.length} days, from ${show(best.metric, values[0])} to ${show(best.metric, values.at(-1))}, lowest ${show(best.metric, Math.min(...values))}`} />`}</td>
    <td class="figure">${count(m.devices)}</td><td>${open ? html`<a class="plain" href=${address("rollouts", open.id)}><${Status} word=${open.status}>v${open.release} ${plain(open.status)}<//></a>` : html`<span class="faint">no rollout under way</span>`}</td></tr>`;
}

export default function Models() {
  const asked = useAsked("/v1/models", TOPICS), { data: page } = useAsked("/v1/rollouts?open=true&limit=100", TOPICS);
  return html`<${Asked} of=${asked} what="model">${(all) => (!all.length
    ? html`<${BeingConverted} /><${Nothing} what="No model yet">A model appears here with its first version: <code>edgeward model push examples/train.py --name iris</code>.<//>`
    : html`<div class="head"><div><h1>Models</h1></div><${Terminal} text="edgeward model list" /></div><div class="stack"><${BeingConverted} /><${Panel} label="Models">
      <${Table} label="Models, table" head=${html`<th>model</th><th class="figure lo">versions</th><th class="figure">newest</th><th class="figure">newest that passed</th><th class="figure lo">quality</th><th class="lo">30 days</th><th class="figure">devices</th><th>rollout</th>`}>
      ${all.map((m) => html`<${Row} key=${m.name} m=${m} open=${page?.rollouts.find((r) => r.model === m.name)} />`)}<//><//></div>`)}<//>`;
}
