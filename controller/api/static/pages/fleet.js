// Is it fine, and if not, where? What asks for somebody first, then every device, what answers, what has changed, and the table.
import { html, useRef, Panel, Pill, Lone, Parts, Ago, Said, count, many, percent, plain, bytes, alertWords } from "../ui.js";
import { address, state, useAsked } from "../store.js";
import { Asked, FirstRun } from "./states.js";
import { Every } from "./fleet_cells.js";
import { Devices } from "./fleet_devices.js";

/** 1: on its way in an open rollout, 2: what most devices run, 3: the others. */
export function ranked(fleet, model, release) {
  const coming = fleet.rollouts.find((r) => r.model === model && ["running", "paused", "proposed"].includes(r.status))?.release;
  if (release === coming) return 1;
  const rest = fleet.serving.filter((s) => s.model === model && s.release !== coming);
  return release === Math.max(...rest.map((s) => s.release)) ? 2 : 3;
}

const MOST_ALERTS = 5;

/** Firing alerts, what is wrong with the controller, and devices that are to blame for what fails on them. */
function Alarms({ fleet }) {
  const { data } = useAsked("/v1/alerts?state=firing", { topics: ["alerts"], every_s: 60 });
  const alerts = (data?.items || []).slice(0, MOST_ALERTS).map((a) => [a.severity === "critical" ? "bad" : "warn", ...alertWords(a), a.starts_at]);
  const findings = fleet.findings.map((f) => ["bad", `The controller: ${plain(f.code)}`, f.detail]);
  const sick = fleet.sick.map((s) => ["warn", `${s.device} is to blame for what fails on it`, `${s.model}: ${s.detail}`]);
  const all = [...alerts, ...findings, ...sick];
  if (!all.length) return null;
  return html`<section class="panel" aria-label="What asks for somebody"><ul class="alarms">${all.map(([look, what, why, at]) => html`
    <li class=${`alarm is-${look}`}><${Lone} of=${look} /><span class="what">${what}</span><span class="numbers">${why}</span>
    ${at && html`<span class="when"><${Ago} at=${at} /> · <a href="/alerts?state=firing">alerts</a></span>`}</li>`)}</ul></section>`;
}

const Num = ({ word, mark, children, sub, href }) => html`<div class="num"><dt>${mark && html`<${Lone} of=${mark} />`}${word}</dt>
  <dd>${href ? html`<a href=${href} aria-label=${`${word}: ${children}`}>${children}</a>` : children} ${sub && html`<small>${sub}</small>`}</dd></div>`;

/** A rate in the unit in which it is a number of one digit or more. */
const per = (rate) => (rate >= 1 || !rate ? `${count(Math.round(rate))}/s` : rate >= 1 / 60 ? `${Math.round(rate * 60)}/min` : `${Math.round(rate * 3600)}/h`);

/** Inferences in a second, from two answers about all that devices have counted. */
function useRate(fleet, at) {
  const before = useRef([]), total = fleet.serving.reduce((sum, s) => sum + s.inferences, 0);
  const seen = before.current;
  if (!seen.length || seen.at(-1)[0] !== at) before.current = [...seen, [at, total]].filter(([t]) => at - t < 120);
  const [first, last] = [before.current[0], before.current.at(-1)];
  return last[0] - first[0] >= 5 && last[1] >= first[1] ? (last[1] - first[1]) / (last[0] - first[0]) : null;
}

function Numbers({ fleet, at }) {
  const rate = useRate(fleet, at), live = state.fleet || fleet, there = live.presence, ill = state.fleet?.health || {};
  const done = fleet.serving.reduce((sum, s) => sum + s.inferences, 0), failed = fleet.serving.reduce((sum, s) => sum + s.errors, 0);
  return html`<section class="panel" aria-label="In numbers"><dl class="in numbers-row">
    <${Num} word="devices">${count(live.devices)}<//>
    <${Num} word="online" mark="good" sub=${live.devices ? percent((there.online || 0) / live.devices) : ""}>${count(there.online)}<//>
    <${Num} word="silent" mark="quiet" href="/fleet?presence=silent">${count(there.silent)}<//>
    <${Num} word="offline" mark="off" href="/fleet?presence=offline">${count(there.offline)}<//>
    <${Num} word="failing" mark="bad" href="/fleet?health=failing">${count(ill.failing)}<//>
    <${Num} word="inferences" sub=${rate === null ? "since start" : `since start, ${per(rate)}`}>${count(done)}<//>
    <${Num} word="of them failed" sub="since start">${done ? percent(failed / done, failed ? 3 : 0) : "none"}<//>
    <${Num} word="received since start">${bytes(fleet.bytes_received)}<//></dl></section>`;
}

