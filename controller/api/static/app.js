// The frame: header, addresses, keys, and what is shown when there is nothing to show.
import { render } from "./vendor/preact-htm.js";
import { html, useState, useEffect, useRef, Icon, Mark, clock, Dialog, stamp } from "./ui.js";
import { api, change, go, onClick, state, useAsked, useStore, useWhere } from "./store.js";
import { listen, reconnect } from "./live.js";
import { Finder } from "./finder.js";
import { Entrance, Failed, Loading, NoSuchPage } from "./pages/states.js";

/** [first part of the address, its name, its icon, its key]. */
const PAGES = [["fleet", "Fleet", "fleet", "f"], ["rollouts", "Rollouts", "waves", "r"], ["models", "Models", "cube", "m"], ["runs", "Runs", "forward", "n"], ["data", "Data", "down", "d"],
  ["alerts", "Alerts", "bell", "a"], ["audit", "Audit", "list", "u"]];
/** The file of each page, by the first part of its address and whether a name follows: loaded when it is shown. */
const FILES = {
  fleet: () => import("./pages/fleet.js"), devices_one: () => import("./pages/device.js"),
  rollouts: () => import("./pages/rollouts.js"), rollouts_one: () => import("./pages/rollout.js"),
  runs: () => import("./pages/runs.js"), runs_one: () => import("./pages/run.js"),
  data: () => import("./pages/data.js"), data_one: () => import("./pages/data_set.js"), models: () => import("./pages/models.js"), models_one: () => import("./pages/model.js"),
  alerts: () => import("./pages/alerts.js"), audit: () => import("./pages/audit.js"),
};
const KEYS = [["/", "search"], ["g f", "fleet"], ["g r", "rollouts"], ["g m", "models"], ["g n", "runs"], ["g d", "data sets"], ["g a", "alerts"], ["g u", "audit"],
  ["← → ↑ ↓", "from device to device, or along a plot"], ["Enter", "open what is marked"], ["Esc", "close"], ["?", "this list"]];

const LOGO = html`<svg width="20" height="20" viewBox="0 0 20 20" aria-hidden="true"><rect width="20" height="20" rx="5" fill="var(--accent)" />
  <g fill="none" stroke="var(--on-accent)" stroke-width="1.8" stroke-linecap="round"><path d="M6 14.5a9 9 0 0 1 8.5-8.5" />
  <path d="M10.2 14.5a4.6 4.6 0 0 1 4.3-4.3" opacity=".7" /></g><circle cx="5.6" cy="5.6" r="1.7" fill="var(--on-accent)" /></svg>`;

function Link() {
  const [, tick] = useState(0);
  useEffect(() => { const timer = setInterval(() => tick((n) => n + 1), 10_000); return () => clearInterval(timer); }, []);
  const look = { live: ["good", "live"], asking: ["busy", "asking"], stale: ["bad", `as of ${clock(state.since)} UTC`] }[state.link];
  return html`<span class=${`live ${state.link}`}><${Mark} of=${look[0]} />${look[1]}
    ${state.link === "live" && html`<span class="lo">${clock(Date.now() / 1000)} UTC</span>`}</span>`;
}

function Header({ page }) {
  const { data: firing } = useAsked(state.me ? "/v1/alerts?state=firing" : "", { topics: ["alerts"], every_s: 60 });
  const n = firing?.total || 0, here = page === "devices" ? "fleet" : page || "fleet", name = (state.me?.name || "").replace(/^local:/, "");
  const item = ([id, words, icon]) => html`<a href=${`/${id}`} aria-current=${here === id ? "page" : undefined}><${Icon} name=${icon} />${words}
    ${id === "alerts" && n > 0 && html`<span class="count"><span class="hide">firing: </span>${n}</span>`}</a>`;
  return html`<header class="bar"><a class="brand" href="/fleet">${LOGO}Edgeward</a>
    ${state.me && html`<nav class="nav" aria-label="Pages">${PAGES.map(item)}</nav>`}<span class="spring" />
    ${state.me && html`<button class="find" onClick=${() => change({ finding: true })} aria-label="Search devices, rollouts, models">
      <${Icon} name="search" /><span>Search devices, rollouts, models</span><kbd>/</kbd></button><${Link} />
      <button class="who" popovertarget="who"><b aria-hidden="true">${name.slice(0, 1).toUpperCase()}</b>
        <span class="name" aria-hidden="true">${name}</span><span class="hide">${name}: menu</span></button><${Menu} />`}</header>`;
}

async function leave() {
  await api("/v1/session", { method: "DELETE" }).catch(() => {});
  change({ me: null, link: "out", refused: "" });
}

function Menu() {
  if (!state.me) return null;
  const { name, roles, scope, session_ends_at: ends } = state.me;
  return html`<div class="menu" id="who" popover="auto"><p><b class="strong">${name}</b></p>
    <p class="soft small">${roles.length > 1 ? "roles" : "role"} ${roles.join(", ")}</p>
    ${scope && html`<p class="soft small">acts only on ${scope}</p>`}
    ${ends && html`<p class="soft small">session ends ${stamp(Date.parse(ends) / 1000).slice(0, 16)} UTC</p>`}<hr />
    <button onClick=${() => { document.getElementById("who").hidePopover(); change({ helping: true }); }}>Keys <kbd>?</kbd></button>
    <button onClick=${leave}>End this session</button></div>`;
}

