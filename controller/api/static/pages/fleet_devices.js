// The table of devices: the controller filters, sorts and pages; the address keeps every choice.
import { html, useState, Icon, Panel, Pager, Status, Table, Terminal, count, latency, lasting } from "../ui.js";
import { address, ask, go, state, useAsked } from "../store.js";
import { Field, Pick, question } from "../filters.js";

const PAGE = 25;
const FILTERS = ["health", "presence", "model", "version", "label", "code", "selector", "quarantined"];

/** The question for the controller, from the address. */
function asked_of(query) {
  const asked = question(query, ["q", ...FILTERS], PAGE);
  asked.set("sort", query.get("sort") || "health");
  return `/v1/devices?${asked}`;
}

const FILE = { head: ["device", "health", "why", "presence", "labels", "machine", "memory_mb", "models", "seen_s_ago"], key: "devices",
  row: (d) => [d.device, d.health, d.why, d.presence, pairs(d.labels || {}), d.hardware?.machine, d.hardware?.memory_mb, d.models.map((m) => `${m.model} ${m.state?.phase || ""}`.trim()).join("; "), d.seen_s_ago ?? ""] };
const pairs = (found) => Object.entries(found).map(([k, v]) => `${k}=${v}`).join("; ");

const Sortable = ({ by, sort, children, look = "" }) => html`<th class=${look} aria-sort=${sort === by ? "ascending" : undefined}>
  <button class="sort" onClick=${() => ask({ sort: by === "health" ? "" : by })}>${children}${sort === by ? " ↓" : ""}</button></th>`;

/** What a device runs of a model, in a word. */
function Runs({ found }) {
  const s = found?.state;
  if (!s) return html`<span class="faint">–</span>`;
  const serving = [s.trial, s.stable].find((each) => each && each.digest === s.serving), v = serving ? `v${serving.release}` : "nothing";
  if (s.phase === "trial") return html`${v} <span class="busy">on trial</span>`;
  return s.phase === "steady" ? v : html`${v} <span class="busy">→ v${s.target?.release}</span>`;
}

/** The measure of what answers: accuracy or error, and the 95th percentile of its time. */
function best(device) {
  const all = device.models.flatMap((m) => m.measured);
  const last = all.filter((m) => m.inferences > 0).sort((a, b) => b.inferences - a.inferences)[0];
  if (!last) return ["–", "–"];
  const quality = last.accuracy != null ? last.accuracy.toFixed(3) : last.mean_absolute_error != null ? `±${last.mean_absolute_error.toPrecision(3)}` : "–";
  return [quality, last.latency_us_p95 != null ? latency(last.latency_us_p95) : "–"];
}

function Row({ d, models, measured }) {
  const [quality, p95] = best(d), hardware = d.hardware ? `${d.hardware.machine}, ${count(d.hardware.memory_mb)} MB` : "", why = d.health === "well" ? "" : d.why;
  return html`<tr class="go"><td><a class="nowrap" href=${address("devices", d.device)}>${d.device}</a>${why && html`<span class="sub narrow">${why}</span>`}</td>
    <td><${Status} word=${d.health} /></td><td class="lo"><div class="why" title=${why}>${why}</div></td><td class="lo soft nowrap">${hardware}</td>
    ${models.map((m) => html`<td class="lo nowrap"><${Runs} found=${d.models.find((each) => each.model === m)} /></td>`)}
    ${measured && html`<td class="figure lo">${quality}</td><td class="figure lo">${p95}</td>`}<td class="figure soft nowrap">${d.seen_s_ago == null ? "never" : lasting(d.seen_s_ago)}</td></tr>`;
}

export function Devices({ query, fleet }) {
  const path = asked_of(query), asked = useAsked(path, { every_s: 60 }), page = Math.max(1, Number(query.get("page")) || 1), sort = query.get("sort") || "health";
  const [seen, setSeen] = useState(state.fleet?.at || 0), news = state.fleet && state.fleet.at > seen ? state.fleet.changed : 0;
  const models = [...new Set(fleet.serving.map((s) => s.model))].filter((m) => !query.get("model") || m === query.get("model")).slice(0, 3);
  const versions = [...new Set(fleet.serving.filter((s) => s.release && (!query.get("model") || s.model === query.get("model"))).map((s) => s.release))].sort((a, b) => b - a);
  const { total = 0, devices = [] } = asked.data || {}, kept = query.get("quarantined") === "true", chosen = FILTERS.filter((key) => key !== "quarantined" && query.get(key)), off = () => go("/fleet");
  const { data: saved = [] } = useAsked("/v1/selectors", { every_s: 300 });
  const measured = devices.some((d) => best(d)[1] !== "–");
  const again = () => { setSeen(state.fleet?.at || 0); asked.again(); };
  return html`<${Panel} id="devices" title="Devices" note=${asked.data ? (total === fleet.devices ? count(total) : `${count(total)} of ${count(fleet.devices)}`) : ""}
      end=${html`${news > 0 && html`<button class="btn" onClick=${again}>${news === 1 ? "1 changed, show" : `${count(news)} changed, show`}</button>`}<${Terminal} text="edgeward device list" />`}>
    <div class="filters"><${Field} name="q" label="Name, label or code" holder="a name, a label, a code" query=${query} wide /><${Pick} name="health" query=${query} options=${["failing", "attention", "silent", "offline", "updating", "well"]} />
      <${Pick} name="presence" query=${query} options=${["online", "silent", "offline"]} /><${Pick} name="model" query=${query} options=${[...new Set(fleet.serving.map((s) => s.model))]} />
      <${Pick} name="version" query=${query} options=${versions} />
      ${saved.length > 0 && html`<${Pick} name="selector" query=${query} options=${saved.map((each) => each.name)} />`}
      <button class="chip" aria-pressed=${String(kept)} onClick=${() => ask({ quarantined: kept ? "" : "true" })}>quarantined</button>
      ${chosen.map((key) => html`<button class="chip" aria-pressed="true" onClick=${() => ask({ [key]: "" })}>${key} ${query.get(key)}<${Icon} name="close" /><span class="hide">, take this filter off</span></button>`)}</div>
    ${asked.error && html`<p class="in bad" role="alert">${asked.error.message}</p>`}
    <${Table} label="Devices, table" csv=${{ ...FILE, path }} head=${html`<${Sortable} by="device" sort=${sort}>device<//><${Sortable} by="health" sort=${sort}>health<//><th class="lo">why</th><th class="lo">hardware</th>
      ${models.map((m) => html`<th class="lo">${m}</th>`)}${measured && html`<th class="figure lo">right or error</th><th class="figure lo">p95</th>`}<${Sortable} by="seen" sort=${sort} look="figure">seen<//>`}>
      ${devices.map((d) => html`<${Row} d=${d} models=${models} measured=${measured} key=${d.device} />`)}
      ${asked.data && !devices.length && html`<tr><td colspan=${7 + models.length} class="soft">No device fits. <button class="link" onClick=${off}>Take all filters off</button></td></tr>`}<//>
    <${Pager} page=${page} pages=${Math.ceil(total / PAGE)} from=${total ? (page - 1) * PAGE + 1 : 0} to=${Math.min(total, page * PAGE)} total=${total}
      go=${(n) => ask({ page: n }, { keepPage: true })} /><//>`;
}
