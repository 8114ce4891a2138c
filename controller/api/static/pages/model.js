// Is this model good, how do we know, and where does it come from?
import { html, Panel, Table, Status, Pill, Lone, Interval, Terminal, Ago, Copy, Seg, bytes, count, day, plain, seconds, stamp } from "../ui.js";
import { Plot } from "../plot.js";
import { address, ask, useAsked } from "../store.js";
import { Discussion } from "../discussion.js";
import { Lineage } from "../lineage.js";
import { BeingConverted } from "../pushing.js";
import { newest, perVersion, show, stateOf } from "../quality.js";
import { Watch } from "../watch.js";
import { Asked } from "./states.js";

const TOPICS = { topics: ["models", "rollouts"] };
const SPANS = { "24 h": ["hour", 1], "7 d": ["hour", 7], "30 d": ["day", 30], "1 y": ["day", 365] };
const COLOURS = [["--accent", ""], ["--ink", ""], ["--ink3", "dash"], ["--warn", "dot"]];

function Versions({ model, all, chosen, now, rollouts }) {
  const known = Object.values(now).filter((p) => p.value != null), low = Math.min(...known.map((p) => p.low)), high = Math.max(...known.map((p) => p.high)), pad = (high - low || Math.abs(high) || 1) * 0.06;
  const metric = known[0]?.metric || "accuracy", top = metric === "accuracy" ? Math.min(1, high + pad) : high + pad, bottom = Math.max(0, low - pad), scale = known.length ? `${show(metric, bottom)} to ${show(metric, top)}` : "interval";
  return html`<${Panel} title="Versions" note=${known.length ? `${plain(metric)} where devices have labels, with its interval` : "no device has had labels in this time"} end=${html`<${Terminal} text=${`edgeward model show ${model}`} />`}>
    <${Table} label="Versions, table" head=${html`<th>version</th><th>state</th><th class="figure">${plain(metric)}</th><th class="lo iv-column">${scale}</th><th class="figure lo">labels</th>
      <th class="figure">devices</th><th class="figure lo">size</th><th class="lo">made by</th>`}>
    ${all.map((v) => { const p = now[v.release], failed = v.gates.find((g) => !g.passed && !g.waiver); return html`<tr class="go" key=${v.release} aria-selected=${String(v.release === chosen)}>
      <td><a class="strong" href=${`${address("models", model)}?version=${v.release}`}>v${v.release}</a> <span class="faint small">${v.aliases.join(", ")}</span><span class="sub mono lo">${v.digest.slice(0, 12)}</span></td>
      <td><${Status} word=${stateOf(v, rollouts).kind}>${stateOf(v, rollouts).word}<//></td><td class="figure">${p?.value != null ? show(p.metric, p.value) : "–"}</td>
      <td class="lo">${p?.value != null ? html`<${Interval} lo=${p.low} value=${p.value} hi=${p.high} low=${bottom} high=${top} verdict=${v.release === chosen ? "pending" : "waiting"} />`
        : failed ? html`<span class="small bad">${failed.gate}: ${failed.detail}</span>` : ""}</td>
      <td class="figure lo">${p ? count(p.labels) : "–"}</td><td class="figure"><a href=${`/fleet?model=${encodeURIComponent(model)}&version=${v.release}`}>${v.devices.length >= 50 ? "50 or more" : count(v.devices.length)}</a></td>
      <td class="figure lo nowrap">${bytes(v.size_bytes)}</td><td class="lo soft">${v.estimator}<span class="sub">${day(seconds(v.created_at))}, ${v.created_by}</span></td></tr>`; })}<//><//>`;
}

