// All rollouts, newest first: how each stands or ended, and because of whom.
import { html, Panel, Table, Status, Ago, Parts, Pager, Seg, Terminal, count } from "../ui.js";
import { address, ask, useAsked } from "../store.js";
import { Asked, Nothing } from "./states.js";
import { partsOf } from "../waves.js";

const PAGE = 25;
const total = (counts) => Object.values(counts).reduce((sum, n) => sum + n, 0);

/** Why it stands where it does: its reason, or the first devices that have failed. */
export const why = (r) => r.reason || (r.failed.length
  ? `failed: ${r.failed.map((m) => `${m.device} (${m.code || m.outcome})`).join(", ")}` : "");

const Row = ({ each }) => html`<tr class="go"><td><a class="strong nowrap" href=${address("rollouts", each.id)}>${each.model} v${each.release}</a>
    <span class="sub mono nowrap">${each.id}</span></td>
  <td><${Status} word=${each.status} />${each.open && html`<span class="sub">wave ${each.wave + 1} of ${each.waves}</span>`}</td>
  <td class="lo"><${Parts} parts=${partsOf(each.counts)} /><span class="small soft">${count(each.counts.succeeded || 0)} of ${count(total(each.counts))} have it</span></td>
  <td class="lo soft">${each.strategy}</td><td class="lo"><span class="soft clip" title=${why(each)}>${why(each)}</span></td>
  <td class="lo soft nowrap">${each.created_by}</td><td class="figure soft nowrap"><${Ago} at=${each.created_at} /></td></tr>`;

const FILE = { head: ["rollout", "model", "version", "status", "wave", "waves", "succeeded", "devices", "strategy", "why", "started_by", "begun"], key: "rollouts",
  row: (r) => [r.id, r.model, r.release, r.status, r.wave + 1, r.waves, r.counts.succeeded || 0, total(r.counts), r.strategy, why(r), r.created_by, r.created_at] };

export default function Rollouts({ query }) {
  const page = Math.max(1, Number(query.get("page")) || 1), open = query.get("show") === "open", model = query.get("model") || "";
  const filters = new URLSearchParams({ limit: PAGE, offset: (page - 1) * PAGE, ...(open && { open: "true" }), ...(model && { model }) });
  const path = `/v1/rollouts?${filters}`, asked = useAsked(path, { topics: ["rollouts"] });
  return html`<${Asked} of=${asked} what="rollout">${(found) => {
    if (!found.total && !open && !model) {
      return html`<${Nothing} what="No rollout yet">A rollout appears here as soon as one is planned or started:
        <code>edgeward rollout start MODEL</code>.<//>`;
    }
    const from = (page - 1) * PAGE;
    return html`<div class="head"><div><h1>Rollouts</h1><p class="meta">${model && html`<span>of <b>${model}</b> <a href="/rollouts">show all models</a></span>`}</p></div>
        <${Terminal} text="edgeward rollout list" /></div>
      <${Panel} title=${open ? "Under way" : "All"} note=${count(found.total)} end=${html`<${Seg} label="Which" value=${open ? "open" : "all"} options=${["all", "open"]} onPick=${(o) => ask({ show: o === "open" ? o : "" })} />`}>
      ${found.rollouts.length ? html`<${Table} label="Rollouts, table" csv=${{ ...FILE, path }} head=${html`<th>version</th><th>status</th><th class="lo third-wide">devices that have it</th>
        <th class="lo">strategy</th><th class="lo">why</th><th class="lo">started by</th><th class="figure">begun</th>`}>
        ${found.rollouts.map((each) => html`<${Row} each=${each} key=${each.id} />`)}<//>` : html`<p class="in soft">None is under way.</p>`}
      ${found.total > PAGE && html`<${Pager} unit="rollouts" page=${page} pages=${Math.ceil(found.total / PAGE)} from=${from + 1}
        to=${from + found.rollouts.length} total=${found.total} go=${(n) => ask({ page: n }, { keepPage: true })} />`}<//>`;
  }}<//>`;
}
