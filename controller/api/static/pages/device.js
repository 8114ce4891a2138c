// Why does it run what it runs, is it well, and what has it done today?
import { html, useMemo, useState, Panel, Pill, Status, Lone, Said, Table, Terminal, Act, Ago, Dialog, bytes, count, lasting, latency, plain, seconds, stamp } from "../ui.js";
import { Plot } from "../plot.js";
import { address, api, refusal, said, useAsked, useScope } from "../store.js";
import { Pinning } from "../pinning.js";
import { Inquiry, Written } from "../inquiry.js";
import { Asked } from "./states.js";

const LOOK = { asked: "off", fetching: "busy", probing: "busy", ready: "busy", trial: "busy", confirmed: "good", shadowed: "good", steady: "good",
  rolled_back: "bad", rejected: "bad", refused: "bad", failed: "bad", pinned: "warn", quarantined: "warn", retired: "off", superseded: "off" };
const MOST_ITEMS = 24;

/** Why nothing can be done with a device that has left the fleet; empty for one of the fleet. */
const retired = (device) => (device.presence === "retired" ? "It was retired." : "");

/** Its history and what holds now: the sentences of `edgeward device why`, in the order of time. */
function Why({ name }) {
  const { data, error } = useAsked(`/v1${address("devices", name)}/why`, { topics: ["fleet", "rollouts"] }), [all, setAll] = useState(false);
  const items = data?.items || (data?.sentences || []).map((text) => ({ at: "", kind: "", text })), past = items.filter((i) => i.at).sort((a, b) => (a.at < b.at ? -1 : 1));
  const shown = [...past, ...items.filter((i) => !i.at)].filter((i, n, list) => !n || i.text !== list[n - 1].text), left = all ? 0 : Math.max(0, shown.length - MOST_ITEMS);
  return html`<${Panel} title="Why it runs what it runs" foot=${html`<${Terminal} text=${`edgeward device why ${name}`} />`}><div class="in">
    ${left > 0 && html`<p class="small"><button class="link" onClick=${() => setAll(true)}>${count(left)} earlier</button></p>`}
    ${!data && html`<p class="soft">${error ? error.message : "asking"}</p>`}
    ${data && !shown.length && html`<p class="soft">Nobody has asked it to run anything yet.</p>`}
    <ol class="story">${shown.slice(left).map((i) => html`<li class=${i.at ? "" : "now"}><${Lone} of=${LOOK[i.kind] || "off"} />
      <time>${i.at ? `${stamp(seconds(i.at))} UTC` : "now"}</time><${Said} words=${i.text} /></li>`)}</ol></div><//>`;
}

function measured(model) {
  const last = [...model.measured].sort((a, b) => b.release - a.release)[0];
  if (!last) return ["–", "–", "–"];
  const quality = last.accuracy != null ? last.accuracy.toFixed(3) : last.mean_absolute_error != null ? `±${last.mean_absolute_error.toPrecision(3)}` : "–";
  return [quality, last.latency_us_p95 != null ? latency(last.latency_us_p95) : "–", count(last.inferences)];
}

const golden = (probe) => !probe ? "not probed" : probe.passed ? "right" : html`<span class="bad">${probe.missed} of ${probe.rows} wrong</span>`;

