// What people wrote about one device and sent to it, and what it says when somebody asks it.
// Decides how that is drawn. Refuses to ask by itself: each question reaches the device and is in the audit.
import { html, useState, Act, Ago, Panel, Terminal, count } from "./ui.js";
import { address, api, refusal, useScope } from "./store.js";

const WHAT = [["logs", "Newest log lines"], ["doctor", "Run its doctor"]];

/** How the remote configuration stands that was sent to a device. */
function standing(sent, told) {
  if (!told || sent.version > Math.max(told.confirmed, told.trial, told.refused)) return "sent, the device has not said anything about it yet";
  if (sent.version === told.confirmed) return "confirmed";
  return sent.version === told.trial ? "on trial" : `taken back: ${told.code}: ${told.detail}`;
}

/** Its note, and its remote configuration; nothing where it has neither. */
export const Written = ({ device: d }) => html`${d.note && html`<p>${d.note.text} <span class="faint small">${d.note.by}, <${Ago} at=${d.note.at} /></span></p>`}
  ${d.config && html`<p class="soft">Remote configuration ${d.config.version}: ${standing(d.config, d.config_said)}.</p>`}`;

/** Asks a device for its log or its doctor; `gone` says why it can no longer be asked. */
export function Inquiry({ name, gone }) {
  const [found, setFound] = useState(null), [wrong, setWrong] = useState(""), [busy, setBusy] = useState(false), outside = useScope("device", name);
  const off = gone || refusal("device") || outside || (busy ? "It is being asked." : "");
  const look = async (what) => {
    setBusy(true); setWrong("");
    try { setFound(await api(`/v1${address("devices", name)}/${what}`)); } catch (error) { setFound(null); setWrong(error.message); }
    setBusy(false);
  };
  return html`<${Panel} title="What it says when asked" note="over MQTT, now; each question is in the audit" foot=${html`<${Terminal} text=${`edgeward device logs ${name}`} />`}><div class="in stack tight">
    <div class="acts">${WHAT.map(([what, words]) => html`<${Act} key=${what} off=${off} onClick=${() => look(what)}>${words}<//>`)}</div>
    ${wrong && html`<p class="bad" role="alert">${wrong}</p>`}
    ${found && html`<pre class="scroll said small" tabindex="0" role="region" aria-label="What it answered">${found.lines.join("\n")}</pre>`}
    ${found?.left_out > 0 && html`<p class="faint small">${count(found.left_out)} older lines are on the device.</p>`}</div><//>`;
}
