// Lineage as a graph: one lane a version, from data at the left to devices at the right. The edges are the controller's.
import { html, Panel, Terminal, many } from "./ui.js";
import { address } from "./store.js";

const ORDER = ["data", "run", "version", "rollout", "devices"];
const NAMES = { data: "data", run: "training", version: "version", rollout: "rollout", devices: "devices" };
const MOST_LANES = 4;

const linkOf = (model, n) => ({ version: `${address("models", model)}?version=${n.key}`, rollout: address("rollouts", n.key),
  devices: `/fleet?model=${encodeURIComponent(model)}&version=${n.key}` }[n.kind]);

function Node({ model, n, on, end, old }) {
  const href = linkOf(model, n), look = `node ${on ? "on" : ""} ${end ? "end" : ""} ${old ? "lane-old" : ""}`;
  return html`<${href ? "a" : "div"} href=${href} class=${look}><span class="faint kind">${NAMES[n.kind]}</span><b title=${n.title}>${n.title}</b>${n.lines.map((l) => html`<span class="soft line">${l}</span>`)}<//>`;
}

/** The nodes that lead to a version and from it, in the order of the columns. */
function lane(graph, release) {
  const mine = graph.nodes.filter((n) => n.release === release), ids = new Set(mine.map((n) => n.id));
  const feeding = graph.edges.filter((e) => ids.has(e.target) && !ids.has(e.source)).map((e) => e.source);
  return graph.nodes.filter((n) => ids.has(n.id) || feeding.includes(n.id));
}

export function Lineage({ model, graph, chosen }) {
  const releases = [...new Set(graph.nodes.filter((n) => n.kind === "version").map((n) => n.release))].sort((a, b) => b - a);
  const lanes = [...new Set([chosen, ...releases])].slice(0, MOST_LANES).sort((a, b) => b - a), more = releases.length - lanes.length + graph.left_out;
  return html`<${Panel} title="Lineage" note="read from the right to ask why a device answers as it does" end=${html`<${Terminal} text=${`edgeward model show ${model} --version ${chosen}`} />`}
    foot=${more > 0 && `${many(more, "older version")} not shown: choose one above.`}><div class="in"><div class="lanes">
    ${lanes.flatMap((release) => { const nodes = lane(graph, release), last = nodes.at(-1); return ORDER.map((kind) => {
      const n = nodes.find((x) => x.kind === kind), on = release === chosen;
      if (n) return html`<${Node} key=${`${release}${kind}`} model=${model} n=${n} on=${on} old=${!on} end=${n === last} />`;
      const words = { data: "data not told", rollout: "not rolled out", devices: "on no device" }[kind];
      return html`<span class=${`node none ${on ? "" : "lane-old"} ${kind === "data" ? "" : "end"}`} key=${`${release}${kind}`}>${words}</span>`;
    }); })}</div></div><//>`;
}
