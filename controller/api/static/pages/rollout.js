// One rollout: where it stands, by its rules' own sentences.
import { html, Panel, Pill, Status, Said, Terminal, plain } from "../ui.js";
import { address, useAsked } from "../store.js";
import { Asked } from "./states.js";

export default function Rollout({ name }) {
  const asked = useAsked(`/v1${address("rollouts", name)}`, { topics: ["rollouts"] });
  return html`<${Asked} of=${asked} what=${`rollout ${name}`}>${(r) => html`<div class="head"><div><p class="crumb"><a href="/rollouts">Rollouts</a></p>
    <h1>${r.model} v${r.release} <${Pill} word=${r.status} /></h1><p class="meta"><span class="mono">${r.id}</span><span>${r.strategy}</span></p></div></div>
    <div class="stack"><${Panel} title="Rules" foot=${html`<${Terminal} text=${`edgeward rollout explain ${r.id}`} />`}><ul class="feed two">
      ${(r.verdicts || []).map((v) => html`<li><${Status} word=${v.verdict}>${" "}<//><span><b class="strong">${plain(v.metric)}</b> <${Said} words=${v.detail} /></span><span>${v.verdict}</span></li>`)}
      ${!(r.verdicts || []).length && html`<li><span /><span class="soft">No rule has said anything yet.</span></li>`}</ul><//></div>`}<//>`;
}
