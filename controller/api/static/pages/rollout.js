// Where does it stand, what does it wait for, which rule says what with which numbers, and what may I do?
import { html, Csv, useState, Panel, Status, Pill, Lone, Interval, Terminal, Ago, Copy, Said, bytes, count, kind, lasting, percent, plain, seconds, stamp } from "../ui.js";
import { Plot } from "../plot.js";
import { address, ask, useAsked } from "../store.js";
import { Waves } from "../waves.js";
import { Approval, Buttons } from "../steering.js";
import { Discussion } from "../discussion.js";
import { brief, follows, isBelow, levelOf, range, says, scaleOf, series, word } from "../verdicts.js";
import { Asked } from "./states.js";

const TOPICS = { topics: ["rollouts"], every_s: 15 };
const UNCONFIRMED = ["failed", "rejected", "silent", "regressed", "pending", "absent"];
const FIRST = 9, MORE = 100;

function Stands({ r, path }) {
  const { data } = useAsked(`${path}/explain`, TOPICS), [what, ...lines] = data?.sentences || [];
  const [first, ...more] = lines.length ? lines : [what || "Asking the controller."];
  return html`<${Panel} title="Where it stands" end=${html`<${Terminal} text=${`edgeward rollout explain ${r.id}`} />`}><div class="in lead">
    <p><${Said} words=${first} /></p>${more.map((line) => html`<p>${line}</p>`)}${r.left && html`<p>${r.left}</p>`}</div><//>`;
}

function RuleButton({ v, index, chosen, all }) {
  const f = v.figures, s = scaleOf(v), [low, high] = range(all, v.metric), by = (x) => Math.min(high, Math.max(low, x)) * s.by;
  return html`<button class="rule" aria-pressed=${String(index === chosen)} onClick=${() => ask({ rule: index }, { keepPage: true })}><${Lone} of=${kind(word(v))} />
    <span class="name"><b class="strong">${v.metric}</b>${v.stratum && html` <span class="soft">on ${v.stratum}</span>`}</span>
    <b class=${`says-word ${kind(word(v))}`}>${says(v) || plain(v.verdict)}</b><span class="t">${brief(v)}</span>
    ${f ? html`<${Interval} lo=${by(f.low)} value=${by(f.value)} hi=${by(f.high)} limit=${f.limit * s.by} low=${low * s.by} high=${high * s.by} verdict=${v.verdict}
      below=${isBelow(v)} zero=${s.zero} />` : html`<span />`}</button>`;
}

/** The interval that decides, over time, and below it both sides under one cursor. */
function Curves({ v, found, marks }) {
  const s = scaleOf(v), one = series(found, v.rule, v.stratum), level = levelOf(v.metric), count1 = one.t.length;
  if (!count1) return html`<p class="soft">No interval has been kept yet: a first one comes with the next verdict.</p>`;
  const limit = { value: v.figures.limit * s.by, below: isBelow(v), label: `${isBelow(v) ? "asked for" : "allowed"}: ${s.limit(v.figures.limit * s.by)}` };
  const [low, high] = range([v, ...found.filter((p) => p.rule === v.rule && p.stratum === v.stratum)], v.metric), span = [low * s.by, high * s.by];
  const clip = (values) => values.map((x) => (x == null ? null : Math.min(span[1] * 2, Math.max(span[0] - span[1], x))));
  const counted = v.figures.unit === "devices", name = counted ? "share of devices, with what it can become" : `${plain(v.metric)}, interval`;
  return html`<${Plot} key=${`a${v.rule}${v.stratum}`} label=${`${v.metric} against its limit`} t=${one.t} height=${190} sync="rule" range=${span} format=${s.show} ticks=${s.ticks} limit=${limit} marks=${marks}
      series=${[{ label: name, values: one.value, band: [clip(one.low), clip(one.high)], colour: "--accent", points: count1 < 3 }]} />
    ${one.trial.some((x) => x != null) && html`<${Plot} key=${`b${v.rule}${v.stratum}`} label=${`${level.label}, trial against control`} t=${one.t} height=${140} sync="rule" format=${level.show} marks=${marks}
      series=${[{ label: `${level.label}, trial`, values: one.trial, colour: "--accent", points: count1 < 3 }, { label: "control", values: one.control, colour: "--ink3", dash: "dash", points: count1 < 3 }]} />`}`;
}

