// One run: what it was made of, its numbers over steps, what came of it, and what differs from another one.
import { html, useMemo, Panel, Table, Pill, Ago, Copy, Seg, Terminal, bytes, count, lasting, many, stamp, seconds } from "../ui.js";
import { Plot } from "../plot.js";
import { address, ask, useAsked } from "../store.js";
import { Pick } from "../filters.js";
import { figure } from "./runs.js";
import { Asked } from "./states.js";

const MOST_SEGMENTS = 5;
const Short = ({ text, n = 16 }) => html`<${Copy} text=${text}>${text.slice(0, n)}<//>`;

/** Steps in their order and, for each run, its values at them: the last one where a step was told twice. */
function overSteps(curves) {
  const maps = curves.map((c) => new Map(c ? c.steps.map((step, i) => [step, c.values[i]]) : []));
  const t = [...new Set(maps.flatMap((m) => [...m.keys()]))].sort((a, b) => a - b);
  return { t, values: maps.map((m) => t.map((step) => m.get(step) ?? null)) };
}

function Curves({ id, other, names, query }) {
  const wanted = names.includes(query.get("metric")) ? query.get("metric") : names[0], asked = (run) => (run && wanted ? `/v1/runs/${encodeURIComponent(run)}/curves?metric=${encodeURIComponent(wanted)}` : "");
  const mine = useAsked(asked(id)), theirs = useAsked(asked(other)), beside = other ? theirs.data?.[0] : null;
  const drawn = useMemo(() => overSteps(other ? [mine.data?.[0], beside] : [mine.data?.[0]]), [mine.data, theirs.data, other]);
  const pick = (name) => ask({ metric: name === names[0] ? "" : name });
  const series = drawn.values.map((values, i) => ({ label: i ? `the other: ${other}` : wanted, values, colour: i ? "--ink3" : "--accent", dash: i ? "dash" : "", points: drawn.t.length < 40 }));
  const end = names.length > MOST_SEGMENTS ? html`<select aria-label="Metric" value=${wanted} onChange=${(e) => pick(e.target.value)}>${names.map((n) => html`<option value=${n} selected=${n === wanted}>${n}</option>`)}</select>`
    : names.length > 1 && html`<${Seg} label="Metric" value=${wanted} options=${names} onPick=${pick} />`;
  return html`<${Panel} title="Over steps" note=${mine.data?.[0]?.thinned ? "every n-th number; the run itself has them all" : wanted && many(drawn.t.length, "step")} end=${end} foot=${wanted && html`<${Terminal} text=${`edgeward run plot ${id} --metric ${wanted}`} />`}><div class="in">
    ${mine.error ? html`<p class="bad" role="alert">${mine.error.message}</p>` : !wanted ? html`<p class="soft">It has logged no number: <code>run.log_metric("loss", loss, step)</code>.</p>`
    : !mine.data ? html`<p class="soft">Asking the controller.</p>` : drawn.t.length < 2 ? html`<p class="soft">${wanted} was logged once: ${figure(drawn.values[0][0])}. A line needs two steps.</p>`
    : html`<${Plot} key=${wanted} label=${`${wanted} over steps`} t=${drawn.t} steps height=${220} format=${figure} series=${series} />`}</div><//>`;
}

const Metrics = ({ r, other }) => html`<${Panel} title="Metrics" note="the last number of each">${Object.keys(r.metrics).length ? html`<${Table} label="Metrics, table" head=${html`<th>metric</th><th class="figure">value</th>${other && html`<th class="figure">the other</th>`}`}>
  ${Object.entries(r.metrics).map(([name, v]) => html`<tr key=${name}><td class="strong">${name}</td><td class="figure">${figure(v)}</td>${other && html`<td class="figure soft">${figure(other.metrics[name])}</td>`}</tr>`)}<//>` : html`<p class="in soft">None was logged.</p>`}<//>`;

const Parameters = ({ r, other }) => html`<${Panel} title="Parameters" note=${count(Object.keys(r.params).length)}>${Object.keys(r.params).length ? html`<${Table} label="Parameters, table" head=${html`<th>parameter</th><th>value</th>${other && html`<th>the other</th>`}`}>
  ${Object.entries(r.params).map(([name, v]) => html`<tr key=${name}><td class="strong">${name}</td><td class="mono small break">${v}</td>${other && html`<td class="mono small break soft">${other.params[name] ?? "–"}</td>`}</tr>`)}<//>` : html`<p class="in soft">None was given.</p>`}<//>`;

const linkOfSet = (reference) => { const [name, version] = reference.split("@"); return `${address("data", name)}?version=${version}`; };

const Rows = ({ r }) => html`<${Panel} title="Data" note="by digest; the rows stay where it ran">${r.data.length ? html`<${Table} label="Data, table" head=${html`<th>name</th><th class="figure">rows</th><th class="figure lo">columns</th><th>digest</th><th>data set</th>`}>
  ${r.data.map((d) => html`<tr key=${d.name}><td class="strong">${d.name}</td><td class="figure">${count(d.rows)}</td><td class="figure lo">${count(Object.keys(d.columns).length)}</td><td><${Short} text=${d.sha256} n=${12} /></td>
    <td>${d.data_set ? html`<a href=${linkOfSet(d.data_set)}>${d.data_set}</a>` : html`<span class="faint">none</span>`}</td></tr>`)}<//>` : html`<p class="in soft">It has told no rows: <code>rows = run.log_data(rows)</code>.</p>`}<//>`;

