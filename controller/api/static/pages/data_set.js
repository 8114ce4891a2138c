// One data set: what its rows are, how long they stay, what was taken out of them, and what was trained on them.
import { html, Panel, Table, Pill, Status, Ago, Copy, Terminal, bytes, count, many, seconds, stamp } from "../ui.js";
import { address, ask, useAsked } from "../store.js";
import { Pick } from "../filters.js";
import { placeOf, stateOf } from "./data.js";
import { Asked, Missing } from "./states.js";

const time = (s) => `${stamp(s).slice(0, 16)} UTC`;

function Facts({ d }) {
  const rows = [["rows", `${count(d.rows)}, of which ${count(d.labelled)} have a label`], ["from", many(d.devices, "device")],
    ["captured", d.until ? `${time(d.since)} to ${time(d.until)}` : "not known"], ["size", bytes(d.size_bytes)],
    ["made", html`${time(seconds(d.created_at))} by ${d.created_by}`], ["digest", d.sha256 ? html`<${Copy} text=${d.sha256}>${d.sha256.slice(0, 16)}<//>` : "none: its rows are deleted"]];
  return html`<${Panel} title="What it is"><div class="in"><dl class="cols">${rows.map(([k, words]) => html`<dt>${k}</dt><dd>${words}</dd>`)}</dl></div><//>`;
}

function Privacy({ d, deletions }) {
  const reference = `${d.name}@${d.version}`, mine = (deletions || []).filter((each) => reference in each.data_sets);
  const kept = d.deleted_at ? `its rows were deleted ${time(seconds(d.deleted_at))}: ${d.deleted_why}` : d.keep_until ? `its rows are deleted by themselves ${time(d.keep_until)}` : "its rows stay until somebody deletes them";
  const rows = [["kept", kept], ["left out", d.removed.length ? d.removed.join(", ") : "no column was left out when it was made"],
    ["taken out since", d.erased_rows ? `${many(d.erased_rows, "row")}, on request` : "nothing"],
    ["earlier digests", d.former.length ? d.former.map((each) => html`<${Copy} text=${each}>${each.slice(0, 12)}<//> `) : "none: its file has never changed"]];
  return html`<${Panel} title="Retention and privacy" foot=${html`<${Terminal} text=${`edgeward data delete ${reference}`} />`}><div class="in stack tight"><dl class="cols">${rows.map(([k, words]) => html`<dt>${k}</dt><dd>${words}</dd>`)}</dl>
    ${mine.length > 0 && html`<ul class="small soft">${mine.map((each) => html`<li>${many(each.data_sets[reference], "row")} by <b class="strong">${each.id}</b>, asked <${Ago} at=${each.asked_at} /> by ${each.by}: ${each.reason}${each.done_at ? "" : "; devices have not all answered"}</li>`)}</ul>`}</div><//>`;
}

const Schema = ({ d }) => html`<${Panel} title="Columns" note=${count(Object.keys(d.columns).length)}><${Table} label="Columns, table" head=${html`<th>column</th><th>type</th><th class="lo">what it is</th>`}>
  ${Object.entries(d.columns).map(([name, type]) => html`<tr key=${name}><td class="mono strong">${name}</td><td class="mono">${type}</td><td class="lo soft">${name.startsWith("_") ? "about the inference" : "an input"}${d.removed.includes(name) ? ", left out: every cell is empty" : ""}</td></tr>`)}<//><//>`;

function Trained({ path, reference }) {
  const { data: versions, error } = useAsked(`${path}/trained`, { topics: ["models"] }), { data: runs } = useAsked(`/v1/runs?${new URLSearchParams({ data_set: reference, limit: 25 })}`, { every_s: 60 });
  return html`<${Panel} title="Trained on it" note="by what runs and versions say of themselves" foot=${html`<${Terminal} text=${`edgeward data show ${reference}`} />`}>
    ${error ? html`<p class="in bad" role="alert">${error.message}</p>` : !versions ? html`<p class="in soft">Asking the controller.</p>` : !versions.length && !runs?.total ? html`<p class="in soft">No version and no run names it.</p>` : html`<${Table} label="Trained on it, table" head=${html`<th>what</th><th>run</th><th class="figure">devices</th><th class="figure">made</th>`}>
      ${versions.map((v) => html`<tr class="go" key=${`${v.model}${v.release}`}><td><a class="strong" href=${`${address("models", v.model)}?version=${v.release}`}>${v.model} v${v.release}</a></td><td>${v.run ? html`<a class="mono small" href=${address("runs", v.run)}>${v.run}</a>` : html`<span class="faint">not told</span>`}</td>
        <td class="figure">${count(v.devices)}</td><td class="figure soft nowrap"><${Ago} at=${v.created_at} /></td></tr>`)}
      ${(runs?.runs || []).filter((r) => !r.pushed.length).map((r) => html`<tr class="go" key=${r.id}><td>${r.name} <span class="soft">pushed nothing</span></td><td><a class="mono small" href=${address("runs", r.id)}>${r.id}</a></td><td class="figure">–</td><td class="figure soft nowrap"><${Ago} at=${r.started_at} /></td></tr>`)}<//>`}<//>`;
}

