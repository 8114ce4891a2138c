// What a model meets in the field: what has moved, estimated quality, fairness, labels that are wanted, and retraining.
// Decides how it is drawn. Refuses to judge: limits and sentences are the controller's.
import { html, useState, Act, Ago, Interval, Lone, Panel, Said, Table, Terminal, count, many, percent, plain } from "./ui.js";
import { Bins, sharesOf } from "./bins.js";
import { address, api, refusal, said, useAsked, useScope } from "./store.js";

const MOST_MOVED = 8;
const MOST_DECISIONS = 5;
const beyond = (m) => m.limit != null && m.distance > m.limit;

function One({ r, top }) {
  const m = r.moved, limit = m.limit ?? undefined, parts = sharesOf(r.bins || []);
  return html`<li><h3><span class="strong">${r.what}</span><span class=${beyond(m) ? "warn" : "soft"}>${percent(m.distance)}</span></h3>
    <${Interval} lo=${0} value=${m.distance} hi=${m.distance} limit=${limit} low=${0} high=${top} zero=${m.usual ?? undefined} verdict=${beyond(m) ? "warning" : "waiting"} />
    ${parts.length > 0 && html`<${Bins} parts=${parts} label=${`${r.what} by ${parts.length} bins, now against the weeks before: ${percent(m.distance)} of the rows lie elsewhere. A table follows the list.`} />
      <p class="ends"><span>${parts[0][0]}</span><span>${parts.at(-1)[0]}</span></p>`}
    <p class="small soft">more in ${r.towards}${m.limit == null ? "; its past is too short for a limit" : `; its own past explains ${percent(m.limit)}`}</p></li>`;
}

/** The same pictures in numbers. */
function InNumbers({ shown }) {
  const [open, setOpen] = useState(false), share = (p) => (p == null ? "–" : percent(p)), rows = shown.flatMap((r) => sharesOf(r.bins || []).map((p) => [r.what, ...p]));
  return html`<details class="twin" onToggle=${(e) => setOpen(e.target.open)}><summary>table<span class="hide"> of what has moved, by bin</span></summary>${open && html`<${Table} label="What has moved by bin, table" head=${html`<th>what</th><th>bin</th><th class="figure">now</th><th class="figure">before</th><th class="figure">sample</th>`}>
    ${rows.map(([what, words, ...shares]) => html`<tr key=${what + words}><td class="strong">${what}</td><td>${words}</td>${shares.map((p) => html`<td class="figure">${share(p)}</td>`)}</tr>`)}<//>`}</details>`;
}

/** What has moved, most first, each on the same scale: a diagnosis, and no alarm. */
function Drift({ model, found }) {
  const shown = found.moved.slice(0, MOST_MOVED), top = 1.1 * Math.max(0.1, ...shown.flatMap((r) => [r.moved.distance, r.moved.limit ?? 0]));
  const q = found.quality_estimate;
  return html`<${Panel} title="What has moved" note=${`v${found.release}, newest ${found.days} days against the weeks before, ${many(found.devices, "device")}`}
      end=${html`<${Terminal} text=${`edgeward model drift ${model}`} />`} foot=${found.moved.length > MOST_MOVED && `${found.moved.length - MOST_MOVED} more moved less.`}><div class="in stack tight">
    <p>${found.says}</p>${shown.length > 0 && html`<ul class="small-multiples">${shown.map((r) => html`<${One} key=${`${r.sort}${r.what}`} r=${r} top=${top} />`)}</ul>
      <p class="outcomes small soft"><span><span class="bin-key has" /> rows now</span><span><span class="bin-key over" /> more than before</span><span><span class="bin-key gap" /> fewer than before</span><span><span class="bin-key line" /> the weeks before</span><span><span class="bin-key sample" /> the sample it was made with</span></p><${InNumbers} shown=${shown} />`}
    <p><${Lone} of=${q.valid ? "good" : "off"} /> ${q.value == null ? "Quality without labels can’t be told" : html`Estimated accuracy without labels <b class="strong">${q.value.toFixed(3)}</b> [${q.low.toFixed(3)}, ${q.high.toFixed(3)}]`}:
      <span class="soft"> ${q.valid ? "it may be relied on" : "not to be relied on"}, ${q.why}.</span></p>
    ${found.breaches.map((b) => html`<p class="small" key=${b.what + b.kind}><${Lone} of="warn" /> ${percent(b.rate)} of the rows have ${b.what} ${plain(b.kind)}.</p>`)}</div><//>`;
}

/** What groups got, by column; small groups are counted and not shown. */
function Fairness({ columns }) {
  return html`${columns.map((c) => html`<${Panel} key=${c.column} title=${`Fairness by ${c.column}`} note=${c.suppressed > 0 ? `${many(c.suppressed, "group")} too small to be shown` : ""}
      foot=${c.difference.value != null && `Demographic parity difference ${c.difference.value.toFixed(3)} [${c.difference.low.toFixed(3)}, ${c.difference.high.toFixed(3)}]`}>
    <${Table} label=${`Fairness by ${c.column}, table`} head=${html`<th>group</th><th class="figure">rows</th><th class="figure">chosen</th>`}>
    ${c.groups.map((g) => html`<tr key=${g.value}><td class="strong">${g.value}</td><td class="figure">${count(g.rows)}</td><td class="figure">${g.selection.value == null ? "–" : percent(g.selection.value)}</td></tr>`)}<//><//>`)}`;
}