function Quality({ points, share, span, marks }) {
  const { t, versions, labels, metric } = perVersion(points), hours = points[0]?.span_s === 3600;
  return html`<${Panel} title="Quality over time" note="by version; intervals with the device as the unit" end=${html`<${Seg} label="Time" value=${span} options=${Object.keys(SPANS)} onPick=${(s) => ask({ span: s })} />`}>
    <div class="in stack tight">${versions.length ? html`<${Plot} label=${`${plain(metric)} by version`} t=${t} height=${210} sync="quality" days=${!hours} format=${(v) => show(metric, v)} marks=${marks}
        series=${versions.slice(0, 4).map((v, i) => ({ label: `v${v.release}`, values: v.values, band: [v.low, v.high], colour: COLOURS[i][0], dash: COLOURS[i][1], points: t.length < 3 }))} />
      <${Plot} label=${`Labels in each ${hours ? "hour" : "day"}`} t=${t} height=${72} sync="quality" days=${!hours} format=${(v) => count(Math.round(v))} ticks=${(v) => (v >= 1000 ? `${v / 1000} k` : String(v))}
        series=${[{ label: `labels in each ${hours ? "hour" : "day"}`, values: labels, colour: "--ink3", bars: true, fill: true, thin: true }]} />`
      : html`<p class="soft">Nobody has told any device the truth in this time, so there is nothing to compare answers with. Rows bring labels with <code>edgeward label give</code>, or at the device itself.</p>`}
    ${share < 1 && html`<p class="small soft">Estimated from ${Math.round(share * 100)} % of the devices, chosen by their hash.</p>`}</div><//>`;
}

const Gates = ({ v }) => html`<${Panel} title="Gates" note=${`of v${v.release}, before it could be rolled out`} foot=${v.evidence.parity?.worst?.length ? html`<${Worst} rows=${v.evidence.parity.worst} />` : ""}><div class="in"><ul class="stack tight">
  ${v.gates.map((g) => html`<li class="gate"><${Lone} of=${g.passed ? "good" : g.waiver ? "warn" : "bad"} /><span><b class="strong">${plain(g.gate)}</b> <span class=${g.passed ? "good" : g.waiver ? "warn" : "bad"}>${g.passed ? "passed" : g.waiver ? `waived by ${g.waiver.by}` : "failed"}</span>
    <span class="sub small soft">${g.detail}${g.power ? `; ${g.power}` : ""}</span></span></li>`)}</ul></div><//>`;

const cells = (row) => Object.entries(row).map(([k, v]) => `${k} ${v}`).join(", ");
const Worst = ({ rows }) => html`<details><summary>Worst ${rows.length === 1 ? "row" : `${rows.length} rows`}: ${rows[0].row}</summary><${Table} label="Rows that differ most, table" head=${html`<th>row</th><th>inputs</th><th>expected</th><th>answered</th>`}>
  ${rows.map((w) => html`<tr><td class="nowrap">${w.row}</td><td class="small">${cells(w.inputs)}</td><td class="small">${cells(w.expected)}</td><td class="small">${cells(w.actual)}</td></tr>`)}<//></details>`;

function Forms({ v }) {
  const forms = [{ name: "full", artifact: v.manifest.artifact }, ...(v.manifest.variants || []).map((f) => ({ name: f.precision || f.name, artifact: f.artifact }))];
  const whole = (digest) => v.deliveries.find((d) => d.artifact?.sha256 === digest || d.sha256 === digest);
  return html`<${Panel} title="Forms" note="signed as one version" foot="Each device gets the first form that fits it."><${Table} label="Forms, table" head=${html`<th>form</th><th class="figure">size</th><th>sha256</th>`}>
    ${forms.map((f) => html`<tr><td class="strong">${f.name}${whole(f.artifact.sha256) && html`<span class="sub">also as a smaller transfer</span>`}</td><td class="figure nowrap">${bytes(f.artifact.length)}</td><td class="mono small">${f.artifact.sha256.slice(0, 12)}</td></tr>`)}<//><//>`;
}

const linkOfSet = (reference) => { const [name, version] = reference.split("@"); return `${address("data", name)}?version=${version}`; };

