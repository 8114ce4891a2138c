// Who did what, and whether anybody has changed the record since.
import { html, Panel, Status, Mark, Table, Terminal, Icon, Copy, Said, count, seconds, stamp } from "../ui.js";
import { address, api, ask, go, said, useAsked } from "../store.js";
import { save } from "../csv.js";
import { Field } from "../filters.js";
import { Asked } from "./states.js";

const PAGE = 50;
const GROUPS = ["rollout", "push", "version", "device", "deployment", "gate", "trust", "token", "certificate", "alert", "refused", "controller"];
/** A filter begins again at the newest entry. */
const NEWEST = { before: "" };
const REFUSED = ["refused", "enrol refused", "audit broken"];

function Chain() {
  const { data: check, error } = useAsked("/v1/audit/check", { every_s: 60 });
  if (!check) return html`<section class="panel" aria-label="The chain"><div class="in soft">${error ? error.message : "reading all entries"}</div></section>`;
  const broken = check.faults.length > 0, look = broken ? "bad" : "good", at = stamp(seconds(check.checked_at)).slice(11);
  const witness = check.witness ? `The checkpoint in signed metadata (entry ${count(Number(check.witness.split(":")[0]))}) agrees; every device holds it.` : "Signed metadata carries no checkpoint yet.";
  return html`<section class="panel" aria-label="The chain"><div class="in chain"><span class=${`seal ${look}`}><${Mark} of=${look} /></span>
    <div><p class=${`lead ${look}`}><b class="strong">${broken ? "Broken" : "Unbroken"}: ${count(check.entries)} ${check.entries === 1 ? "entry" : "entries"}</b></p>
      ${broken ? check.faults.map((fault) => html`<p class="bad">${fault}</p>`) : html`<p class="soft">Checked from the first entry at ${at} UTC. ${witness}</p>`}</div>
    <div class="lo soft small">newest hash <${Copy} text=${check.newest_hash}>${check.newest_hash.slice(0, 12)}<//></div></div></section>`;
}

/** Midnight, UTC, so many days ago. */
const day = (ago) => new Date(Date.now() - ago * 864e5).toISOString().slice(0, 10);

function Days({ query }) {
  const now = query.get("since") || "", all = [["anytime", "", ""], ["today", day(0), ""], ["yesterday", day(1), day(0)], ["7 days", day(7), ""]];
  return html`<div class="seg" role="group" aria-label="When">${all.map(([word, since, until]) => html`<button
    aria-pressed=${String(now === since && (query.get("until") || "") === until)} onClick=${() => ask({ since, until, before: "" })}>${word}</button>`)}</div>`;
}

const Subject = ({ e }) => (e.subject.startsWith("r-") ? html`<a href=${address("rollouts", e.subject)}>${e.subject}</a>`
  : e.action.startsWith("device") && !e.subject.includes(" ") ? html`<a href=${address("devices", e.subject)}>${e.subject}</a>` : e.subject);

const Row = ({ e }) => html`<tr class="go"><td class="figure lo faint">${count(e.number)}</td>
  <td class="nowrap soft">${stamp(seconds(e.at)).slice(5, 16)}<span class="lo">${stamp(seconds(e.at)).slice(16)}</span></td>
  <td class="strong nowrap">${e.actor.replace(/^local:/, "")}</td><td>${REFUSED.includes(e.action) ? html`<${Status} word="warning">${e.action}<//>` : e.action}
    <span class="sub narrow mono break">${e.subject}</span></td>
  <td class="mono small lo break"><${Subject} e=${e} /></td><td class="lo soft"><${Said} words=${e.detail} /></td>
  <td class="lo"><${Copy} text=${e.hash}>${e.hash.slice(0, 8)}<//></td></tr>`;

const FILE = ["entry", "at", "who", "what", "about", "detail", "hash"];
/** Every entry that fits, newest first: an entry's number is where the next question begins. */
async function everyEntry(params) {
  const rows = [], query = new URLSearchParams(params);
  query.set("limit", 1000);
  query.delete("before");
  for (;;) {
    const found = await api(`/v1/audit?${query}`);
    rows.push(...found.map((e) => [e.number, e.at, e.actor, e.action, e.subject, e.detail, e.hash]));
    if (found.length < 1000) return rows;
    query.set("before", found.at(-1).number);
  }
}

export default function Audit({ query }) {
  const wanted = ["q", "actor", "action", "since", "until"].filter((key) => query.get(key)), params = new URLSearchParams({ limit: PAGE });
  [...wanted, "before"].forEach((key) => query.get(key) && params.set(key, query.get(key)));
  const asked = useAsked(`/v1/audit?${params}`, { topics: ["rollouts", "models"] }), older = asked.data?.length === PAGE;
  const export_ = async () => { save(JSON.stringify(await api("/v1/audit/export"), null, 1), "audit.json", "application/json"); said("good", "wrote all entries to audit.json"); };
  const turn = (before) => { ask({ before }, { keepPage: true }); document.getElementById("entries")?.scrollIntoView(); };
  return html`<div class="head"><div><h1>Audit</h1><p class="meta prose">Who did what, newest first. Each entry's hash covers the one before.</p></div>
      <div class="acts"><${Terminal} text="edgeward audit verify" /><button class="btn" onClick=${export_}><${Icon} name="down" />Export all</button></div></div>
    <div class="stack"><${Chain} /><${Panel} id="entries" title="Entries" note=${wanted.length ? "those that fit" : ""}>
      <div class="filters"><${Field} name="q" label="Search entries" holder="who, what, about what" query=${query} wide also=${NEWEST} /><${Field} name="actor" label="Who" holder="who, whole name" query=${query} also=${NEWEST} />
        <select class="lo" aria-label="What" onChange=${(e) => ask({ action: e.target.value, before: "" })}><option value="" selected=${!query.get("action")}>anything</option>
          ${GROUPS.map((a) => html`<option value=${a} selected=${a === query.get("action")}>${a}</option>`)}</select><${Days} query=${query} /></div>
      <${Asked} of=${asked} what="entry">${(found) => html`<${Table} label="Entries, table" csv=${{ head: FILE, rows: () => everyEntry(params) }} head=${html`<th class="figure lo">entry</th><th>when, UTC</th><th>who</th><th>what</th><th class="lo">about</th><th class="lo">detail</th><th class="lo">hash</th>`}>
        ${found.map((e) => html`<${Row} e=${e} key=${e.number} />`)}
        ${!found.length && html`<tr><td colspan="7" class="soft">No entry fits. <button class="link" onClick=${() => go("/audit")}>Take all filters off</button></td></tr>`}<//>`}<//>
      <nav class="pager" aria-label="Pages of entries"><span aria-live="polite">${asked.data?.length ? `entries ${count(asked.data.at(-1).number)} to ${count(asked.data[0].number)}` : "no entries"}</span><span class="spring" />
        <button class="btn" aria-disabled=${query.get("before") ? undefined : "true"} onClick=${() => query.get("before") && turn("")}>Newest</button>
        <button class="btn" aria-disabled=${older ? undefined : "true"} onClick=${() => older && turn(asked.data.at(-1).number)}>Older<${Icon} name="right" /></button></nav><//></div>`;
}