const pair = (a, b) => [a == null ? "–" : +a.toPrecision(5), b == null ? "–" : +b.toPrecision(5)];

/** What differs from another version, in rows for a table. */
function differences(c) {
  return [["rows that only this one has", "", count(c.added)], ["rows that only the other has", count(c.gone), ""], ["rows with another label", "", count(c.relabelled)],
    ...c.columns_gone.map((name) => [`column ${name}`, "there", "–"]), ...c.columns_added.map((name) => [`column ${name}`, "–", "there"]),
    ...Object.entries(c.types_changed).map(([name, words]) => [`type of ${name}`, ...words.split(" -> ")]),
    ...Object.entries(c.labels).filter(([, [a, b]]) => a !== b).map(([name, [a, b]]) => [`label ${name}`, count(a), count(b)]),
    ...Object.entries(c.means).map(([name, [a, b]]) => [`mean of ${name}`, ...pair(a, b)])];
}

function Against({ d, versions, query }) {
  const others = versions.filter((v) => v.version !== d.version && v.sha256), asked = Number(query.get("against")) || 0;
  const { data, error } = useAsked(asked && asked !== d.version ? `/v1${address("data", d.name)}/compare/${asked}/${d.version}` : "");
  return html`<${Panel} title="Against another version" end=${others.length > 0 && html`<${Pick} name="against" title="The other version" query=${query} keep label="choose one" options=${others.map((v) => [v.version, `@${v.version}, ${count(v.rows)} rows`])} />`}
      foot=${asked > 0 && html`<${Terminal} text=${`edgeward data diff ${d.name} ${asked} ${d.version}`} />`}>
    ${!others.length ? html`<p class="in soft">There is no other version with rows.</p>` : !asked ? html`<p class="in soft">Choose a version: rows, labels, columns and means are compared by the controller.</p>`
    : error ? html`<p class="in bad" role="alert">${error.message}</p>` : !data ? html`<p class="in soft">Comparing.</p>`
    : html`<div class="even"><${Table} label="Differences, table" head=${html`<th>what</th><th class="figure">@${asked}</th><th class="figure">@${d.version}</th>`}>${differences(data).map(([what, a, b]) => html`<tr key=${what}><td>${what}</td><td class="figure">${a}</td><td class="figure">${b}</td></tr>`)}<//></div>`}<//>`;
}

export default function DataSet({ name, query }) {
  const asked = useAsked(`/v1/data?${new URLSearchParams({ name, limit: 1000 })}`, { every_s: 60 }), { data: deletions } = useAsked("/v1/deletions", { every_s: 60 });
  return html`<${Asked} of=${asked} what=${`data set ${name}`}>${({ data_sets: versions }) => {
    const wanted = Number(query.get("version")) || versions[0]?.version, d = versions.find((v) => v.version === wanted);
    if (!d) return html`<${Missing} what=${`data set ${name}${versions.length ? `@${wanted}` : ""}`} hint=${versions.length ? html`It has <a href=${placeOf(versions[0])}>@${versions[0].version}</a> and ${many(versions.length - 1, "older version")}.` : ""} />`;
    const path = `/v1${address("data", name)}/versions/${d.version}`, [word, words] = stateOf(d);
    return html`<div class="head"><div><p class="crumb"><a href="/data">Data sets</a></p><h1>${name}@${d.version} <${Pill} word=${word}>${words}<//></h1>
        <p class="meta"><span>of <a href=${address("models", d.model)}>${d.model}</a></span><span><b>${count(d.rows)}</b> rows</span><span>made <${Ago} at=${d.created_at} /></span></p></div>
        <div class="acts"><select aria-label="Version" value=${String(d.version)} onChange=${(e) => ask({ version: e.target.value, against: "" })}>${versions.map((v) => html`<option value=${v.version} selected=${v.version === d.version}>@${v.version}</option>`)}</select>
          ${d.sha256 && html`<a class="btn" href=${`${path}/file`} download=${`${name}-${d.version}.parquet`} target="_self">Rows as Parquet</a>`}</div></div>
      <div class="stack"><div class="grid half"><${Facts} d=${d} /><${Privacy} d=${d} deletions=${deletions} /></div>
        <div class="grid half"><${Trained} path=${path} reference=${`${name}@${d.version}`} key=${d.version} /><${Against} d=${d} versions=${versions} query=${query} /></div><${Schema} d=${d} /></div>`;
  }}<//>`;
}
