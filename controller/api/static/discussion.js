// What people wrote beside a rollout or a model, and a place to write: note, ticket, comments, whose look is missing.
import { html, useState, Panel, Ago, Act, count } from "./ui.js";
import { address, api, refusal, useAsked, useScope } from "./store.js";

/** Text in which @names stand out; everything else stays text. */
const Text = ({ words }) => words.split(/((?<![\w@])@[A-Za-z0-9][\w.-]*)/).map((part, i) => (i % 2 ? html`<b class="strong">${part}</b>` : part));

function Write({ path, changed }) {
  const [text, setText] = useState(""), [wrong, setWrong] = useState("");
  const send = async (event) => {
    event.preventDefault();
    if (refusal("view")) return undefined;
    if (!text.trim()) return setWrong("Write something first.");
    try {
      await api(`${path}/comments`, { method: "POST", body: { text } });
      setText(""); setWrong(""); changed();
    } catch (error) { setWrong(error.message); }
  };
  return html`<form class="stack tight" onSubmit=${send}><label class="field"><span class="strong">Comment</span>
    <input type="text" maxlength="8000" value=${text} onInput=${(e) => setText(e.target.value)} placeholder="@name tells somebody of it" /></label>
    ${wrong && html`<p class="bad small" role="alert">${wrong}</p>`}<div><${Act} off=${refusal("view")}>Write<//></div></form>`;
}

/** The ticket's address, to follow and to change. */
function Ticket({ path, ticket, changed, outside }) {
  const [open, setOpen] = useState(false), [text, setText] = useState(""), [wrong, setWrong] = useState("");
  const save = async (event) => {
    event.preventDefault();
    try {
      await api(`${path}/ticket`, { method: "PUT", body: { ticket: text.trim() } });
      setOpen(false); setWrong(""); changed();
    } catch (error) { setWrong(error.message); }
  };
  if (!open) {
    return html`<p>${ticket ? html`Ticket: <a href=${ticket} rel="noreferrer noopener" target="_blank">${ticket}</a> ` : html`<span class="soft">No ticket. </span>`}
      <${Act} off=${refusal("rollout") || outside} onClick=${() => { setText(ticket); setOpen(true); }}>${ticket ? "Change" : "Link a ticket"}<//></p>`;
  }
  return html`<form class="stack tight" onSubmit=${save}><label class="field"><span class="strong">Address of the ticket</span>
    <input type="text" maxlength="500" value=${text} onInput=${(e) => setText(e.target.value)} placeholder="the address of a ticket" /></label>
    ${wrong && html`<p class="bad small" role="alert">${wrong}</p>`}<div class="acts"><button class="btn main" type="submit">Save</button><button class="btn" type="button" onClick=${() => setOpen(false)}>Leave it as it is</button></div></form>`;
}

/** `what` and `id`: the rollout or the model that it is about. */
export function Discussion({ what, id }) {
  const path = `/v1${address(`${what}s`, id)}/discussion`, outside = useScope(what, id);
  const { data, again } = useAsked(path, { topics: ["rollouts", "models"], every_s: 30 });
  if (!data) return "";
  const missing = data.reviews.filter((r) => !r.done_at);
  return html`<${Panel} title="Discussion" note=${count(data.comments.length)}><div class="in stack tight">
    ${data.note && html`<p><b class="strong">${data.note.by}</b>: <${Text} words=${data.note.text} /></p>`}<${Ticket} path=${path} ticket=${data.ticket} changed=${again} outside=${outside} />
    ${missing.map((r) => html`<p class="warn small" key=${r.who}>${r.by} asked ${r.who} to look at it${r.text ? `: ${r.text}` : ""}.</p>`)}
    ${data.comments.length > 0 && html`<ol class="stack tight">${data.comments.map((c, i) => html`<li key=${i}><b class="strong">${c.by}</b> <span class="faint small"><${Ago} at=${c.at} /></span><br /><span class="break"><${Text} words=${c.text} /></span></li>`)}</ol>`}
    <${Write} path=${path} changed=${again} /></div><//>`;
}
