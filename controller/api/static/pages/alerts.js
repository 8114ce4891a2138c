// What asks for somebody, since when, and who knows of it already.
import { html, useState, Csv, Panel, Pager, Status, Mark, Lone, Act, Ago, Dialog, Terminal, count, plain, alertWords } from "../ui.js";
import { api, ask, go, refusal, said, useAsked, useScope } from "../store.js";
import { Field, Pick, pageOf } from "../filters.js";
import { Asked, Nothing } from "./states.js";

const STATES = [["firing", "asks for somebody now"], ["pending", "true, not yet for long enough"], ["silenced", "somebody knows"],
  ["inhibited", "another alert says more"], ["resolved", "over"]];
const SPANS = [["30 min", 1800], ["2 h", 7200], ["8 h", 28800], ["24 h", 86400]];
const PAGE = 25;
/** Alerts of each state while all states are shown: the newest. */
const FIRST = 10;
const FILTERS = ["q", "severity", "model", "device"];
const SEVERITIES = ["critical", "warning", "info"];
const FILE = { head: ["alert", "state", "severity", "labels", "summary", "description", "since", "fired", "ended", "value", "limit", "unit"], key: "items",
  row: (a) => [a.name, a.state, a.severity, Object.entries(a.labels).map(([k, v]) => `${k}=${v}`).join("; "), a.annotations.summary, a.annotations.description, a.since, a.starts_at || "", a.ends_at || "", a.value, a.limit, a.unit] };
const look = (a) => (a.state === "resolved" ? "good" : ["silenced", "inhibited"].includes(a.state) ? "off" : a.severity === "critical" ? "bad" : "warn");

/** Where somebody looks for what an alert is about. */
function place({ labels }) {
  if (labels.device) return `/devices/${encodeURIComponent(labels.device)}`;
  if (labels.rollout) return `/rollouts/${encodeURIComponent(labels.rollout)}`;
  if (labels.model) return `/models/${encodeURIComponent(labels.model)}`;
  return "/fleet?sort=health";
}

function One({ alert: a, silence, outside }) {
  const labels = Object.entries(a.labels).filter(([key]) => !["severity", "alertname"].includes(key)).map(([key, value]) => `${key}=${value}`).join(", ");
  const open = a.state === "firing" || a.state === "pending", [title, why] = alertWords(a);
  return html`<li class=${`alert ${open ? `alarm is-${look(a)}` : ""}`}><div><p><span class=${`lone ${look(a)}`}><${Mark} of=${look(a)} /></span>
      <a class="strong plain" href=${place(a)}>${title}</a></p>
    ${why && html`<p class="soft">${why}</p>`}
    <p class="small faint">${a.severity} · ${a.name}${labels && ` · ${labels}`} · since <${Ago} at=${a.starts_at || a.since} />${a.ends_at && html`, over <${Ago} at=${a.ends_at} />`}</p></div>
    <div class="acts"><a class="btn" href=${place(a)}>Look</a>${open && html`<${Act} icon="bell" off=${refusal("device") || outside} onClick=${() => silence(a)}>Silence<//>`}</div></li>`;
}

function Silence({ alert: a, close, again }) {
  const [span, setSpan] = useState(SPANS[1]), [why, setWhy] = useState(""), [wrong, setWrong] = useState("");
  if (!a) return html`<${Dialog} open=${false} title="" onClose=${close} />`;
  const silence = async () => {
    const matchers = Object.entries(a.labels).map(([name, value]) => ({ name, value })), ends_at = new Date(Date.now() + 1000 * span[1]).toISOString();
    try {
      await api("/v1/silences", { method: "POST", body: { matchers, reason: why, ends_at } });
      said("off", `Silenced for ${span[0]}. The rule goes on judging.`);
      close();
      again();
    } catch (error) { setWrong(error.message); }
  };
  return html`<${Dialog} open=${true} title=${`Silence ${a.name}?`} onClose=${close} foot=${html`<button class="btn" onClick=${close}>Leave it as it is</button>
      <button class="btn main" onClick=${silence}>Silence for ${span[0]}</button>`}><div class="in stack tight">
    <p>${alertWords(a)[0]}</p><p class="soft">Nobody is told of it meanwhile. The rule goes on judging, and this page goes on showing it.</p>
    <label>For <select onChange=${(e) => setSpan(SPANS[e.target.selectedIndex])}>${SPANS.map((s) => html`<option selected=${s === span}>${s[0]}</option>`)}</select></label>
    <label class="field">Why, for those who come after you<input type="text" value=${why} onInput=${(e) => setWhy(e.target.value)} /></label>
    ${wrong && html`<p class="bad" role="alert">${wrong}</p>`}</div><//>`;
}

function Rules() {
  const { data } = useAsked("/v1/alert-rules", { topics: ["alerts"], every_s: 60 });
  if (!data) return null;
  const mark = (r) => (r.fault ? "warn" : r.alerts.firing ? (r.rule.severity === "critical" ? "bad" : "warn") : r.idle ? "off" : "good");
  return html`<${Panel} title="Rules" note=${data.source ? html`<span title=${data.source}>${data.source.split("/").at(-1)}</span>` : "those that ship"} foot=${html`<${Terminal} text="edgeward alert rules" />`}><ul class="feed two">${data.rules.map((r) => html`
    <li><${Lone} of=${mark(r)} /><span><b class="strong">${r.rule.name}</b>${(r.fault || r.idle || r.rule.summary) && html`<span class="sub small soft">${r.fault || r.idle || r.rule.summary}</span>`}</span>
      <span class="small faint">${r.rule.severity}</span></li>`)}</ul><//>`;
}

