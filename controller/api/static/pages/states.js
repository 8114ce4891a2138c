// What is shown when there is nothing to show, written for people: what has happened, and what to do next.
import { html, useState, Icon, Mark, Command, stamp } from "../ui.js";
import { useAsked } from "../store.js";

const Bone = ({ h, w }) => html`<span class="wait" style=${{ height: h, width: w }} />`;
const Box = ({ h }) => html`<div class="panel"><div class="in"><${Bone} h=${h} /></div></div>`;

/** The page's frame while the first answer is under way. */
export const Loading = () => html`<div aria-busy="true"><h1 class="hide">Asking the controller</h1>
  <div class="head"><div><${Bone} h="1.625rem" w="12rem" /></div></div>
  <div class="stack"><${Box} h="3.25rem" /><div class="grid side"><${Box} h="23rem" /><${Box} h="23rem" /></div></div></div>`;

const FIRST = [
  ["Make a device.", "It replays a file as its sensor until you give it a real one.", [
    "edgeward device config pi-1 --out pi-1 --replay iris=examples/iris.csv --label species", "edgeward-agent run -c pi-1/agent.toml"]],
  ["Push a model.", "It is converted, compared with the original, and kept with its evidence.", ["edgeward model push examples/train.py --name iris"]],
  ["Roll it out.", "First to one device, then to all, and back by itself if it is wrong.",
    ["edgeward rollout start iris --strategy examples/quick.toml --watch"]],
];

/** The fleet's page before the first device. */
export const FirstRun = () => html`<div class="whole"><h1>No device has reported yet</h1>
  <p class="soft">The controller is well. Three steps bring a first device and a first model; each may run on this machine.
    This page fills by itself.</p>
  <ol>${FIRST.map(([what, why, commands]) => html`<li><b class="strong">${what}</b><span class="soft">${why}</span>
    ${commands.map((text) => html`<${Command} text=${text} />`)}</li>`)}</ol>
  <p class="faint small waiting"><span class="wait dot" />waiting for the first heartbeat</p></div>`;

/** A list without entries: what would bring one. */
export const Nothing = ({ what, children }) => html`<div class="whole"><h1>${what}</h1><p class="soft">${children}</p>
  <p class="soft"><a href="/fleet">To the fleet</a></p></div>`;

const TODO = {
  forbidden: "Ask an administrator for a token with another role.",
  rate_limited: "Wait a second, then ask again.",
  store_corrupt: "A table of the registry cannot be read: restore it from a backup.",
};

/** A question that the controller could not answer: its code, what to do, where to look. */
export function Failed({ error, again }) {
  const asked = error.path || "The controller", code = error.code || "controller_unreachable";
  const words = error.detail || "nobody answers at this address";
  const report = `${asked}: ${error.status || "no answer"} ${code}: ${words}`;
  return html`<div class="whole" role="alert"><h1><span class="bad"><${Mark} of="bad" /></span> The controller could not answer this</h1>
    <p class="soft">${asked} gave ${error.status || "no answer"}. <b class="strong">${code}</b>: ${words}. What devices run is not touched by this.</p>
    <dl class="cols"><dt>What to do</dt><dd>${TODO[code] || "Ask again. If it stays, look at the controller's log."}</dd>
      <dt>Look at</dt><dd><code>edgeward status</code></dd><dt>At</dt><dd>${stamp(Date.now() / 1000)} UTC</dd></dl>
    <div class="acts"><button class="btn main" onClick=${again}>Ask again</button>
      <button class="btn" onClick=${() => navigator.clipboard?.writeText(report)}><${Icon} name="copy" />Copy for a report</button></div></div>`;
}

/** The door: a token is posted once and never kept by the page. */
export function Entrance({ enter, refused }) {
  const [wrong, setWrong] = useState(refused || ""), { data: ways } = useAsked("/v1/session/ways");
  const away = () => location.assign(`/v1/session/provider?to=${encodeURIComponent(location.pathname + location.search)}`);
  const submit = (event) => {
    event.preventDefault();
    const field = event.target.elements.token, token = field.value.trim();
    field.value = "";
    enter(token).catch((error) => { setWrong(error.message); field.focus(); });
  };
  return html`<div class="whole door"><h1>Who are you?</h1>
    <p class="soft">In a terminal, <code>edgeward page</code> opens this page with a token. Or paste one here.</p>
    ${ways?.provider && html`<div class="acts"><button class="btn main" onClick=${away}><${Icon} name="key" />Sign in with ${ways.provider}</button></div>`}
    <form onSubmit=${submit}><label class="strong" for="token">Token</label>
      <input id="token" name="token" type="password" autocomplete="off" spellcheck="false" required
        aria-invalid=${wrong ? "true" : undefined} aria-describedby="token-note" />
      <span id="token-note" class=${wrong ? "bad small" : "faint small"} role=${wrong ? "alert" : undefined}>
        ${wrong || "It is sent once. The browser keeps a session in its place, for 12 h at most."}</span>
      <button class=${`btn ${ways?.provider ? "" : "main"}`}>Open</button></form></div>`;
}

export const Missing = ({ what, hint }) => html`<div class="whole"><h1>There is no ${what}</h1>
  <p class="soft">${hint || "The address may be old, or mistyped."} <a href="/fleet">To the fleet</a></p></div>`;

/** An address that is none of the page's: what was asked for, and every way back. */
export const NoSuchPage = ({ path, pages }) => html`<div class="whole"><h1>There is no page at this address</h1>
  <p class="soft">Nothing stands at <code>/${path.join("/")}</code>. The address may be old, or mistyped. Nothing was changed.</p>
  <p class="soft">There are ${pages.map(([id, words], i) => html`${i ? ", " : ""}<a href=${`/${id}`}>${words}</a>`)}. Or <button class="link" onClick=${() => history.back()}>go back</button> to where you were.</p></div>`;

/** What a page shows for an answer: itself, or its state. `children` is called with the data. */
export function Asked({ of, what, children }) {
  if (of.data !== undefined) return children(of.data);
  if (of.error?.status === 404) return html`<${Missing} what=${what} hint=${of.error.detail} />`;
  return of.error ? html`<${Failed} error=${of.error} again=${of.again} />` : html`<${Loading} />`;
}
