// Filters of a list: each stands in the address, and the controller answers it.
import { html, useEffect, useRef, useState } from "./ui.js";
import { ask } from "./store.js";

/** Milliseconds after the last key until the controller is asked. */
const TYPED_MS = 180;

/** A text in the address, typed. `also`: what else leaves the address with it. */
export function Field({ name, label, holder, query, wide, also = {} }) {
  const [text, setText] = useState(query.get(name) || ""), timer = useRef(0);
  useEffect(() => { if (!timer.current) setText(query.get(name) || ""); }, [query]);
  const type = (value) => {
    setText(value);
    clearTimeout(timer.current);
    timer.current = setTimeout(() => { timer.current = 0; ask({ [name]: value, ...also }); }, TYPED_MS);
  };
  return html`<input type="search" class=${wide ? "" : "short"} aria-label=${label} placeholder=${holder} value=${text} onInput=${(e) => type(e.target.value)} />`;
}

/** One of several words in the address; `options` are words or [word, what is shown]. */
export const Pick = ({ name, options, query, label, title = name, keep = false, also = {} }) => html`<select class=${keep ? "" : "lo"} aria-label=${title} value=${query.get(name) || ""} onChange=${(e) => ask({ [name]: e.target.value, ...also })}>
  <option value="" selected=${!query.get(name)}>${label || `any ${name}`}</option>
  ${options.map((o) => (Array.isArray(o) ? o : [o, o])).map(([o, words]) => html`<option value=${o} selected=${query.get(name) === String(o)}>${words}</option>`)}</select>`;

/** The filters of the address that are set, as a question: {limit, offset, ...filters}. */
export function question(query, keys, page_size) {
  const asked = new URLSearchParams({ limit: page_size, offset: page_size * (pageOf(query) - 1) });
  for (const key of keys) query.getAll(key).filter(Boolean).forEach((value) => asked.append(key, value));
  return asked;
}

export const pageOf = (query) => Math.max(1, Math.floor(Number(query.get("page"))) || 1);
