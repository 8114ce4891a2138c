// Words and their kinds: colour, shape and text go together, so that no state is told by colour alone.
import { html } from "./vendor/preact-htm.js";
import { plain } from "./words.js";

const WORDS = {
  good: "well online steady pass passed succeeded completed resolved confirmed stable ok finished",
  busy: "updating running pending fetching verifying probing trial ready starting on_trial",
  warn: "attention paused warning pinned held sent_back",
  quiet: "silent",
  bad: "failing fail failed rejected regressed rolled_back rolling_back aborting aborted firing error critical broken",
  ask: "inconclusive proposed unknown no_harm_shown",
  off: "offline waiting absent stopped silenced inhibited none info never ended retired no_data",
};
const KIND = Object.fromEntries(Object.entries(WORDS).flatMap(([kind, words]) => words.split(" ").map((w) => [w, kind])));

/** The kind of a word of the API; an unknown word is `off`, never nothing. */
export const kind = (word) => KIND[word] || "off";

const CROSS = html`<path d="M4.3 4.3l4.4 4.4M8.7 4.3L4.3 8.7" stroke="var(--panel)" stroke-width="1.5" />`;
const SHAPES = {
  good: html`<circle cx="6.5" cy="6.5" r="6" fill="currentColor" />
    <path d="M3.6 6.8l2 2 3.8-4.2" stroke="var(--panel)" stroke-width="1.5" fill="none" />`,
  busy: html`<circle cx="6.5" cy="6.5" r="5.25" fill="none" stroke="currentColor" stroke-width="1.5" />
    <path d="M6.5 1.25a5.25 5.25 0 0 1 0 10.5z" fill="currentColor" />`,
  warn: html`<path d="M6.5.8l6 11h-12z" fill="currentColor" />
    <path d="M6.5 4.8v3.4M6.5 9.4v1.2" stroke="var(--panel)" stroke-width="1.4" />`,
  bad: html`<path d="M3.8.5h5.4l3.3 3.3v5.4l-3.3 3.3H3.8L.5 9.2V3.8z" fill="currentColor" />${CROSS}`,
  ask: html`<path d="M6.5.7l5.8 5.8-5.8 5.8L.7 6.5z" fill="none" stroke="currentColor" stroke-width="1.4" />
    <path d="M5 5.3c0-2 3-2 3-.1 0 1.1-1.5 1.1-1.5 2.2M6.5 8.6v1" stroke="currentColor" stroke-width="1.2" fill="none" />`,
  quiet: html`<rect x="1.25" y="1.25" width="10.5" height="10.5" rx="1.5" fill="none" stroke="currentColor" stroke-width="1.6" />
    <rect x="5" y="5" width="3" height="3" fill="currentColor" />`,
  off: html`<circle cx="6.5" cy="6.5" r="5.25" fill="none" stroke="currentColor" stroke-width="1.5" stroke-dasharray="2.2 1.5" />`,
};

/** The shape of a kind; its colour is that of the text around it. */
export const Mark = ({ of }) => html`<svg class=${`mark ${of}`} viewBox="0 0 13 13" aria-hidden="true">${SHAPES[of]}</svg>`;
/** A shape in the colour of its kind, where the words stand beside it. */
export const Lone = ({ of }) => html`<span class=${`lone ${of}`}><${Mark} of=${of} /></span>`;
/** A word of the API with its shape. */
export const Status = ({ word, children }) =>
  html`<span class=${`status ${kind(word)}`}><${Mark} of=${kind(word)} />${children || plain(word)}</span>`;
/** The same as the state of a whole page or row. */
export const Pill = ({ word, children }) =>
  html`<span class=${`pill ${kind(word)}`}><${Mark} of=${kind(word)} />${children || plain(word)}</span>`;

/** A device's cell in the map of all devices, as the legend shows it. */
const CELLS = {
  well: html`<rect width="11" height="11" fill="var(--well)" />`,
  updating: html`<rect width="11" height="11" fill="var(--accent-soft)" /><path d="M0 11L11 0v11z" fill="var(--accent)" />`,
  attention: html`<path d="M5.5 0L11 11H0z" fill="var(--warn)" />`,
  failing: html`<rect width="11" height="11" fill="var(--bad-fill)" />
    <path d="M2.5 2.5l6 6M8.5 2.5l-6 6" stroke="var(--panel)" stroke-width="1.6" />`,
  silent: html`<rect x=".8" y=".8" width="9.4" height="9.4" fill="none" stroke="var(--warn)" stroke-width="1.6" />
    <rect x="4.25" y="4.25" width="2.5" height="2.5" fill="var(--warn)" />`,
  offline: html`<rect x=".5" y=".5" width="10" height="10" fill="none" stroke="var(--edge)" />`,
};
CELLS.online = CELLS.well;
export const Glyph = ({ of }) => html`<svg class="glyph" viewBox="0 0 11 11" aria-hidden="true">${CELLS[of] || CELLS.offline}</svg>`;

const PATHS = {
  search: "M7 12A5 5 0 1 0 7 2a5 5 0 0 0 0 10zM10.6 10.6L14 14", copy: "M5.5 5.5v-3h8v8h-3M2.5 5.5h8v8h-8z",
  pause: "M5.5 3v10M10.5 3v10", play: "M5 3l8 5-8 5z", forward: "M3 3.5l5 4.5-5 4.5zM8.5 3.5l5 4.5-5 4.5z",
  stop: "M3.5 3.5h9v9h-9z", back: "M6 3L2.5 6.5 6 10M3 6.5h6.5a4 4 0 0 1 0 8H6", check: "M3 8.5l3.2 3.2L13 4.8",
  left: "M10 3L5 8l5 5", right: "M6 3l5 5-5 5", pin: "M6 2h4l-.5 5 2.5 2.5H4L6.5 7zM8 9.5V14",
  down: "M8 2.5v8M4.5 7.5L8 11l3.5-3.5M3 13.5h10", bell: "M4 11V7a4 4 0 0 1 8 0v4l1 1.5H3zM6.5 14.5h3",
  close: "M3.5 3.5l9 9M12.5 3.5l-9 9", fleet: "M2.5 2.5h4v4h-4zM9.5 2.5h4v4h-4zM2.5 9.5h4v4h-4zM9.5 9.5h4v4h-4z",
  waves: "M1.5 13.5h3v-3h3.5v-3.5h3.5V3.5h3", cube: "M8 1.5l6 3.25v6.5L8 14.5l-6-3.25v-6.5zM2 4.750L8 8l6-3.25M8 8v6.5",
  list: "M2.5 4l1 1 1.5-2M7 4h7M2.5 8l1 1 1.5-2M7 8h7M2.5 12l1 1 1.5-2M7 12h7",
  key: "M10.5 9a3.5 3.5 0 1 0-3.300-2.300L2 12v2h2.5v-1.5H6V11l1.300-1.300",
};
export const Icon = ({ name }) => html`<svg class="icon" viewBox="0 0 16 16" aria-hidden="true" fill="none"
  stroke="currentColor" stroke-width="1.4" stroke-linejoin="round" stroke-linecap="round"><path d=${PATHS[name]} /></svg>`;
