// All rollouts, newest first.
import { html, Panel, Table, Status, Ago, Terminal } from "../ui.js";
import { address, useAsked } from "../store.js";
import { Asked, Nothing } from "./states.js";

const Row = ({ each }) => html`<tr class="go"><td><a class="mono small nowrap" href=${address("rollouts", each.id)}>${each.id}</a></td>
  <td class="nowrap">${each.model} v${each.release}</td><td><${Status} word=${each.status} /></td>
  <td class="lo soft">${each.strategy}</td><td class="lo soft">${each.reason}</td><td class="soft nowrap"><${Ago} at=${each.created_at} /></td></tr>`;

export default function Rollouts() {
  const asked = useAsked("/v1/rollouts", { topics: ["rollouts"] });
  return html`<${Asked} of=${asked} what="rollout">${(found) => {
    const all = [...(found.items || found)].sort((a, b) => (a.id < b.id ? 1 : -1));
    if (!all.length) return html`<${Nothing} what="No rollout yet">A rollout appears here as soon as one is planned or started.<//>`;
    return html`<div class="head"><div><h1>Rollouts</h1></div></div><${Panel} title="All" note=${all.length} end=${html`<${Terminal} text="edgeward rollout list" />`}>
      <${Table} label="Rollouts, table" head=${html`<th>rollout</th><th>version</th><th>status</th><th class="lo">strategy</th><th class="lo">why</th><th>begun</th>`}>
        ${all.map((each) => html`<${Row} each=${each} key=${each.id} />`)}<//><//>`;
  }}<//>`;
}