function Power({ f, v }) {
  if (!f || f.unit === "devices") return "";
  const s = scaleOf(v), sides = f.devices_beside ? ` against ${count(f.devices_beside)}` : "", n = `${count(f.samples)}${f.samples_beside ? ` against ${count(f.samples_beside)}` : ""} samples`;
  const finds = Number.isFinite(f.finds) && Math.abs(f.finds) < 1 ? ` A value of ${s.limit(f.finds * s.by)} is found with 80 %.` : "";
  return ` It rests on ${count(f.devices)}${sides} devices and ${n}.${isBelow(v) ? "" : finds}`;
}

function Rules({ r, path, query, events }) {
  const all = r.verdicts, { data: found } = useAsked(`${path}/verdicts`, TOPICS);
  const index = Math.min(all.length - 1, Math.max(0, Number(query.get("rule")) || 0)), v = all[index];
  const marks = events.filter((e) => e.kind === "wave" || e.action === "rollout start").map((e) => [seconds(e.at), e.action === "rollout start" ? "wave 1" : (e.text.match(/wave \d+(?= of| begins)/g) || ["wave"]).at(-1)]);
  if (!v) return html`<${Panel} title="Rules"><p class="in soft">${r.open ? "No rule has said anything yet." : "No verdict of this rollout is kept in memory: its events below say how it was judged."}</p><//>`;
  return html`<div class="grid rules-and-one" data-fold="rules"><${Panel} title="Rules" note="intervals hold at every look"><div role="group" aria-label="Rules">
      ${all.map((one, i) => html`<${RuleButton} v=${one} index=${i} chosen=${index} all=${all} key=${`${one.rule}${one.stratum}`} />`)}</div><//>
    <${Panel} title=${`${v.metric}${v.stratum ? ` on ${v.stratum}` : ""}`} end=${html`<${Pill} word=${word(v)} />`}><div class="in stack tight">
      <p class="says">${v.detail}. <span class="soft">If it fails, ${follows(v.on_fail)}.<${Power} f=${v.figures} v=${v} /></span></p>
      ${v.figures ? html`<${Curves} v=${v} found=${found || []} marks=${marks} />` : html`<p class="soft">It has no number yet, so there is nothing to draw.</p>`}
      <p class="faint small">${v.figures?.unit === "devices" ? "The band is what the share can become with the devices that have not decided."
        : "Beside it: the same kind of device, in the same minutes. The unit is the device, so that a few talkative ones do not decide. The interval is wrong in at most 1 of 100 rollouts, however often it is looked at."}</p></div><//></div>`;
}

const LOOK = { proposed: "off", running: "busy", wave: "busy", paused: "warn", ended: "off", failed: "bad", verdict: "off", written: "off", other: "off" };
const lookOf = (e) => (e.action === "rollout completed" ? "good" : /roll(ed )?back/.test(e.action) ? "bad" : e.action !== "verdict" ? LOOK[e.kind]
  : e.text.includes(" passes: ") ? "good" : e.text.includes("has failed") ? "bad" : "ask");

function Events({ r, events }) {
  const [all, setAll] = useState(false), shown = [...events].reverse().slice(0, all ? 500 : 14);
  return html`<${Panel} title="Events" note=${count(events.length)} end=${html`<${Terminal} text=${`edgeward rollout timeline ${r.id}`} />`}
    foot=${!all && events.length > 14 && html`<button class="copy" onClick=${() => setAll(true)}>show all ${count(events.length)}</button>`}>
    <div class="in"><ol class="story">${shown.map((e) => html`<li><${Lone} of=${lookOf(e)} /><time datetime=${e.at}>${stamp(seconds(e.at))} · ${plain(e.action.replace("rollout ", ""))}${e.by !== "controller" ? ` by ${e.by}` : ""}</time>
      ${e.device && html`<a href=${address("devices", e.device)}>${e.device}</a>: `}<${Said} words=${e.text} /></li>`)}</ol></div><//>`;
}

