// What asks for somebody, since when, and who knows of it already.
import { html, useState, Panel, Status, Mark, Lone, Act, Ago, Dialog, Terminal, count, plain } from "../ui.js";
import { api, ask, refusal, said, useAsked, useScope } from "../store.js";
import { Asked, Nothing } from "./states.js";

const STATES = [["firing", "asks for somebody now"], ["pending", "true, not yet for long enough"], ["silenced", "somebody knows"],
  ["inhibited", "another alert says more"], ["resolved", "over"]];
const SPANS = [["30 min", 1800], ["2 h", 7200], ["8 h", 28800], ["24 h", 86400]];
/** Resolved alerts that are shown: the newest. */
const MOST_RESOLVED = 20;
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
  const open = a.state === "firing" || a.state === "pending";
  return html`<li class=${`alert ${open ? `alarm is-${look(a)}` : ""}`}><div><p><span class=${`lone ${look(a)}`}><${Mark} of=${look(a)} /></span>
      <a class="strong plain" href=${place(a)}>${a.annotations.summary || plain(a.name)}</a></p>
    ${a.annotations.description && html`<p class="soft">${a.annotations.description}</p>`}
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
    <p>${a.annotations.summary || plain(a.name)}</p><p class="soft">Nobody is told of it meanwhile. The rule goes on judging, and this page goes on showing it.</p>
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

export default function Alerts({ query }) {
  const only = query.get("state") || "", asked = useAsked("/v1/alerts?state=all&limit=1000", { topics: ["alerts"], every_s: 30 }), [quiet, setQuiet] = useState(null), outside = useScope("");
  if (asked.error?.status === 404) return html`<${Nothing} what="This controller has no room for alerts">It is an older one. What is wrong with devices stands on the fleet's page.<//>`;
  return html`<${Asked} of=${asked} what="alert">${({ items }) => {
    const n = (s) => items.filter((a) => a.state === s).length, shown = STATES.filter(([s]) => (!only || only === s) && n(s));
    return html`<div class="head"><div><h1>Alerts</h1><p class="meta prose">A silence hides, it does not switch a rule off.</p></div>
        <div class="legend" role="group" aria-label="State">${STATES.map(([s]) => html`<button class="chip" aria-pressed=${String(only === s)} onClick=${() => ask({ state: only === s ? "" : s })}>
          <${Status} word=${s === "pending" ? "warning" : s}>${s}<//> <b class="strong">${count(n(s))}</b></button>`)}</div></div>
      <div class="grid side"><div class="stack">${shown.map(([s, note]) => html`<${Panel} title=${s[0].toUpperCase() + s.slice(1)} note=${note} key=${s}><ul>
          ${items.filter((a) => a.state === s).slice(0, s === "resolved" ? MOST_RESOLVED : undefined).map((a) => html`<${One} alert=${a} silence=${setQuiet} outside=${outside} key=${a.fingerprint} />`)}</ul><//>`)}
        ${!shown.length && html`<${Panel} label="None" foot=${html`<${Terminal} text="edgeward alert list" />`}><p class="in soft">${only ? `Nothing is ${only}.` : "No rule has fired."}</p><//>`}</div>
        <div class="stack"><${Rules} /><${Receivers} /></div></div>
      <${Silence} alert=${quiet} close=${() => setQuiet(null)} again=${asked.again} key=${quiet?.fingerprint} />`;
  }}<//>`;
}
