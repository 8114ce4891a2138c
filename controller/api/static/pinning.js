// Pins on the page of a device: hold a model at a release, or end that. What each would do is the controller's own preview.
import { html, useEffect, useState, Act, Dialog, Icon, stamp } from "./ui.js";
import { api, refusal, said, state, useScope } from "./store.js";

const SPANS = [["until somebody ends it", 0], ["for a day", 86400], ["for a week", 604800], ["for 30 days", 2592000]];
const MAX_REASON = 500;

/** The sentences of a preview. */
function sentences(a, model, ends, until) {
  if (ends) return [`${model} is no longer held at v${a.release}.`, a.rollout ? `${a.rollout} takes it to v${a.rollout_release}.` : a.runs ? `It keeps v${a.runs} until a rollout brings another version.` : "It runs no version of it."];
  return [`${model} is held at v${a.release}: rollouts, roll backs and retries pass it by.`,
    !a.is_moved ? "It runs that version already." : a.runs && a.runs !== a.release ? `It runs v${a.runs} and is sent to v${a.release} now.` : `It is sent to v${a.release} now.`,
    until ? `The pin ends at ${stamp(until)} UTC.` : "The pin stays until somebody ends it."];
}

function Confirm({ device, close, again }) {
  const models = device.models.map((m) => m.model), [model, setModel] = useState(models[0]), ends = model in device.pins;
  const [release, setRelease] = useState(""), [reason, setReason] = useState(""), [span, setSpan] = useState(SPANS[0]), [seen, setSeen] = useState(null), [wrong, setWrong] = useState("");
  const until = span[1] ? Date.now() / 1000 + span[1] : 0, verb = ends ? "unpin" : "pin", named = release.trim().replace(/^v(?=\d+$)/, "");
  const body = ends ? { devices: [device.device], model } : { devices: [device.device], model, release: named || null, reason, until };
  const told = (words) => (error) => { setSeen({ code: "failed", detail: error.detail || error.message }); setWrong(words ? error.message : ""); };
  useEffect(() => {
    let old = false;
    setSeen(null);
    api(`/v1/devices/${verb}/dry-run`, { method: "POST", body: ends ? body : { ...body, reason: "" } }).then(([a]) => old || setSeen(a), (error) => old || told(false)(error));
    return () => { old = true; };
  }, [model, verb, named, span[1]]);
  const act = async () => {
    try {
      const [a] = await api(`/v1/devices/${verb}`, { method: "POST", body });
      if (a.code) return setWrong(a.detail);
      said("good", `${ends ? "The pin has ended" : `Held at v${a.release}`}. It is in the audit.`);
      close();
      again();
    } catch (error) { told(true)(error); }
    return undefined;
  };
  const off = state.link === "stale" ? "The controller does not answer." : !seen ? "Asking what this would do." : seen.code ? `${seen.detail[0].toUpperCase()}${seen.detail.slice(1)}` : "";
  const word = ends ? "End the pin" : "Pin";
  return html`<${Dialog} open title=${ends ? `End the pin of ${model}?` : `Hold ${model} on ${device.device}?`} onClose=${close} foot=${html`<button class="btn" onClick=${close}>Leave it as it is</button>
      ${off ? html`<${Act} icon="pin" main off=${off}>${word}<//>` : html`<button class="btn main" onClick=${act}><${Icon} name="pin" />${word}</button>`}`}>
    <div class="in stack tight">${wrong && html`<p class="bad" role="alert">${wrong}</p>`}
      ${models.length > 1 && html`<label>Model <select onChange=${(e) => setModel(e.target.value)}>${models.map((m) => html`<option selected=${m === model}>${m}</option>`)}</select></label>`}
      ${off ? html`<p>${off}</p>` : html`<ul class="will">${sentences(seen, model, ends, until).map((line) => html`<li>${line}</li>`)}</ul>`}
      ${!ends && html`<label class="field"><span class="strong">Version</span> <span class="faint small">a number, a semantic version or an alias; empty: what it runs</span>
        <input type="text" value=${release} autocomplete="off" spellcheck="false" onInput=${(e) => setRelease(e.target.value)} /></label>
        <label>It holds <select onChange=${(e) => setSpan(SPANS[e.target.selectedIndex])}>${SPANS.map((s) => html`<option selected=${s === span}>${s[0]}</option>`)}</select></label>
        <label class="field"><span class="strong">Why</span> <span class="faint small">optional; it stands in plans, with the device and in the audit</span>
        <input type="text" maxlength=${MAX_REASON} value=${reason} onInput=${(e) => setReason(e.target.value)} /></label>`}
      <p class="faint small">The same in a terminal: <code>${ends ? html`edgeward device unpin ${device.device} --model ${model}` : html`edgeward device pin ${device.device} --model ${model}`}</code></p></div><//>`;
}

/** The button, off with the reason where the reader may not pin or where there is nothing to hold. */
export function Pinning({ device, again }) {
  const [open, setOpen] = useState(false), outside = useScope("device", device.device), nothing = device.presence === "retired" ? "It was retired." : device.models.length ? "" : "It has no model that could be held.";
  const held = device.models.length === 1 && device.models[0].model in device.pins;
  return html`<${Act} icon="pin" off=${nothing || refusal("rollout") || outside} onClick=${() => setOpen(true)}>${held ? "End pin" : "Pin"}<//>
    ${open && html`<${Confirm} device=${device} close=${() => setOpen(false)} again=${again} />`}`;
}