function Receivers() {
  const { data } = useAsked("/v1/alert-receivers", { every_s: 60 });
  if (!data) return null;
  return html`<${Panel} title="Where they go"><ul class="feed two">${data.map((r) => html`<li><${Lone} of=${r.error ? "warn" : "good"} /><span><b class="strong">${r.name}</b>
      <span class="sub small soft">${r.kind}, ${count(r.sent)} sent${r.error && `: ${r.error}`}</span></span><span class="small faint">${r.sent_at ? html`<${Ago} at=${r.sent_at} />` : "none yet"}</span></li>`)}
    ${!data.length && html`<li><${Lone} of="off" /><span class="soft">No receiver is configured: alerts stand on this page alone.</span><span /></li>`}</ul><//>`;
}

/** The filters of the address, and a state, as a question for the controller. */
function asking(query, state, limit, offset = 0) {
  const asked = new URLSearchParams({ state, limit, offset });
  FILTERS.forEach((key) => query.get(key) && asked.set(key, query.get(key)));
  return `/v1/alerts?${asked}`;
}

/** The alerts of one state: the newest beside other states, page by page alone. */
function Group({ state, note, query, alone, silence, outside }) {
  const page = alone ? pageOf(query) : 1, size = alone ? PAGE : FIRST, asked = useAsked(asking(query, state, size, (page - 1) * size), { topics: ["alerts"], every_s: 30 });
  const items = (asked.data?.items || []), total = asked.data?.total || 0, more = !alone && total > items.length;
  if (asked.error && !asked.data) return html`<${Panel} title=${plain(state)}><p class="in bad" role="alert">${asked.error.message}</p><//>`;
  if (!asked.data || !total) return null;
  return html`<${Panel} title=${state[0].toUpperCase() + state.slice(1)} note=${`${note}, ${count(total)}`}
      foot=${more && html`<button class="copy" onClick=${() => ask({ state })}>show all ${count(total)}</button>`}><ul>
      ${items.map((a) => html`<${One} alert=${a} silence=${silence} outside=${outside} key=${a.fingerprint + a.since} />`)}</ul>
    ${alone && total > size && html`<${Pager} unit="alerts" page=${page} pages=${Math.ceil(total / size)} from=${(page - 1) * size + 1} to=${(page - 1) * size + items.length} total=${total} go=${(n) => ask({ page: n }, { keepPage: true })} />`}<//>`;
}

export default function Alerts({ query }) {
  const only = query.get("state") || "", asked = useAsked(asking(query, "all", 1), { topics: ["alerts"], every_s: 30 }), [quiet, setQuiet] = useState(null), [turn, setTurn] = useState(0), outside = useScope("");
  const { data: models = [] } = useAsked("/v1/models", { topics: ["models"] }), filtered = FILTERS.some((key) => query.get(key));
  if (asked.error?.status === 404) return html`<${Nothing} what="This controller has no room for alerts">It is an older one. What is wrong with devices stands on the fleet's page.<//>`;
  return html`<${Asked} of=${asked} what="alert">${({ counts }) => {
    const shown = STATES.filter(([s]) => (!only || only === s) && counts[s]), none = only || filtered ? html`No alert fits. <button class="link" onClick=${() => go("/alerts")}>Take all filters off</button>` : "No rule has fired.";
    const again = () => { asked.again(); setTurn(turn + 1); };
    return html`<div class="head"><div><h1>Alerts</h1><p class="meta prose">A silence hides, it does not switch a rule off.</p></div>
        <div class="legend" role="group" aria-label="State">${STATES.map(([s]) => html`<button class="chip" aria-pressed=${String(only === s)} onClick=${() => ask({ state: only === s ? "" : s })}>
          <${Status} word=${s === "pending" ? "warning" : s}>${s}<//> <b class="strong">${count(counts[s])}</b></button>`)}</div></div>
      <div class="grid side"><div class="stack"><${Panel} label="Filters"><div class="filters"><${Field} name="q" label="Search alerts" holder="a rule, a label, a word of its sentence" query=${query} wide />
          <${Pick} name="severity" query=${query} options=${SEVERITIES} keep /><${Pick} name="model" query=${query} options=${models.map((m) => m.name)} />
          <${Field} name="device" label="Device, whole name" holder="device, whole name" query=${query} /><${Csv} label="Alerts" of=${{ ...FILE, path: asking(query, only || "all", 1) }} /></div><//>
        ${shown.map(([s, note]) => html`<${Group} state=${s} note=${note} query=${query} alone=${only === s} silence=${setQuiet} outside=${outside} key=${`${s}${turn}`} />`)}
        ${!shown.length && html`<${Panel} label="None" foot=${html`<${Terminal} text="edgeward alert list" />`}><p class="in soft">${none}</p><//>`}</div>
        <div class="stack"><${Rules} /><${Receivers} /></div></div>
      <${Silence} alert=${quiet} close=${() => setQuiet(null)} again=${again} key=${quiet?.fingerprint} />`;
  }}<//>`;
}
