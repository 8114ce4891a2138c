// The small parts that every page is made of. They decide how a thing looks; pages decide what is said.
import { html, useState, useEffect, useMemo, useRef } from "./vendor/preact-htm.js";
import { Csv } from "./csv.js";
import { Icon, kind } from "./marks.js";
import { count, lasting, seconds, stamp } from "./words.js";

export { Csv };
export * from "./marks.js";
export * from "./words.js";
export { html, useState, useEffect, useMemo, useRef };

/** How long ago, with the exact time as its title. `at`: seconds since 1970, or the API's text. */
export function Ago({ at }) {
  const s = seconds(at);
  if (!Number.isFinite(s)) return html`<span class="faint">never</span>`;
  const past = Date.now() / 1000 - s, words = past < 30 ? "just now" : `${lasting(past)} ago`;
  return html`<time datetime=${new Date(s * 1000).toISOString()} title=${`${stamp(s)} UTC`}>${words}</time>`;
}

/** A sentence in which ids of rollouts lead to their pages. */
export const Said = ({ words }) => String(words).split(/(r-\d{8}-\d{6}-[0-9a-f]{4})/).map((part, i) =>
  (i % 2 ? html`<a class="nowrap" href=${`/rollouts/${part}`}>${part}</a>` : part));

/** A labelled region: title, note, tools at the end, foot. */
export function Panel({ title, note, end, children, foot, label, id }) {
  return html`<section class="panel" id=${id} aria-label=${label || (typeof title === "string" ? title : undefined)}>
    ${title && html`<header><h2>${title}</h2>${note && html`<span class="note">${note}</span>`}
      ${end && html`<div class="end">${end}</div>`}</header>`}
    ${children}${foot && html`<footer>${foot}</footer>`}</section>`;
}

/** A table that scrolls sideways by itself, says its name, and can be had as a file. `csv`: see Csv, for a list with more pages. */
export const Table = ({ label, head, children, csv }) => html`<div class="scroll" tabindex="0" role="region" aria-label=${label}>
  <table><thead><tr>${head}</tr></thead><tbody>${children}</tbody></table></div><p class="table-end"><${Csv} label=${label} of=${csv} /></p>`;

/** A bar of parts: [[look, n, word], ...]; its words are its label. */
export function Parts({ parts, total, label }) {
  const whole = total || parts.reduce((sum, [, n]) => sum + n, 0) || 1, shown = parts.filter(([, n]) => n);
  const words = label || shown.map(([, n, word]) => `${n} ${word}`).join(", ") || "none";
  return html`<div class="parts" role="img" aria-label=${words}>
    ${shown.map(([look, n]) => html`<i class=${`p-${look}`} style=${{ flexBasis: 0, flexGrow: n / whole }} />`)}</div>`;
}

/** An estimate between `lo` and `hi` on the scale `low` to `high`, against what is allowed. */
export function Interval({ lo, value, hi, limit, low, high, verdict, below = false, zero }) {
  const at = (x) => `${Math.min(100, Math.max(0, ((x - low) / (high - low)) * 100))}%`;
  const allowed = limit === undefined ? "" : `, ${limit} allowed`;
  const zone = below ? { left: 0, right: `calc(100% - ${at(limit)})` } : { left: at(limit), right: 0 };
  return html`<span class=${`iv ${kind(verdict)}`} role="img"
      aria-label=${`${value.toFixed(3)}, between ${lo.toFixed(3)} and ${hi.toFixed(3)}${allowed}`}>
    ${limit !== undefined && html`<span class=${`zone ${below ? "left" : ""}`} style=${zone} />`}
    ${zero !== undefined && html`<span class="zero" style=${{ left: at(zero) }} />`}
    <span class="range" style=${{ left: at(lo), right: `calc(100% - ${at(hi)})` }} />
    <span class="dot" style=${{ left: at(value) }} /></span>`;
}

/** A short line of values without axes. */
export function Spark({ values, limit, label }) {
  const low = Math.min(...values, limit ?? Infinity), high = Math.max(...values, limit ?? -Infinity);
  const y = (v) => 27 - ((v - low) / (high - low || 1)) * 25, last = Math.max(1, values.length - 1);
  const path = values.map((v, i) => `${i ? "L" : "M"}${((i / last) * 100).toFixed(1)} ${y(v).toFixed(1)}`).join("");
  return html`<svg class="spark" viewBox="0 0 100 28" preserveAspectRatio="none" role="img" aria-label=${label}>
    ${limit !== undefined && html`<path class="lim" d=${`M0 ${y(limit)}H100`} />`}<path d=${path} /></svg>`;
}