/** Rows that somebody is asked about today, one at a time. */
export function Labels({ path, model }) {
  const { data, again } = useAsked(`${path}/labels/wanted`, { every_s: 60 }), [words, setWords] = useState(""), [wrong, setWrong] = useState(""), row = data?.rows[0], outside = useScope("model", model), off = refusal("push") || outside;
  if (!data) return null;
  const give = async (label) => {
    try {
      await api(`${path}/labels`, { method: "POST", body: { labels: [{ id: row.id, label }] } });
      said("good", "Kept. It is in the audit.");
      setWords(""); setWrong("");
      again();
    } catch (error) { setWrong(error.message); }
  };
  const submit = (event) => { event.preventDefault(); if (words.trim() && !off) give(words.trim()); };
  return html`<${Panel} title="Labels wanted" note=${`${data.given_today} of ${data.per_day} given today`} end=${html`<${Terminal} text=${`edgeward label next ${model}`} />`}><div class="in stack tight">
    ${!row ? html`<p class="soft">${data.captured ? "Nothing more is asked for today." : html`No device has sent rows in the newest two days: see <code>[[capture]]</code> in its agent.toml.`}</p>`
    : html`<p>${row.device} answered <b class="strong">${row.row.value}</b>${row.row.confidence != null && ` with confidence ${row.row.confidence.toFixed(2)}`}, <${Ago} at=${row.row.at} />. What is true?</p>
      <dl class="cols">${Object.entries(row.row.inputs).map(([k, v]) => html`<dt>${k}</dt><dd>${String(v)}</dd>`)}</dl>
      ${wrong && html`<p class="bad" role="alert">${wrong}</p>`}
      <div><${Act} icon="check" off=${off} onClick=${() => give(row.row.value)}>It was right<//></div>
      <form class="acts" onSubmit=${submit}><label class="field"><span>The true answer, where it was not</span><input type="text" maxlength="200" value=${words} onInput=${(e) => setWords(e.target.value)} /></label>
        <${Act} off=${off || (words.trim() ? "" : "Write the true answer first.")}>Give this label<//></form>`}</div><//>`;
}

const WORD = { train: "running", ask: "proposed", wait: "paused", no: "waiting" };
const DECIDED = { train: "trained", ask: "a person is asked", wait: "held back", no: "not trained" };

/** Why a model was trained again, and why it was not. */
function Retraining({ model }) {
  const asked = (what) => `/v1/retraining${what}?model=${encodeURIComponent(model)}`, { data: decisions } = useAsked(`${asked("/decisions")}&limit=${MOST_DECISIONS}`, { every_s: 60 });
  const { data: attempts } = useAsked(asked(""), { every_s: 60 });
  if (!decisions || !attempts) return null;
  const why = (d) => d.proposals.map((p) => `${p.trigger}: ${p.detail}`).join("; "), shown = attempts.slice(0, MOST_DECISIONS);
  return html`<${Panel} title="Retraining" note="why it did, and why not" end=${html`<${Terminal} text=${`edgeward retrain explain ${model}`} />`}>
    ${!decisions.length && !shown.length ? html`<p class="in soft">Nothing has proposed to train it again. <code>edgeward retrain policy ${model} --set FILE</code> says when it is.</p>` : html`<ul class="feed two">
    ${decisions.map((d) => html`<li key=${`d${d.at}`}><${Lone} of=${{ running: "busy", proposed: "ask", paused: "warn", waiting: "off" }[WORD[d.word]]} /><span><b class="strong">${DECIDED[d.word]}</b>: ${d.detail}
      <span class="sub small soft">proposed by ${why(d)}${d.times > 1 ? `; decided so ${d.times} times` : ""}</span></span><span class="small soft"><${Ago} at=${d.at} /></span></li>`)}
    ${shown.map((a) => html`<li key=${a.id}><${Lone} of=${{ passed: "good", stopped: "bad", failed: "bad", running: "busy", declined: "off" }[a.status] || "ask"} /><span><b class="strong">${a.id}</b> ${a.status}${a.release ? html`, <a href=${`${address("models", model)}?version=${a.release}`}>v${a.release}</a>` : ""}
      ${a.detail && html`<span class="sub small soft"><${Said} words=${a.detail} /></span>`}</span><span class="small soft"><${Ago} at=${a.created_at} /></span></li>`)}</ul>`}<//>`;
}

/** All of it, below the versions of a model. */
export function Watch({ model, path }) {
  const { data: found } = useAsked(`${path}/drift`, { every_s: 300 });
  return html`${found && html`<${Drift} model=${model} found=${found} />`}${found && html`<${Fairness} columns=${found.fairness} />`}
    <div class="grid beside"><${Labels} path=${path} model=${model} /><${Retraining} model=${model} /></div>`;
}
