// The controller's stream of events, by fetch: it tells a refused session from a lost connection, EventSource does not.
// Decides when to connect again, from which event, and which topics an event concerns.
import { change, changed, state } from "./store.js";

const MOST_WAIT_S = 30;
const QUIET_S = 40;
/** Seconds without a byte after which the connection counts as lost: the controller says "still here" every 15. */
let last = "", wait_s = 1, stop = null;

/** What an event of this type concerns. */
function topic(type) {
  if (type.startsWith("dev.edgeward.rollout") || type.startsWith("dev.edgeward.verdict")) return "rollouts";
  if (type.startsWith("dev.edgeward.audit.rollout") || type === "dev.edgeward.mention") return "rollouts";
  if (type.startsWith("dev.edgeward.audit")) return "audit";
  if (type.startsWith("dev.edgeward.alert")) return "alerts";
  if (type.startsWith("dev.edgeward.model") || type.startsWith("dev.edgeward.drift")) return "models";
  return "fleet";
}

function take(block) {
  const lines = Object.fromEntries(block.split("\n").map((line) => [line.slice(0, line.indexOf(":")), line.slice(line.indexOf(":") + 1).trim()]));
  if (lines.id) last = lines.id;
  if (!lines.event) return;
  changed(topic(lines.event));
  dispatchEvent(new CustomEvent("edgeward:event", { detail: { type: lines.event, data: lines.data } }));
}

async function read(body, heard) {
  const reader = body.pipeThrough(new TextDecoderStream()).getReader();
  let text = "";
  for (;;) {
    const { value, done } = await reader.read();
    if (done) return;
    heard();
    text += value;
    const blocks = text.split("\n\n");
    text = blocks.pop();
    blocks.forEach(take);
  }
}

async function once() {
  const aborted = new AbortController();
  let timer = 0;
  const heard = () => { clearTimeout(timer); timer = setTimeout(() => aborted.abort(), QUIET_S * 1000); };
  stop = () => aborted.abort();
  heard();
  try {
    const answer = await fetch("/v1/events", { headers: last ? { "Last-Event-ID": last } : {}, signal: aborted.signal });
    if (answer.status === 401) return change({ link: "out", me: null, refused: state.me ? "Your session has ended." : "" });
    if (!answer.ok) throw new Error(String(answer.status));
    if (wait_s > 1 || state.link === "stale") changed("*");
    wait_s = 1;
    change({ link: "live", since: 0 });
    await read(answer.body, heard);
  } finally {
    clearTimeout(timer);
  }
}

/** Listens until the session ends. Call it once after each login. */
export async function listen() {
  while (state.link !== "out") {
    try {
      await once();
    } catch {
      if (state.link !== "out" && !document.hidden && state.link !== "stale") change({ link: "stale", since: Date.now() / 1000 });
    }
    if (state.link === "out") return;
    await new Promise((resolve) => { listen.now = resolve; setTimeout(resolve, wait_s * 1000); });
    wait_s = Math.min(MOST_WAIT_S, wait_s * 2);
  }
}

/** Connects at once in place of after the wait. */
export function reconnect() {
  wait_s = 1;
  listen.now?.();
}

addEventListener("pagehide", () => stop?.());
