// The search by name over devices, rollouts, models, runs and data sets, answered by the controller.
import { html, useEffect, useRef, useState, Dialog, count, plain } from "./ui.js";
import { address, api, change, go, state } from "./store.js";

const MOST = 14;
/** Names of one kind, so that each kind is seen; devices get the room that is left. */
const EACH = 4;
const WAIT_MS = 120;

/** What has the words in its name: [[kind, name, address, words], ...]. */
async function find(text) {
  const asked = (path) => api(path).catch(() => []), named = (path, limit) => asked(`${path}?q=${encodeURIComponent(text)}&limit=${limit}`);
  const [models, rollouts, runs, sets, devices] = await Promise.all([asked("/v1/models"), asked("/v1/rollouts"), named("/v1/runs", EACH), named("/v1/data", EACH),
    named("/v1/devices", MOST)]);
  const fits = (words) => words.toLowerCase().includes(text.toLowerCase());
  const found = [
    ...models.filter((m) => fits(m.name)).slice(0, EACH).map((m) => ["model", m.name, address("models", m.name), `v${m.newest_release}`]),
    ...(rollouts.rollouts || []).filter((r) => fits(`${r.id} ${r.model}`)).slice(0, EACH)
      .map((r) => ["rollout", r.id, address("rollouts", r.id), `${r.model} v${r.release}, ${plain(r.status)}`]),
    ...(runs.runs || []).map((r) => ["run", r.name, address("runs", r.id), `${r.id}, ${plain(r.status)}`]),
    ...(sets.data_sets || []).map((d) => ["data set", `${d.name}@${d.version}`, `${address("data", d.name)}?version=${d.version}`, `${count(d.rows)} rows of ${d.model}`]),
    ...(devices.devices || []).map((d) => ["device", d.device, address("devices", d.device), d.health]),
  ];
  return found.slice(0, MOST);
}

export function Finder() {
  const [text, setText] = useState(""), [at, setAt] = useState(0), [found, setFound] = useState([]), input = useRef(), open = state.finding;
  const close = () => { change({ finding: false }); setText(""); setAt(0); };
  useEffect(() => { if (open) input.current?.focus(); }, [open]);
  useEffect(() => {
    if (!open) return undefined;
    let old = false;
    const timer = setTimeout(() => find(text.trim()).then((all) => old || (setFound(all), setAt(0))), WAIT_MS);
    return () => { old = true; clearTimeout(timer); };
  }, [open, text]);
  const pick = (x) => { close(); go(x[2]); };
  const keys = (e) => {
    const by = { ArrowDown: 1, ArrowUp: found.length - 1 }[e.key];
    if (by !== undefined) { e.preventDefault(); setAt((at + by) % Math.max(1, found.length)); }
    if (e.key === "Enter" && found[at]) pick(found[at]);
  };
  return html`<${Dialog} open=${open} title="Search" plain="palette" onClose=${close}>
    <input ref=${input} type="search" role="combobox" aria-expanded="true" aria-controls="found" autocomplete="off" spellcheck="false"
      aria-activedescendant=${found[at] ? `found-${at}` : undefined} aria-label="Search devices, rollouts, models, runs, data sets"
      placeholder="A device, a rollout, a model, a run or a data set" value=${text} onInput=${(e) => setText(e.target.value)} onKeyDown=${keys} />
    <ul id="found" role="listbox" aria-label="Found">${found.map((x, i) => html`<li id=${`found-${i}`} role="option"
      aria-selected=${String(i === at)} onClick=${() => pick(x)} onMouseMove=${() => setAt(i)}>
      <span class="kind">${x[0]}</span><span>${x[1]}</span><span class="soft">${x[3]}</span></li>`)}</ul>
    ${!found.length && html`<p class="in soft">${text ? `Nothing has “${text}” in its name.` : "There is nothing to find yet."}</p>`}<//>`;
}