const toClipboard = (text) => navigator.clipboard?.writeText(text).catch(() => {});

export function Copy({ text, children }) {
  const [done, setDone] = useState(false);
  const copy = () => { toClipboard(text); setDone(true); setTimeout(() => setDone(false), 1200); };
  return html`<button class="copy mono" title="Copy" onClick=${copy}>${children || text}
    <span class="hide">${done ? "copied" : ", copy"}</span><${Icon} name=${done ? "check" : "copy"} /></button>`;
}

/** A command to copy, a line of its own. */
export const Command = ({ text }) => html`<div class="cmd"><span class="faint" aria-hidden="true">$</span>
  <span tabindex="0" role="group" aria-label="Command">${text}</span>
  <button class="btn bare icon-only" aria-label=${`Copy: ${text}`} onClick=${() => toClipboard(text)}><${Icon} name="copy" /></button></div>`;

/** The same in a terminal. */
export const Terminal = ({ text }) => html`<span class="term lo">in a terminal: <${Copy} text=${text} /></span>`;

/** One choice of a few. */
export const Seg = ({ label, value, options, onPick }) => html`<div class="seg" role="group" aria-label=${label}>
  ${options.map((o) => html`<button aria-pressed=${String(o === value)} onClick=${() => onPick(o)}>${o}</button>`)}</div>`;

let acts = 0;
/** A button that says why it is off. It stays reachable by keyboard, so that the reason is, too. */
export function Act({ icon, children, off, onClick, harm, main }) {
  const id = useRef(`off-${acts += 1}`).current;
  const button = html`<button class=${`btn ${harm ? "harm" : ""} ${main ? "main" : ""}`} aria-disabled=${off ? "true" : undefined}
    aria-describedby=${off ? id : undefined} onClick=${off ? undefined : onClick}>${icon && html`<${Icon} name=${icon} />`}${children}</button>`;
  return off ? html`<span class="why-off">${button}<span class="tip" role="tooltip" id=${id}>${off}</span></span>` : button;
}

/** A native dialog: focus starts on the first button of its foot, which is the harmless one. */
export function Dialog({ open, title, children, onClose, foot, plain: look }) {
  const box = useRef();
  useEffect(() => {
    const d = box.current;
    if (open && !d.open) { d.showModal(); d.querySelector("footer button")?.focus(); }
    if (!open && d.open) d.close();
  }, [open]);
  return html`<dialog ref=${box} class=${look || ""} onClose=${onClose} aria-label=${title}
    onClick=${(e) => e.target === box.current && onClose()}>
    ${open && html`${!look && html`<header><h2>${title}</h2></header>`}${children}${foot && html`<footer>${foot}</footer>`}`}</dialog>`;
}

export function Pager({ page, pages, from, to, total, go, unit = "devices" }) {
  const step = (by, name, icon, off) => html`<button class="btn icon-only" aria-label=${name} aria-disabled=${off ? "true" : undefined}
    onClick=${() => !off && go(page + by)}><${Icon} name=${icon} /></button>`;
  return html`<nav class="pager" aria-label=${`Pages of ${unit}`}>
    <span aria-live="polite">${total ? `${count(from)} to ${count(to)} of ${count(total)} ${unit}` : `no ${unit}`}</span>
    <span class="spring" />${step(-1, "Previous page", "left", page <= 1)}<span>${page} / ${Math.max(1, pages)}</span>
    ${step(1, "Next page", "right", page >= pages)}</nav>`;
}

export function useWidth() {
  const ref = useRef(), [width, setWidth] = useState(0);
  useEffect(() => {
    const seen = new ResizeObserver(([e]) => setWidth(Math.floor(e.contentRect.width)));
    seen.observe(ref.current);
    return () => seen.disconnect();
  }, []);
  return [ref, width];
}

export function useScheme() {
  const query = matchMedia("(prefers-color-scheme: dark)"), [dark, setDark] = useState(query.matches);
  useEffect(() => {
    const heard = () => setDark(query.matches);
    query.addEventListener("change", heard);
    return () => query.removeEventListener("change", heard);
  }, []);
  return dark;
}

/** The value of a token of the style sheet, for what is painted on a canvas. */
export const token = (name) => getComputedStyle(document.documentElement).getPropertyValue(name).trim();
