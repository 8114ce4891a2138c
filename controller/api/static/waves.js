// Waves of a rollout: one row a wave, one column a kind of device, a bar of outcomes with its counts.
import { html, Panel, Parts, count, kind, lasting, plain } from "./ui.js";

/** Every outcome with the look of its part of a bar, in the order of the bar. */
const OUTCOMES = [["succeeded", "good"], ["failed", "bad"], ["rejected", "bad"], ["silent", "bad"], ["regressed", "bad"], ["sent_back", "warn"],
  ["pending", "busy"], ["absent", "off"], ["stopped", "off"], ["retired", "off"], ["pinned", "warn"], ["waiting", "wait"]];
export const partsOf = (counts) => OUTCOMES.map(([word, look]) => [look, counts[word] || 0, plain(word)]);
const totalOf = (counts) => Object.values(counts).reduce((sum, n) => sum + n, 0);
const MOST_KINDS = 4;

/** What the colours mean: the usual four, and every other outcome that this rollout has. */
const USUAL = ["succeeded", "failed", "pending", "absent"];
function Legend({ progress }) {
  const words = OUTCOMES.filter(([word]) => USUAL.includes(word) || (word !== "waiting" && progress.some((w) => w.counts[word])));
  return html`<span class="outcomes lo">${words.map(([word, look]) =>
    html`<span class="nowrap"><span class="parts key"><i class=${`p-${look}`} /></span> ${plain(word)}</span>`)}</span>`;
}

function Cell({ counts, devices, later, of, all, here }) {
  const n = totalOf(counts) || devices, told = OUTCOMES.map(([w]) => w).filter((w) => w !== "succeeded" && w !== "waiting" && counts[w]);
  return html`<div class=${`cell ${all ? "all" : ""} ${here} ${later ? "not-yet" : ""}`} data-of=${of}>${later
    ? html`<span class="small">${count(n)}${all ? " waiting" : ""}</span>`
    : n ? html`<${Parts} parts=${partsOf(counts)} /><div class="outcomes"><span class="nowrap">${count(counts.succeeded || 0)} of ${count(n)}</span>
      ${told.map((w) => html`<span class=${`nowrap ${kind(w)}`}>${count(counts[w])} ${plain(w)}</span>`)}</div>` : html`<span class="small faint">none</span>`}</div>`;
}

function aim(w) {
  const mode = w.mode === "shadow" ? " as a shadow" : "";
  return `${w.percent != null ? `to ${w.percent} %` : count(w.devices)}${mode}`;
}

function note(w, open) {
  const soak = w.soak_s ? `soaks ${lasting(w.soak_s)}` : "", hold = w.hold ? "then waits for a person" : "";
  if (w.state === "done" || !open) return w.state === "waiting" ? "not begun" : soak.replace("soaks", "soaked");
  if (w.state === "waiting") return [soak, hold].filter(Boolean).join(", ");
  return ["now", w.left_s >= 1 ? `${lasting(w.left_s)} left at least` : soak && "soaked", hold].filter(Boolean).join(", ");
}

/** `kinds` beyond the four largest are added up in one column. */
export function Waves({ r }) {
  const sums = {};
  for (const w of r.progress) for (const [name, counts] of Object.entries(w.strata)) sums[name] = (sums[name] || 0) + totalOf(counts);
  const ordered = Object.keys(sums).sort((a, b) => sums[b] - sums[a]), shown = ordered.length === 1 ? [] : ordered.slice(0, MOST_KINDS), rest = ordered.slice(shown.length && MOST_KINDS);
  const others = shown.length ? rest : [], columns = [...shown, ...(others.length ? [`${others.length} more kinds`] : [])];
  const restOf = (w) => others.reduce((sum, name) => Object.entries(w.strata[name] || {}).reduce((all, [word, n]) => ({ ...all, [word]: (all[word] || 0) + n }), sum), {});
  const left = Object.keys(r.excluded).length, going = ["running", "paused"].includes(r.status);
  return html`<${Panel} title="Waves" note=${`${count(r.devices)} ${r.devices === 1 ? "device" : "devices"} by the order of their hash${left ? `; ${count(left)} left out` : ""}`} end=${html`<${Legend} progress=${r.progress} />`}>
    <div class="waves free" style=${{ gridTemplateColumns: `13rem ${columns.length ? `1.3fr repeat(${columns.length}, 1fr)` : "1fr"}` }}>
    <div class="th first">wave</div><div class="th">all</div>${columns.map((s) => html`<div class="th">${s || "any kind"}</div>`)}
    ${r.progress.map((w) => { const here = w.state === "now" && going ? "here" : "", later = w.state === "waiting"; return [
      html`<div class=${`first ${here} ${later ? "not-yet" : ""}`}><b class="strong">Wave ${w.wave + 1}</b> <span class="soft">${aim(w)}</span>
        <span class="small faint sub">${note(w, going)}</span></div>`,
      html`<${Cell} all counts=${w.counts} devices=${w.devices} later=${later} here=${here} />`,
      ...shown.map((s) => html`<${Cell} counts=${w.strata[s] || {}} devices=${0} later=${later} here=${here} of=${s || "any kind"} />`),
      others.length ? html`<${Cell} counts=${restOf(w)} devices=${0} later=${later} here=${here} of=${columns.at(-1)} />` : "",
    ]; })}</div><//>`;
}
