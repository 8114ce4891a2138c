// Buttons of a rollout. What each would do is the controller's own preview; a step is bound to what was seen.
import { html, useEffect, useState, Act, Dialog, Icon, kind } from "./ui.js";
import { address, api, go, refusal, said, state, useScope } from "./store.js";

const VERBS = {
  pause: { icon: "pause", word: "Pause", done: "Paused" },
  resume: { icon: "play", word: "Resume", done: "Resumed" },
  promote: { icon: "forward", word: "Promote", done: "Promoted" },
  abort: { icon: "stop", word: "Abort", harm: true, done: "Aborted" },
  rollback: { icon: "back", word: "Roll back", harm: true, done: "Rolling back" },
};
const LEGAL = { running: ["pause", "promote", "abort", "rollback"], paused: ["resume", "abort", "rollback"], proposed: ["abort"], completed: ["rollback"], aborted: ["rollback"] };
const THEN = { pause: "be paused", resume: "be resumed", promote: "be promoted", abort: "be aborted", rollback: "be rolled back" };
const MAX_REASON = 500;

/** Why a step is off, or nothing. `outside` is what the reader's scope says of this rollout. */
function offReason(r, verb, outside = "") {
  const off = refusal("rollout") || outside;
  if (off) return off;
  return LEGAL[r.status]?.includes(verb) ? "" : `It is ${r.status.replace("_", " ")}: it cannot ${THEN[verb]} now.`;
}

function Confirm({ r, verb, close, changed }) {
  const path = `/v1${address("rollouts", r.id)}`, v = VERBS[verb], [seen, setSeen] = useState(null), [reason, setReason] = useState(""), [wrong, setWrong] = useState(""), [busy, setBusy] = useState(false);
  const look = () => api(`${path}/preview?verb=${verb}`, { method: "POST" }).then(setSeen, (error) => setWrong(error.message));
  useEffect(() => { look(); }, [verb]);
  const act = async () => {
    setBusy(true);
    try {
      const now = await api(`${path}/${verb}`, { method: "POST", body: { status: seen.status, wave: seen.wave, reason } });
      said(kind(now.status), `${v.done}. It is in the audit.`);
      close();
    } catch (error) {
      setWrong(error.message);
      look();
    }
    setBusy(false);
    changed();
  };
  const off = state.link === "stale" ? "The controller does not answer." : !seen ? "Asking what this would do." : seen.refusal;
  return html`<${Dialog} open title=${`${v.word} ${r.model} v${r.release}?`} onClose=${close} foot=${html`<button class="btn" onClick=${close}>Leave it as it is</button>
      ${off || busy ? html`<${Act} icon=${v.icon} main harm=${v.harm} off=${off || "Under way."}>${v.word}<//>`
        : html`<button class=${`btn main ${v.harm ? "harm" : ""}`} onClick=${act}><${Icon} name=${v.icon} />${v.word}</button>`}`}>
    <div class="in stack tight">${wrong && html`<p class="bad" role="alert">${wrong}</p>`}
      ${!seen ? html`<p class="soft">Asking the controller what this would do.</p>` : seen.refusal ? html`<p>${seen.refusal}</p>`
        : html`<ul class="will">${seen.sentences.map((line) => html`<li>${line}</li>`)}</ul>`}
      <label class="field"><span class="strong">Why</span> <span class="faint small">optional; others read it beside the rollout and in the audit</span>
        <input type="text" maxlength=${MAX_REASON} value=${reason} onInput=${(e) => setReason(e.target.value)} /></label>
      <p class="faint small">The same in a terminal: <code>edgeward rollout ${verb} ${r.id}</code></p></div><//>`;
}