function Twin({ device }) {
  const row = (m) => {
    const s = m.state, serving = s && [s.trial, s.stable].find((v) => v && v.digest === s.serving), [quality, p95, n] = measured(m);
    return html`<tr><td><a href=${address("models", m.model)} class="strong">${m.model}</a></td><td>${m.desired_release ? `v${m.desired_release}` : "–"}</td>
      <td>${serving ? html`<${Status} word=${s.phase === "steady" ? "confirmed" : "pending"}>v${serving.release}<//>` : html`<span class="faint">nothing</span>`}</td>
      <td class="lo soft">${s ? plain(s.phase) : "not reported"}</td><td class="lo soft">${s?.stable_proven ? "proven" : s?.stable ? "not shown since boot" : "none"}</td><td class="lo soft">${golden(s?.golden)}</td>
      <td class="figure">${quality}</td><td class="figure lo">${p95}</td><td class="figure lo">${n}</td></tr>`;
  };
  return html`<${Panel} title="Models" note=${device.document_version ? `document ${device.document_version}` : "no document yet"}><${Table} label="Models, table"
    head=${html`<th>model</th><th>desired</th><th>answers</th><th class="lo">phase</th><th class="lo">way back</th><th class="lo">golden set</th><th class="figure">right or error</th><th class="figure lo">p95</th><th class="figure lo">inferences</th>`}>
    ${device.models.map(row)}${!device.models.length && html`<tr><td colspan="9" class="soft">It runs no model.</td></tr>`}<//><//>`;
}

/** An axis that begins at nothing. */
const fromZero = (u, low, high) => [0, Math.max(1, high * 1.1)];

/** Two versions in the same stretch of time: their counts together, and the slower one's times. */
function both(a, b) {
  if (!a) return b;
  const most = a.inferences > b.inferences ? a : b;
  return { ...most, inferences: a.inferences + b.inferences, latency_us_p95: Math.max(a.latency_us_p95 || 0, b.latency_us_p95 || 0) || null };
}

/** The rows of one answer as series, with a hole wherever a stretch is missing. */
function series(rows) {
  const t = [], cols = { p50: [], p95: [], rate: [], right: [] }, push = (at, r) => {
    t.push(at);
    cols.p50.push(r?.latency_us_p50 == null ? null : r.latency_us_p50 / 1000);
    cols.p95.push(r?.latency_us_p95 == null ? null : r.latency_us_p95 / 1000);
    cols.rate.push(r ? r.inferences / r.span_s : null);
    cols.right.push(r?.accuracy == null ? null : 100 * r.accuracy);
  };
  const merged = [...rows.reduce((found, r) => found.set(r.start, both(found.get(r.start), r)), new Map()).values()];
  merged.forEach((r, i) => {
    const before = merged[i - 1];
    if (before && r.start > before.start + before.span_s * 1.5) push(before.start + before.span_s * 1.5, null);
    push(r.start + r.span_s / 2, r);
  });
  return { t, ...cols };
}

function Telemetry({ device }) {
  const models = [...device.models].sort((a, b) => !a.desired_release - !b.desired_release).map((m) => m.model), [model, setModel] = useState(models[0] || "");
  const { data, error } = useAsked(model && `/v1${address("devices", device.device)}${address("models", model)}/telemetry`, { every_s: 60 });
  const s = useMemo(() => series(data || []), [data]), has = (values) => values.some((v) => v != null), sync = "device";
  const tools = models.length > 1 && html`<select aria-label="Model" onChange=${(e) => setModel(e.target.value)}>${models.map((m) => html`<option selected=${m === model}>${m}</option>`)}</select>`;
  if (!models.length) return null;
  if (!s.t.length) return html`<${Panel} title="Telemetry" note="24 h" end=${tools}><p class="in soft">${error ? error.message : data ? "It has measured nothing of this model in the last 24 hours." : "asking"}</p><//>`;
  return html`<${Panel} title="Telemetry" note="24 h; a gap is a gap" end=${tools}><div class="in small-charts">
    ${has(s.p95) && html`<div class="wide"><${Plot} label="Time for one row" t=${s.t} height=${150} sync=${sync} unit=" ms" series=${[{ label: "p50", values: s.p50, colour: "--accent" }, { label: "p95", values: s.p95, colour: "--ink3", dash: "dash" }]} /></div>`}
    <div><${Plot} label="Inferences" t=${s.t} range=${fromZero} height=${104} sync=${sync} unit="/s" series=${[{ label: "inferences", values: s.rate, colour: "--accent", fill: true }]} /></div>
    ${has(s.right) && html`<div><${Plot} label="Answers that met their label" t=${s.t} height=${104} sync=${sync} unit=" %" series=${[{ label: "right", values: s.right, colour: "--accent", points: true }]} /></div>`}</div><//>`;
}

/** What a device says of itself: [figure, label, factor, unit]. */
const VITALS = [["cpu_ratio", "CPU of a core", 100, " %"], ["rss_mb", "Memory", 1, " MB"], ["temperature_c", "Temperature", 1, " °C"]];

/** Means with the extremes of single messages as a band, and a hole wherever a stretch is missing. */
function vitalsSeries(rows) {
  const t = [], cols = VITALS.map(() => ({ mean: [], low: [], high: [] }));
  const push = (at, r) => {
    t.push(at);
    VITALS.forEach(([figure, , factor], i) => ["mean", "low", "high"].forEach((end) => cols[i][end].push(r?.[figure] ? r[figure][end] * factor : null)));
  };
  rows.forEach((r, i) => {
    const before = rows[i - 1];
    if (before && r.start > before.start + before.span_s * 1.5) push(before.start + before.span_s * 1.5, null);
    push(r.start + r.span_s / 2, r);
  });
  return { t, cols };
}

function Vitals({ name, gone }) {
  const { data, error } = useAsked(`/v1${address("devices", name)}/vitals`, { every_s: 60 }), s = useMemo(() => vitalsSeries(data || []), [data]);
  const there = VITALS.map((v, i) => [...v, s.cols[i]]).filter(([, , , , c]) => c.mean.some((v) => v != null));
  return html`<${Panel} title="Vitals" note="24 h; mean, lowest and highest of five minutes" foot=${html`<${Terminal} text=${`edgeward device vitals ${name}`} />`}>
    ${there.length ? html`<div class="in small-charts">${there.map(([, label, , unit, c]) => html`<div><${Plot} label=${label} t=${s.t} height=${104} sync="device" unit=${unit}
      series=${[{ label: label.toLowerCase().replace("cpu", "CPU"), values: c.mean, band: [c.low, c.high], colour: "--accent" }]} /></div>`)}</div>`
    : html`<p class="in soft">${gone ? "It was retired, and its vitals were deleted." : error ? error.message : data ? "It has said nothing of itself in the last 24 hours." : "asking"}</p>`}<//>`;
}

function Sources({ device }) {
  const all = [...device.sensors.map((x) => ["sensor", x, x.row_age_s]), ...device.sinks.map((x) => ["sink", x, x.delivered_age_s])];
  if (!all.length && !device.faults.length) return null;
  const look = (x) => (["starting", "running", "ended"].includes(x.state) ? "good" : x.state === "paused" ? "off" : "warn");
  return html`<${Panel} title="Sensors, sinks and faults"><ul class="feed two">
    ${device.faults.map((f) => html`<li><${Lone} of="bad" /><span><b class="strong">${f.code}</b> ${f.detail}</span><span /></li>`)}
    ${all.map(([kind, x, age]) => html`<li><${Lone} of=${look(x)} /><span>${kind} <b class="strong">${x.name}</b> ${x.state}${x.error && html`<span class="soft">: ${x.error}</span>`}</span>
      <span class="small soft">${age == null ? "nothing yet" : `${lasting(age)} ago`}</span></li>`)}</ul><//>`;
}

/** What each button will do, in the words of its dialog. */
const deeds = (name, quarantined) => ({
  unquarantine: { path: "/v1/devices/unquarantine", body: { devices: [name] }, word: "Lift the quarantine", title: `Offer failed versions to ${name} again?`,
    will: [`May be offered again: ${quarantined.join(", ")}.`, "An open rollout offers it at its next pass; the device probes and tries it anew."], done: (a) => `${a.versions} ${a.versions === 1 ? "version" : "versions"} may be offered to it again` },
  revoke: { path: `/v1${address("devices", name)}/revoke`, word: "Revoke", harm: true, title: `Revoke ${name}?`,
    will: ["Its certificates are taken away: its session ends, and what it says is not believed.", "It goes on answering from what it has, but hears and says nothing.", "To bring it back, it must enrol anew with a claim. This cannot be undone."], done: (a) => `${a.certificates} ${a.certificates === 1 ? "certificate" : "certificates"} revoked` },
});

function Acts({ device, again }) {
  const { device: name, quarantined } = device, gone = retired(device);
  const outside = useScope("device", name), nothing = quarantined.length ? "" : "No version is quarantined on it.", [open, setOpen] = useState(""), [typed, setTyped] = useState(""), [wrong, setWrong] = useState(""), d = deeds(name, quarantined)[open];
  const close = () => { setOpen(""); setTyped(""); setWrong(""); };
  const act = async () => {
    if (d.harm && typed !== name) return;
    try { said("good", d.done(await api(d.path, { method: "POST", body: d.body }))); close(); again(); } catch (error) { setWrong(error.message); }
  };
  return html`<div class="acts" role="group" aria-label="Actions"><${Act} icon="check" off=${gone || refusal("rollout") || outside || nothing} onClick=${() => setOpen("unquarantine")}>Lift quarantine<//>
    <${Pinning} device=${device} again=${again} /><${Act} icon="close" harm off=${gone || refusal("device") || outside} onClick=${() => setOpen("revoke")}>Revoke<//>
    <${Dialog} open=${Boolean(d)} title=${d?.title || ""} onClose=${close} foot=${d && html`<button class="btn" onClick=${close}>Leave it as it is</button>
      <button class=${`btn main ${d.harm ? "harm" : ""}`} aria-disabled=${d.harm && typed !== name ? "true" : undefined} onClick=${act}>${d.word}</button>`}>
      ${d && html`<div class="in"><ul class="will">${d.will.map((w) => html`<li>${w}</li>`)}</ul>
        ${d.harm && html`<label class="field"><span>Type <b class="mono">${name}</b></span><input type="text" value=${typed} autocomplete="off" spellcheck="false" onInput=${(e) => setTyped(e.target.value)} /></label>`}
        ${wrong && html`<p class="bad" role="alert">${wrong}</p>`}<p class="faint small">The same in a terminal: <code>edgeward device ${open} ${name}</code></p></div>`}<//></div>`;
}

function Facts({ d }) {
  const h = d.hardware, group = Object.entries(d.labels)[0];
  return html`<p class="crumb"><a href="/fleet">Fleet</a>${group && html` / <a href=${`/fleet?label=${encodeURIComponent(group.join("="))}`}>${group[1]}</a>`}</p>
    <h1>${d.device} <${Pill} word=${d.health} />${d.presence !== "online" && d.presence !== d.health && html`<${Pill} word=${d.presence} />`}</h1>
    ${d.health !== "well" && html`<p class="lead"><${Said} words=${d.why} /></p>`}
    <p class="meta"><span><b>${d.presence}</b>${d.seen_s_ago == null ? ", never heard" : `, seen ${lasting(d.seen_s_ago)} ago`}</span>
      ${h && html`<span>${h.machine}, ${h.cpus} CPU, ${count(h.memory_mb)} MB</span><span>onnxruntime <b>${h.onnxruntime}</b></span><span>agent <b>${h.agent}</b></span>${h.sandbox && html`<span>${h.sandbox}</span>`}`}
      ${d.rss_mb > 0 && html`<span>resident <b>${d.rss_mb.toFixed(1)} MB</b></span><span>CPU <b>${(100 * d.cpu_ratio).toFixed(1)} %</b></span>`}
      ${d.temperature_c != null && html`<span><b>${d.temperature_c.toFixed(0)} °C</b></span>`}${d.bytes_received > 0 && html`<span>received <b>${bytes(d.bytes_received)}</b></span>`}
      ${Object.entries(d.labels).map(([k, v]) => html`<span>${k}=<b>${v}</b>${k in d.given_labels ? " (given)" : ""}</span>`)}</p><${Written} device=${d} />`;
}

export default function Device({ name }) {
  const asked = useAsked(`/v1${address("devices", name)}`, { topics: ["fleet"], every_s: 30 });
  return html`<${Asked} of=${asked} what=${`device ${name}`}>${(d) => html`<div class="head"><div><${Facts} d=${d} /></div><${Acts} device=${d} again=${asked.again} /></div>
    <div class="grid device"><div class="sticky"><${Why} name=${name} /></div><div class="stack"><${Twin} device=${d} /><${Telemetry} device=${d} /><${Vitals} name=${name} gone=${retired(d)} /><${Sources} device=${d} /><${Inquiry} name=${name} gone=${retired(d)} /></div></div>`}<//>`;
}