function Surroundings({ r }) {
  const { code, environment: e, threads } = r, used = e.used.map((name) => `${name} ${e.packages[name]}`), pairs = (found) => Object.entries(found).map(([k, v]) => `${k} ${v}`).join(", ");
  const rows = [["commit", code ? html`<${Short} text=${code.revision} n=${12} />${code.diff_sha256 ? " with changes to it" : ""}` : "no git"], ["script", r.entry.script ? html`${r.entry.script} <${Short} text=${r.entry.script_sha256} n=${8} />` : "made by hand"],
    ["Python", e.python ? `${e.python}, ${e.platform}` : "not told yet"], ["libraries", used.join(", ") || "none"], ["threads", pairs(threads.counts) || "not told"], ["kernels", pairs(threads.kernels)], ["seeds", pairs(r.seeds)], ["tags", pairs(r.tags)]];
  const packages = Object.entries(e.packages);
  return html`<${Panel} title="Code and environment"><div class="in stack tight"><dl class="cols">${rows.filter(([, w]) => w).map(([k, words]) => html`<dt>${k}</dt><dd>${words}</dd>`)}</dl>
    ${packages.length > 0 && html`<details class="twin"><summary>all ${many(packages.length, "package")}</summary><${Table} label="Packages, table" head=${html`<th>package</th><th>version</th>`}>${packages.map(([name, v]) => html`<tr key=${name}><td>${name}</td><td class="mono">${v}</td></tr>`)}<//></details>`}</div><//>`;
}

const Results = ({ r, result }) => html`<${Panel} title="Artifacts" note=${result ? html`result <${Short} text=${result} n=${12} />` : ""} foot=${html`<${Terminal} text=${`edgeward run reproduce ${r.id}`} />`}>
  ${r.pushed.length > 0 && html`<p class="in">Pushed ${r.pushed.map((p, i) => html`${i ? ", " : ""}<a class="strong" href=${`${address("models", p.model)}?version=${p.release}`}>${p.model} v${p.release}</a>`)}.</p>`}
  ${r.artifacts.length ? html`<${Table} label="Artifacts, table" head=${html`<th>name</th><th>kind</th><th class="figure">size</th><th>digest</th>`}>${r.artifacts.map((a) => html`<tr key=${a.name}><td class="strong">${a.name}</td><td>${a.kind}</td><td class="figure nowrap">${a.size_bytes ? bytes(a.size_bytes) : "–"}</td><td><${Short} text=${a.sha256} n=${12} /></td></tr>`)}<//>`
    : html`<p class="in soft">It has kept no file and no model.</p>`}<//>`;

function Against({ r, query }) {
  const other = query.get("with") || "", { data: page } = useAsked(`/v1/runs?${new URLSearchParams({ name: r.name, limit: 50 })}`), { data, error } = useAsked(other ? `/v1/runs/${encodeURIComponent(other)}/compare/${encodeURIComponent(r.id)}` : "");
  const others = (page?.runs || []).filter((each) => each.id !== r.id).map((each) => [each.id, `${each.id}, ${each.status}`]), options = !other || others.some(([id]) => id === other) ? others : [[other, other], ...others];
  return html`<${Panel} title="Against another run" note="results first, then what may explain them" end=${options.length > 0 && html`<${Pick} name="with" title="The other run" query=${query} keep label="choose one" options=${options} />`} foot=${other && html`<${Terminal} text=${`edgeward run compare ${other} ${r.id}`} />`}>
    ${!options.length ? html`<p class="in soft">No other run of this name was sent here.</p>` : !other ? html`<p class="in soft">Choose a run of the same name, or two by their boxes in the <a href="/runs">list</a>.</p>` : error ? html`<p class="in bad" role="alert">${error.message}</p>`
    : !data ? html`<p class="in soft">Comparing.</p>` : !data.length ? html`<p class="in soft">Nothing that a run records differs.</p>`
    : html`<div class="even"><${Table} label="Differences, table" head=${html`<th>what</th><th>the other, ${other.slice(0, 15)}</th><th>this one</th>`}>${data.map((row) => html`<tr key=${row.what}><td class="strong">${row.what}</td><td class="small break">${row.before}</td><td class="small break">${row.after}</td></tr>`)}<//></div>`}<//>`;
}

export default function Run({ name, query }) {
  const asked = useAsked(`/v1${address("runs", name)}`, { topics: ["audit"] }), other = query.get("with") || "", { data: beside } = useAsked(other ? `/v1${address("runs", other)}` : "");
  return html`<${Asked} of=${asked} what=${`run ${name}`}>${(found) => { const r = found.record, second = other ? beside?.record : null; return html`<div class="head"><div><p class="crumb"><a href="/runs">Runs</a></p><h1>${r.name} <${Pill} word=${r.status} /></h1>
      <p class="meta"><${Copy} text=${r.id} /><span>began <${Ago} at=${r.started_at} /></span>${found.took_s != null && html`<span>took <b>${lasting(found.took_s)}</b></span>`}<span>sent by <b>${found.sent_by.replace(/^local:/, "")}</b>, ${stamp(seconds(found.sent_at)).slice(0, 16)} UTC</span></p></div>
      <${Terminal} text=${`edgeward run show ${r.id}`} /></div>
    <div class="stack">${r.error && html`<p class="bad">It ended by an exception: ${r.error}</p>`}<${Curves} id=${r.id} other=${other} names=${Object.keys(r.metrics)} query=${query} />
      <div class="grid half"><${Metrics} r=${r} other=${second} /><${Parameters} r=${r} other=${second} /></div><${Against} r=${r} query=${query} />
      <div class="grid half"><${Rows} r=${r} /><${Results} r=${r} result=${found.result} /></div><${Surroundings} r=${r} /></div>`; }}<//>`;
}