function Card({ v }) {
  const l = v.lineage, rows = [["about", v.notes.note?.text || "Nobody has written a note about this version."], ["task", v.task], ["inputs", v.manifest.columns.join(", ")],
    ["answers", v.manifest.outputs.map((o) => o.name).join(", ")], ["trained on", l.data ? `${count(l.data.rows)} rows, sha256 ${l.data.sha256.slice(0, 12)}` : "not told"],
    ["code", l.code ? `${l.code.revision.slice(0, 8)}${l.code.dirty ? " with changes" : ""}` : "not told"], ["environment", v.environment ? `Python ${v.environment.python}` : "not told"],
    ["run", l.run ? html`<a href=${address("runs", l.run)}>${l.run}</a>` : "not told"], ["data sets", l.data_sets.length ? l.data_sets.map((d, i) => html`${i ? ", " : ""}<a href=${linkOfSet(d)}>${d}</a>`) : "none named"], ["said at push", Object.entries(v.metrics).map(([k, n]) => `${k} ${n}`).join(", ") || "nothing"], ["licence", v.licence || "not told"],
    ["tags", Object.entries(v.tags).map(([k, t]) => `${k}=${t}`).join(", ") || "none"], ["pushed", `${stamp(seconds(v.created_at))} by ${v.created_by}`]];
  return html`<${Panel} title="Model card" note=${`v${v.release}`} end=${html`<${Copy} text=${v.digest}>${v.digest.slice(0, 12)}<//>`}><div class="in"><dl class="cols">${rows.map(([k, words]) => html`<dt>${k}</dt><dd>${words}</dd>`)}</dl></div><//>`;
}

function Chosen({ model, release }) {
  const asked = useAsked(release ? `/v1${address("models", model)}/versions/${release}` : "", TOPICS);
  return html`<${Asked} of=${asked} what=${`v${release}`}>${(v) => html`<div class="grid third"><${Gates} v=${v} /><${Forms} v=${v} /><${Card} v=${v} /></div>`}<//>`;
}

export default function Model({ name, query }) {
  const path = `/v1${address("models", name)}`, span = SPANS[query.get("span")] ? query.get("span") : "7 d", [every, days] = SPANS[span];
  const asked = useAsked(`${path}/versions`, TOPICS), { data: found } = useAsked(`${path}/quality?every=${every}&days=${days}`, { ...TOPICS, every_s: 60 });
  const { data: graph } = useAsked(`${path}/lineage`, TOPICS), { data: page } = useAsked(`/v1/rollouts?${new URLSearchParams({ model: name, limit: 50 })}`, TOPICS);
  return html`<${Asked} of=${asked} what=${`model ${name}`}>${(versions) => {
    const all = [...versions].reverse(), chosen = Number(query.get("version")) || all[0].release, v = all.find((x) => x.release === chosen) || all[0], rollouts = page?.rollouts || [];
    const open = rollouts.find((r) => r.open), points = found?.points || [], state = stateOf(v, rollouts);
    const marks = rollouts.map((r) => [seconds(r.created_at), `v${r.release} goes out`]);
    return html`<div class="head"><div><p class="crumb"><a href="/models">Models</a></p><h1>${name} <${Pill} word=${state.kind}>v${v.release} ${state.word}<//></h1>
        <p class="meta"><span>${v.task}</span><span><b>${count(all.length)}</b> ${all.length === 1 ? "version" : "versions"}</span><span>newest pushed <${Ago} at=${all[0].created_at} /></span></p></div>
        <div class="acts">${open && html`<a class="btn" href=${address("rollouts", open.id)}>Its rollout</a>`}<a class="btn" href=${`/runs?model=${encodeURIComponent(name)}`}>Its runs</a><a class="btn" href=${`/rollouts?model=${encodeURIComponent(name)}`}>All its rollouts</a></div></div>
      <div class="stack"><${BeingConverted} model=${name} /><${Versions} model=${name} all=${all} chosen=${v.release} now=${newest(points)} rollouts=${rollouts} />
        ${graph && html`<${Lineage} model=${name} graph=${graph} chosen=${v.release} />`}<${Quality} points=${points} share=${found?.devices_ratio ?? 1} span=${span} marks=${marks} /><${Watch} model=${name} path=${path} />
        <${Chosen} model=${name} release=${v.release} key=${v.release} /><${Discussion} what="model" id=${name} /></div>`;
  }}<//>`;
}