/** The steps that make sense for a rollout, each off with a reason where the reader may not take it. */
export function Buttons({ r, changed }) {
  const [verb, setVerb] = useState(""), outside = useScope("rollout", r.id);
  const order = r.status === "paused" ? ["resume", "abort", "rollback"] : r.open ? ["pause", "promote", "abort", "rollback"] : ["rollback"];
  return html`<div class="acts" role="group" aria-label="Steer this rollout">${order.map((v) => html`<${Act} key=${v} icon=${VERBS[v].icon}
      harm=${VERBS[v].harm} off=${offReason(r, v, outside)} onClick=${() => setVerb(v)}>${VERBS[v].word}<//>`)}
    <${Retry} r=${r} outside=${outside} />${verb && html`<${Confirm} r=${r} verb=${verb} close=${() => setVerb("")} changed=${changed} />`}</div>`;
}

/** Tries the release again on the devices alone that failed, once the rollout has ended. */
function Retry({ r, outside }) {
  const [open, setOpen] = useState(false), [wrong, setWrong] = useState(""), failed = ["failed", "rejected", "silent", "regressed"].reduce((n, w) => n + (r.counts[w] || 0), 0);
  if (r.open || !failed) return "";
  const act = async () => {
    try {
      const started = await api(`/v1${address("rollouts", r.id)}/retry`, { method: "POST" });
      said("busy", "Started again on the devices that failed. It is in the audit.");
      go(address("rollouts", started.id));
    } catch (error) { setWrong(error.message); }
  };
  return html`<${Act} icon="forward" off=${refusal("rollout") || outside} onClick=${() => setOpen(true)}>Retry failed<//>
    <${Dialog} open=${open} title=${`Try ${r.model} v${r.release} again where it failed?`} onClose=${() => setOpen(false)} foot=${html`<button class="btn" onClick=${() => setOpen(false)}>Leave it as it is</button>
      <button class="btn main" onClick=${act}><${Icon} name="forward" />Retry failed</button>`}><div class="in stack tight">${wrong && html`<p class="bad" role="alert">${wrong}</p>`}
      <ul class="will"><li>A new rollout begins, in one wave, for ${failed === 1 ? "the 1 device" : `the ${failed} devices`} that failed and for nobody else.</li>
        <li>The same rules judge it, and each device tries it with the same policy.</li><li>Their quarantine from this version is lifted.</li></ul>
      <p class="faint small">The same in a terminal: <code>edgeward rollout retry ${r.id}</code></p></div><//>`;
}

/** A plan that waits for a second person: the approval names its digest. */
export function Approval({ r, changed }) {
  const [looked, setLooked] = useState(false), [wrong, setWrong] = useState(""), me = state.me?.name || "", outside = useScope("rollout", r.id), short = r.plan_digest.slice(0, 12);
  const mine = r.proposers.includes(me.replace("local:", "")) ? "You stand behind it: somebody else approves it." : "";
  const off = refusal("approve") || outside || mine || (looked ? "" : "Say first that you have looked at the plan.");
  const approve = async () => {
    try {
      await api(`/v1${address("rollouts", r.id)}/approve`, { method: "POST", body: { plan_digest: r.plan_digest } });
      said("good", "Approved: wave 1 begins. It is in the audit.");
    } catch (error) { setWrong(error.message); setLooked(false); }
    changed();
  };
  return html`<div class="in stack tight"><p>An approval is for this plan and no other: this version, these devices in this order, these rules.</p>
    <dl class="cols"><dt>plan</dt><dd class="mono">${short}</dd><dt>version</dt><dd>${r.model} v${r.release}</dd><dt>devices</dt><dd>${r.devices}</dd>
      <dt>proposed by</dt><dd>${r.proposers.join(", ")}</dd></dl>
    ${wrong && html`<p class="bad" role="alert">${wrong}</p>`}
    <label class="tick"><input type="checkbox" checked=${looked} onChange=${(e) => setLooked(e.target.checked)} /><span>I have looked at plan <span class="mono">${short}</span></span></label>
    <div><${Act} icon="check" main=${!off} off=${off} onClick=${approve}>Approve this plan<//></div>
    <p class="faint small">If the fleet or the strategy changes meanwhile, the digest does, too, and the approval is refused (plan_changed).</p></div>`;
}
