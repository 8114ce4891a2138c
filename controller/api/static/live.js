// The controller's stream of what has changed, by fetch: it tells a refused session from a lost connection, EventSource does not.
// Decides when to connect again. Refuses to know what a page shows: a topic that has changed is asked for again.
import { change, changed, ended, state } from "./store.js";

const MOST_WAIT_S = 30;
/** Seconds without a byte after which a connection counts as lost: the controller says "still here" every 15. */
const QUIET_S = 40;
/** Seconds after which a tab that nobody sees lets its connection go: without HTTP/2 a browser holds six to one address, for all tabs. */
const HIDDEN_S = 10;
let last = "", wait_s = 1, now = null;

function take(block) {
  const found = Object.fromEntries(block.split("\n").map((line) => [line.slice(0, line.indexOf(":")), line.slice(line.indexOf(":") + 1).trim()]));
  if (found.id) last = found.id;
  if (found.event !== "live") return;
  const message = JSON.parse(found.data);
  change({ fleet: message });
  message.topics.forEach(changed);
}

async function read(body, heard) {
  const reader = body.pipeThrough(new TextDecoderStream()).getReader();
  let text = "";
  for (;;) {
    const { value, done } = await reader.read();
    if (done) return;
    heard();
    const blocks = (text + value).split("\n\n");
    text = blocks.pop();
    blocks.forEach(take);
  }
}

/** One connection. Whoever was away has missed something: every question is asked again. */
async function once() {
  const aborted = new AbortController();
  let timer = 0;
  const heard = () => { clearTimeout(timer); timer = setTimeout(() => aborted.abort(), QUIET_S * 1000); };
  let unseen = 0;
  const looked = () => { clearTimeout(unseen); if (document.hidden) unseen = setTimeout(() => aborted.abort(), HIDDEN_S * 1000); };
  document.addEventListener("visibilitychange", looked);
  heard();
  looked();
  try {
    const answer = await fetch("/v1/live", { headers: last ? { "Last-Event-ID": last } : {}, signal: aborted.signal });
    if (answer.status === 401) return void ended();
    if (!answer.ok) throw new Error(String(answer.status));
    const was_away = last !== "";
    wait_s = 1;
    change({ link: "live", since: 0 });
    if (was_away) changed("*");
    await read(answer.body, heard).catch(() => {});
  } finally {
    document.removeEventListener("visibilitychange", looked);
    clearTimeout(timer);
    clearTimeout(unseen);
  }
}

/** Ends when somebody looks at this tab. */
const seen = () => new Promise((resolve) => {
  const look = () => document.hidden || (document.removeEventListener("visibilitychange", look), resolve());
  document.addEventListener("visibilitychange", look);
  look();
});

let listening = false;
/** Listens until the session ends. Call it after each login; there is one stream at a time. */
export async function listen() {
  if (listening) return;
  listening = true;
  while (state.link !== "out") {
    await seen();
    await once().catch(() => state.link === "live" && change({ link: "stale", since: Date.now() / 1000 }));
    if (state.link === "out") break;
    await new Promise((resolve) => { now = resolve; setTimeout(resolve, wait_s * 1000); });
    wait_s = Math.min(MOST_WAIT_S, wait_s * 2);
  }
  listening = false;
}

/** Connects at once in place of after the wait. */
export function reconnect() {
  wait_s = 1;
  now?.();
}
