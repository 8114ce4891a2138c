// All models.
import { html, Panel, Table, Terminal, count } from "../ui.js";
import { address, useAsked } from "../store.js";
import { Asked, Nothing } from "./states.js";

export default function Models() {
  const asked = useAsked("/v1/models", { topics: ["models", "rollouts"] });
  return html`<${Asked} of=${asked} what="model">${(all) => (!all.length
    ? html`<${Nothing} what="No model yet">A model appears here with its first version.<//>`
    : html`<div class="head"><div><h1>Models</h1></div></div><${Panel} title="All" note=${all.length} end=${html`<${Terminal} text="edgeward model list" />`}>
      <${Table} label="Models, table" head=${html`<th>model</th><th class="figure">versions</th><th>newest</th><th>newest that passed</th><th class="figure">devices</th>`}>
      ${all.map((m) => html`<tr class="go"><td><a class="strong" href=${address("models", m.name)}>${m.name}</a></td><td class="figure">${count(m.versions)}</td>
        <td>v${m.newest_release}</td><td>${m.newest_passed ? `v${m.newest_passed}` : "none"}</td><td class="figure">${count(m.devices)}</td></tr>`)}<//><//>`)}<//>`;
}