const Help = () => html`<${Dialog} open=${state.helping} title="Keys" onClose=${() => change({ helping: false })}
  foot=${html`<button class="btn" onClick=${() => change({ helping: false })}>Close</button>`}>
  <div class="in"><dl class="cols">${KEYS.map(([k, w]) => html`<dt>${k.split(" ").map((x) => html`<kbd>${x}</kbd> `)}</dt><dd>${w}</dd>`)}</dl></div><//>`;

let before = "";
function onKey(event) {
  const find = event.key === "k" && (event.ctrlKey || event.metaKey), typing = event.target.closest?.("input, select, textarea, dialog");
  if (!state.me || (!find && (typing || event.ctrlKey || event.metaKey || event.altKey))) return;
  if (event.key === "/" || find) { event.preventDefault(); change({ finding: true }); }
  if (event.key === "?") change({ helping: true });
  const page = before === "g" && PAGES.find((p) => p[3] === event.key);
  if (page) go(`/${page[0]}`);
  before = event.key;
}

/** The page of an address, loaded at its first showing. */
function Shown({ path, query }) {
  const [page = "fleet", name] = path, wanted = name ? `${page}_one` : page, load = Object.hasOwn(FILES, wanted) ? FILES[wanted] : undefined, [found, setFound] = useState({}), [error, setError] = useState(null);
  useEffect(() => {
    let left = false; // a file may come after somebody has gone on to another page
    load?.().then((file) => left || setFound({ load, Page: file.default }), (why) => left || setError(why));
    return () => { left = true; };
  }, [load]);
  if (!load || path.length > 2) return html`<${NoSuchPage} path=${path} pages=${PAGES} />`;
  if (error) return html`<${Failed} error=${error} again=${() => location.reload()} />`;
  return found.load === load ? html`<${found.Page} name=${name} query=${query} key=${name} />` : html`<${Loading} />`;
}

function Notices() {
  if (state.link === "stale") {
    return html`<div class="notice" role="alert"><span><${Mark} of="bad" /><span>The controller has not answered since ${clock(state.since)} UTC
      (controller_unreachable). What is shown is old; buttons are off. Devices go on by themselves.</span></span>
      <button class="btn" onClick=${reconnect}>Ask now</button></div>`;
  }
  if (state.me?.permissions.length !== 1) return null;
  return html`<aside class="notice plain" aria-label="Role"><span><${Icon} name="key" /><span>You are reading: this token has the role viewer.
    Buttons that need more say so.</span></span></aside>`;
}

function App() {
  useStore();
  const { path, query } = useWhere(), [page, name] = path, main = useRef(), been = useRef(false);
  useEffect(() => {
    document.title = `${name || PAGES.find((p) => p[0] === page)?.[1] || (page ? "No such page" : "Fleet")} · Edgeward`;
    if (been.current) { scrollTo(0, 0); main.current?.focus({ preventScroll: true }); }
    been.current = true;
  }, [page, name]);
  const inside = state.link === "out" ? html`<${Entrance} enter=${enter} refused=${state.refused} key=${state.refused} />` : state.me ? html`<${Shown} path=${path} query=${query} />`
    : state.broken ? html`<${Failed} error=${state.broken} again=${begin} />` : html`<${Loading} />`;
  return html`<${Header} page=${page} /><${Notices} /><main id="main" tabindex="-1" ref=${main}>${inside}</main>
    ${state.me && html`<${Finder} /><${Help} />`}
    <div role="status">${state.toast && html`<div class="toast"><${Mark} of=${state.toast.kind} />${state.toast.words}</div>`}</div>`;
}

/** Posts a token once; from then on the browser holds a cookie that no script can read. */
async function enter(token, actor = "") {
  const me = await api("/v1/session", { method: "POST", body: { token, actor } });
  change({ me, link: "live", refused: "", broken: null });
  listen();
}

/** Why a provider's sign-in ended at the door: the code comes with the address, the words never do. */
const REFUSED = {
  sign_in_refused: "You are not signed in: the provider's answer did not hold, or it gives you no role here. The audit says which.",
  provider_unreachable: "The provider does not answer. Try again later, or use a token.",
  name_invalid: "The provider gives you a name that nobody may have here.",
};

/** The address may bring a token along. It leaves the address bar at once, so that it is not copied or kept by accident. */
function brought() {
  const found = new URLSearchParams(location.hash.slice(1)), token = found.get("token"), why = found.get("refused");
  if (why) change({ refused: REFUSED[why] || REFUSED.sign_in_refused });
  if (token || why) history.replaceState(null, "", location.pathname + location.search);
  return token && [token, found.get("actor") || ""];
}

async function begin() {
  const given = brought();
  try {
    if (given) return await enter(...given);
    const me = await api("/v1/session");
    change({ me, link: me ? "live" : "out", broken: null });
    return me && await listen();
  } catch (error) {
    if (given || error.status === 401) return change({ link: "out", refused: given ? error.message : state.refused });
    change({ broken: error });
    return setTimeout(() => state.me || begin(), 5000);
  }
}

/** The address of `edgeward page`, opened in a tab that shows the page already, is no new page: only its end differs. */
addEventListener("hashchange", () => {
  const given = brought();
  if (given) enter(...given).catch((error) => change({ link: "out", me: null, refused: error.message }));
});
addEventListener("keydown", onKey);
addEventListener("click", onClick);
render(html`<${App} />`, document.getElementById("app"));
begin();