function Plan({ r, path }) {
  const { data: plan } = useAsked(`${path}/plan`, { topics: [] }), x = r.exposure, left = Object.entries(r.excluded), t = r.transfer, back = Object.entries(plan?.no_way_back || {});
  return html`<${Panel} title="Plan" end=${html`<${Copy} text=${r.plan_digest}>${r.plan_digest.slice(0, 12)}<//>`}><div class="in stack tight"><dl class="cols">
      <dt>started by</dt><dd>${r.created_by}, ${stamp(seconds(r.created_at))}</dd>${r.approved_by && html`<dt>approved by</dt><dd>${r.approved_by}, this very plan</dd>`}
      ${x && html`<dt>exposure so far</dt><dd>${x.device_hours.toFixed(1)} device-hours, ${count(x.predictions)} predictions${x.predictions ? ` (${percent(x.predictions_ratio)} of these devices')` : ""}</dd>
        <dt>at most</dt><dd>${x.device_hours_at_most.toFixed(1)} device-hours by the end of this wave</dd>`}
      ${(r.open ? t.total_bytes : t.done_bytes) > 0 && html`<dt>bytes</dt><dd>${bytes(t.done_bytes)}${r.open ? ` of ${bytes(t.total_bytes)}` : ""} received${r.open && t.eta_s && t.done_bytes < t.total_bytes ? `, ${lasting(t.eta_s)} to go` : ""}</dd>`}
      <dt>way back</dt><dd>${plan ? (back.length ? `none on ${count(back.length)} of ${count(r.devices)}: ${back[0][0]}, ${back[0][1]}` : `on all ${count(r.devices)}`) : "asking"}</dd></dl>
    ${plan?.warnings.map((line) => html`<p class="warn">${line}</p>`)}
    ${plan && html`<div><h3>What the rules can find in the first wave</h3><ul class="small soft">${plan.power.map((line) => html`<li>${line}</li>`)}</ul></div>`}
    ${left.length > 0 && html`<div><h3>Left out: ${count(left.length)}</h3><ul class="small soft">${left.slice(0, 5).map(([device, reason]) => html`<li><a href=${address("devices", device)}>${device}</a>: ${reason}</li>`)}
      ${left.length > 5 && html`<li>and ${count(left.length - 5)} more</li>`}</ul></div>`}</div><//>`;
}

const FILE = { head: ["device", "outcome", "phase", "code", "detail", "stratum"], key: "members", row: (m) => [m.device, m.outcome, m.phase, m.code, m.detail, m.stratum] };

function Unconfirmed({ r, path }) {
  const [all, setAll] = useState(false), query = new URLSearchParams([...UNCONFIRMED.map((o) => ["outcome", o]), ["limit", all ? MORE : FIRST]]);
  const { data } = useAsked(`${path}/members?${query}`, TOPICS), list = [...(data?.members || [])].sort((a, b) => UNCONFIRMED.indexOf(a.outcome) - UNCONFIRMED.indexOf(b.outcome));
  return html`<${Panel} title=${r.open ? "Devices that have not confirmed" : "Devices on which it failed"} note=${count(data?.total)} end=${list.length > 0 && html`<${Csv} label="Devices that have not confirmed" of=${{ ...FILE, path: `${path}/members?${query}` }} />`} foot=${data?.total > list.length && html`<button class="copy" onClick=${() => setAll(true)}>show ${data.total > MORE ? `${MORE} of ` : "all "}${count(data.total)}</button>`}>
    ${list.length ? html`<table class="fixed"><tbody>${list.map((m) => html`<tr class="go" key=${m.device}><td><a href=${address("devices", m.device)}>${m.device}</a><span class="sub wrap">${[m.code, m.detail].filter(Boolean).join(": ") || plain(m.phase) || m.stratum}</span></td>
      <td class="figure"><${Status} word=${m.outcome} /></td></tr>`)}</tbody></table>` : html`<p class="in soft">${data ? "None." : "Asking the controller."}</p>`}<//>`;
}

export default function Rollout({ name, query }) {
  const path = `/v1${address("rollouts", name)}`, asked = useAsked(path, TOPICS), { data: events = [], again } = useAsked(`${path}/events`, TOPICS);
  const changed = () => { asked.again(); again(); };
  return html`<${Asked} of=${asked} what=${`rollout ${name}`}>${(r) => html`<div class="head"><div><p class="crumb"><a href="/rollouts">Rollouts</a></p>
      <h1><a class="plain" href=${address("models", r.model)}>${r.model}</a> v${r.release} <${Pill} word=${r.status} /></h1>
      <p class="meta"><span>by <b>${r.strategy}</b></span><span>started by <b>${r.created_by}</b>${r.approved_by && html`, approved by <b>${r.approved_by}</b>`}</span>${r.retry_of && html`<span>a retry of <a href=${address("rollouts", r.retry_of)}>${r.retry_of}</a></span>`}
        <span><${Ago} at=${r.created_at} /></span><${Copy} text=${r.id} /></p></div><${Buttons} r=${r} changed=${changed} /></div>
    <div class="stack"><${Stands} r=${r} path=${path} />${r.status === "proposed" && html`<${Panel} title="Approval"><${Approval} r=${r} changed=${changed} /><//>`}
      <${Waves} r=${r} /><${Rules} r=${r} path=${path} query=${query} events=${events} />
      <div class="grid third"><${Events} r=${r} events=${events} /><${Plan} r=${r} path=${path} /><div class="stack"><${Unconfirmed} r=${r} path=${path} /><${Discussion} what="rollout" id=${name} /></div></div></div>`}<//>`;
}
