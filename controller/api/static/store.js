// What the page knows and where it stands: the reader, the address, and answers of the controller.
// Decides when to ask again, and what a failed question means. Refuses to know what a page shows.
import { useState, useEffect, useRef } from "./vendor/preact-htm.js";

const hearers = new Set();
let changes = 0;
/** `link`: asking | live | stale (the controller does not answer) | out (no session). */
export const state = { me: null, link: "asking", since: 0, toast: null, finding: false, helping: false, refused: "" };

export function change(patch) {
  Object.assign(state, patch);
  changes += 1;
  hearers.forEach((hear) => hear());
}

export function useStore() {
  const [, again] = useState(0), drawn = changes;
  useEffect(() => {
    const hear = () => again((n) => n + 1);
    hearers.add(hear);
    if (drawn !== changes) hear(); // an effect runs after the picture: what came between would be shown by nobody
    return () => hearers.delete(hear);
  }, []);
  return state;
}

// ---- asking

/** An answer that says no: `code` and `detail` are the controller's words. */
class Refused extends Error {
  constructor(status, code, detail, path) {
    super(`${code}: ${detail}`);
    Object.assign(this, { status, code, detail, path });
  }
}

/** One call. Throws Refused, or a TypeError of the browser where nobody answers. */
export async function api(path, { method = "GET", body } = {}) {
  const headers = { "X-Edgeward-Page": "1", ...(body === undefined ? {} : { "Content-Type": "application/json" }) };
  let answer;
  try {
    answer = await fetch(path, { method, headers, credentials: "same-origin", body: body === undefined ? undefined : JSON.stringify(body) });
  } catch (error) {
    if (state.link !== "stale") change({ link: "stale", since: Date.now() / 1000 });
    throw error;
  }
  const found = await answer.json().catch(() => ({ code: "internal", detail: "the answer is no JSON" }));
  if (state.link === "stale") change({ link: "live", since: 0 });
  if (answer.status === 401 && path !== "/v1/session") ended();
  if (!answer.ok) throw new Refused(answer.status, found.code, found.detail, `${method} ${path}`);
  return found;
}

/** The session is over: its token was revoked, or it is past its end. */
export function ended() {
  if (state.me) change({ link: "out", me: null, refused: "Your session has ended." });
}

/** No redraw while somebody has a dialog or a menu open, or has selected text. */
const busy = () => document.hidden || document.querySelector("dialog[open], [popover]:popover-open") !== null
  || String(getSelection() || "").length > 0;

const turns = new Set();
/** Tells what has changed; every question that it concerns is asked again, at most once a second. */
export const changed = (topic) => turns.forEach((turn) => turn(topic));

/**
 * Asks `path`, and again when one of `topics` has changed (see live.js), after `every_s`, or by `again()`.
 * Returns {data, error, at, again}; `data` stays while a later question fails or the path changes.
 */
export function useAsked(path, { topics = [], every_s = 0 } = {}) {
  const [found, setFound] = useState({}), number = useRef(0), due = useRef(0);
  const look = async () => {
    if (!path) return;
    const mine = (number.current += 1);
    try {
      const data = await api(path);
      if (mine === number.current) setFound({ data, path, at: Date.now() / 1000 });
    } catch (error) {
      if (mine === number.current) setFound((old) => ({ ...old, error }));
    }
  };
  useEffect(() => {
    look();
    const later = (wait_ms) => { due.current ||= setTimeout(() => { due.current = 0; busy() ? later(1000) : look(); }, wait_ms); };
    const turn = (topic) => (topic === "*" || topics.includes(topic)) && later(1000);
    turns.add(turn);
    const timer = every_s ? setInterval(() => later(0), every_s * 1000) : 0;
    return () => { turns.delete(turn); clearInterval(timer); clearTimeout(due.current); due.current = 0; };
  }, [path]);
  return { ...found, again: look };
}

// ---- the address

/** The address: decoded parts of its path, and its query. Filters live there, so that a view can be sent to somebody. */
export function where() {
  return { path: location.pathname.split("/").filter(Boolean).map(decoded), query: new URLSearchParams(location.search) };
}

/** A part of a path as text; as it stands where it was mistyped, as "100%" is. */
function decoded(part) {
  try { return decodeURIComponent(part); } catch { return part; }
}

const MOVED = "edgeward:moved";
export function useWhere() {
  const [here, setHere] = useState(where());
  useEffect(() => {
    const heard = () => setHere(where());
    addEventListener(MOVED, heard);
    addEventListener("popstate", heard);
    heard();
    return () => { removeEventListener(MOVED, heard); removeEventListener("popstate", heard); };
  }, []);
  return here;
}

/** Goes to an address of the page. */
export function go(address) {
  history.pushState(null, "", address);
  dispatchEvent(new Event(MOVED));
}

/** An address below a collection, for an id that may hold anything. */
export const address = (collection, id) => `/${collection}/${encodeURIComponent(id)}`;

/** Changes parts of the query; a value of "" takes its part out. Filters begin again at the first page. */
export function ask(changes, { keepPage = false } = {}) {
  const { query } = where();
  if (!keepPage) query.delete("page");
  for (const [key, value] of Object.entries(changes)) value === "" || value == null ? query.delete(key) : query.set(key, value);
  const text = query.toString();
  history.replaceState(null, "", `${location.pathname}${text ? `?${text}` : ""}`);
  dispatchEvent(new Event(MOVED));
}

/** A click on a link of the page changes the address without a load; all others are the browser's. */
export function onClick(event) {
  const link = event.target.closest?.("a[href]");
  if (!link || event.button || event.metaKey || event.ctrlKey || event.shiftKey || event.altKey || link.target || link.download) return;
  if (link.origin !== location.origin || link.getAttribute("href").startsWith("#")) return;
  event.preventDefault();
  go(link.pathname + link.search);
}

// ---- the reader

const ROLES = { push: ["operator"], rollout: ["operator"], device: ["operator", "admin"], approve: ["approver"], admin: ["admin"], view: ["viewer"] };

/** Why the reader may not do something now, or nothing. */
export function refusal(permission) {
  if (state.link === "stale") return "The controller does not answer.";
  if (!state.me || state.me.permissions.includes(permission)) {
    const alone = permission === "approve" && state.me && !state.me.approves;
    return alone ? "The controller's own token may not approve: approval needs a person with a token of their own." : "";
  }
  const roles = state.me.roles.length > 1 ? `roles ${state.me.roles.join(", ")}` : `role ${state.me.roles[0]}`;
  return `Your token has the ${roles}. This needs the role ${ROLES[permission].join(" or ")}: ask an administrator for another token.`;
}

/** Why the reader's scope keeps them from acting on a `rollout`, a `device` or a whole `model`, or, with `what` empty, on what everybody shares; or nothing. */
export function useScope(what, id) {
  const { data } = useAsked(state.me?.scope ? `/v1/me/refusal${what && `?${what}=${encodeURIComponent(id)}`}` : "");
  return !state.me?.scope ? "" : data ? data.words && `${data.words[0].toUpperCase()}${data.words.slice(1)}.` : "Asking what your token is for.";
}

/** A message that passes; nothing stands here alone. */
export function said(kind, words) {
  change({ toast: { kind, words } });
  clearTimeout(said.timer);
  said.timer = setTimeout(() => change({ toast: null }), 4500);
}