function Answers({ fleet }) {
  const models = [...new Set(fleet.serving.map((s) => s.model))];
  if (!models.length) return null;
  return html`<${Panel} title="What answers" note="devices by version"><div class="in grid third">${models.map((m) => {
    const all = fleet.serving.filter((s) => s.model === m).sort((a, b) => b.release - a.release);
    return html`<div key=${m}><div class="between"><a href=${address("models", m)} class="strong plain">${m}</a><span class="soft">${count(all.reduce((n, s) => n + s.devices, 0))}</span></div>
      <${Parts} parts=${all.map((s) => [`v${ranked(fleet, m, s.release)}`, s.devices, `from v${s.release}`])} />
      <div class="outcomes">${all.map((s) => html`<a class="plain" href=${`/fleet?model=${encodeURIComponent(m)}&version=${s.release}`}>
        <span class=${`swatch p-v${ranked(fleet, m, s.release)}`} /> ${s.release ? `v${s.release}` : "unknown"} <b class="strong">${count(s.devices)}</b></a>`)}</div>
      ${all.filter((s) => s.unsure).map((s) => html`<p class="small soft">v${s.release} was on trial on ${many(s.unsure, "device")} when last heard: not counted.</p>`)}
      ${all.filter((s) => s.lost).map((s) => html`<p class="small warn">v${s.release} on ${many(s.lost, "device")} is not in the registry, as after a restore: push it again, or roll another version out.</p>`)}</div>`;
  })}</div><//>`;
}

const LOOKS = { succeeded: "good", failed: "bad", rejected: "bad", silent: "bad", regressed: "bad", pending: "busy", absent: "off", waiting: "wait" };

function UnderWay({ fleet }) {
  const open = fleet.rollouts.filter((r) => ["proposed", "running", "paused", "rolling_back", "aborting"].includes(r.status));
  const one = (r) => {
    const parts = Object.entries(r.counts || {}).map(([word, n]) => [LOOKS[word] || "off", n, plain(word)]);
    const words = parts.filter((p) => p[1]).map(([, n, word]) => `${count(n)} ${word}`).join(", ");
    return html`<div key=${r.id}><div class="between"><a class="strong" href=${address("rollouts", r.id)}>${r.model} v${r.release}</a><${Pill} word=${r.status} /></div>
      ${parts.length > 0 && html`<${Parts} parts=${parts} />`}<p class="small soft">${r.status === "proposed"
        ? `Waits for somebody other than ${r.created_by.replace("local:", "")} to approve its plan.` : `Wave ${r.wave + 1} of ${r.waves}${words ? `: ${words}.` : "."}`}</p></div>`;
  };
  return html`<${Panel} title="Under way" end=${html`<a class="small" href="/rollouts">all rollouts</a>`}>
    <div class="in stack tight">${open.map(one)}${!open.length && html`<p class="soft">No rollout is open.</p>`}</div><//>`;
}

const WHERE = { rollout: "rollouts", device: "devices", model: "models" };

function Changes() {
  const { data, error } = useAsked("/v1/changes?hours=24", { topics: ["fleet", "rollouts", "models"] });
  const words = (c) => (WHERE[c.kind] && c.kind !== "rollout" ? html`<a href=${address(WHERE[c.kind], c.subject)}>${c.text}</a>` : html`<span><${Said} words=${c.text} /></span>`);
  return html`<${Panel} title="Last 24 hours" end=${html`<a class="small" href="/audit">audit</a>`}><ul class="feed">
    ${(data || []).slice(0, 9).map((c) => html`<li><${Lone} of=${c.look} />${words(c)}<${Ago} at=${c.at} /></li>`)}
    ${data && !data.length && html`<li><span /><span class="soft">Nothing has changed.</span></li>`}
    ${!data && html`<li><span /><span class="soft">${error ? error.message : "asking"}</span></li>`}</ul><//>`;
}

/** What is wrong with sensors and sinks, and what is on its way now: shown while there is something. */
function Work({ fleet }) {
  const lost = fleet.failing_sources, moving = fleet.transfers;
  if (!lost.length && !moving.length) return null;
  return html`<div class=${lost.length && moving.length ? "grid half" : ""}>${lost.length > 0 && html`<${Panel} title="Sensors and sinks" note=${lost.length === 1 ? "1 does not work" : `${count(lost.length)} do not work`}><ul class="feed two">${lost.slice(0, 6).map((s) => html`
      <li><${Lone} of="warn" /><span><a href=${address("devices", s.device)}>${s.device}</a> ${s.name} <span class="soft">${s.error}</span></span><span class="small warn">${s.state}</span></li>`)}</ul><//>`}
    ${moving.length > 0 && html`<${Panel} title="On its way" note=${`${bytes(fleet.bytes_s)}/s`}><ul class="feed two">${moving.slice(0, 6).map((t) => html`
      <li><${Lone} of="busy" /><span><a href=${address("devices", t.device)}>${t.device}</a> <span class="nowrap">${t.model} v${t.release}</span></span>
      <span class="small soft">${bytes(t.done_bytes)} of ${bytes(t.total_bytes)}</span></li>`)}</ul><//>`}</div>`;
}

export default function Fleet({ query }) {
  const asked = useAsked("/v1/fleet", { topics: ["fleet", "rollouts"], every_s: 20 });
  return html`<${Asked} of=${asked} what="fleet">${(fleet) => (!fleet.devices ? html`<${FirstRun} />` : html`<h1 class="hide">Fleet</h1><div class="stack">
    <${Alarms} fleet=${fleet} /><${Numbers} fleet=${fleet} at=${asked.at} />
    <div class="grid side"><div class="stack"><${Every} fleet=${fleet} query=${query} /><${Answers} fleet=${fleet} /><${Work} fleet=${fleet} /></div>
      <div class="stack"><${UnderWay} fleet=${fleet} /><${Changes} /></div></div>
    <${Devices} query=${query} fleet=${fleet} /></div>`)}<//>`;
}
