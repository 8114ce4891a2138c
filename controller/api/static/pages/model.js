// One model: its versions.
import { html, Panel, Table, Status, Ago, Terminal } from "../ui.js";
import { address, useAsked } from "../store.js";
import { Asked } from "./states.js";

export default function Model({ name }) {
  const asked = useAsked(`/v1${address("models", name)}/versions`, { topics: ["models", "rollouts"] });
  return html`<${Asked} of=${asked} what=${`model ${name}`}>${(all) => html`<div class="head"><div><p class="crumb"><a href="/models">Models</a></p><h1>${name}</h1></div></div>
    <${Panel} title="Versions" note=${all.length} end=${html`<${Terminal} text=${`edgeward model show ${name}`} />`}>
    <${Table} label="Versions, table" head=${html`<th>version</th><th>status</th><th class="lo">sha256</th><th>pushed</th>`}>
      ${[...all].reverse().map((v) => html`<tr><td class="strong">v${v.release}</td><td><${Status} word=${v.status || "none"} /></td>
        <td class="lo mono small">${v.sha256}</td><td class="soft"><${Ago} at=${v.created_at} /></td></tr>`)}<//><//>`}<//>`;
}
