// Pushes that the controller converts now: at which step each is, and what share of it is done.
import { html, useEffect, Panel, lasting } from "./ui.js";
import { useAsked } from "./store.js";

/** Milliseconds between two questions while a push is under way; without one nothing is asked. */
const LOOK_MS = 1000;
/** Seconds after which a push is shown: a shorter one is over before anybody has read of it. */
const QUIET_S = 5;

/** `model`: only its pushes; without it those of all. */
export function BeingConverted({ model }) {
  const { data, again } = useAsked("/v1/pushes", { topics: ["pushes"] }), going = Boolean(data?.length);
  useEffect(() => {
    if (!going) return undefined;
    const timer = setInterval(() => document.hidden || again(), LOOK_MS);
    return () => clearInterval(timer);
  }, [going]);
  const shown = (data || []).filter((p) => p.took_s >= QUIET_S && (!model || p.model === model));
  if (!shown.length) return null;
  return html`<${Panel} title="Being converted" note="a version appears once its gates have judged it"><ul class="feed">${shown.map((p) => html`<li class="push" key=${p.began_at + p.model}>
    <span class="push-words"><b class="strong">${p.model}</b> <span class="soft">by ${p.by.replace(/^local:/, "")}, for ${lasting(p.took_s)}</span></span>
    <span class="figure strong">${Math.round(100 * p.ratio)} %</span>
    <span class="share" role="progressbar" aria-label=${`Push of ${p.model}`} aria-valuenow=${Math.round(100 * p.ratio)} aria-valuemin="0" aria-valuemax="100" aria-valuetext=${`${Math.round(100 * p.ratio)} percent, ${p.words}`}><i style=${{ width: `${100 * p.ratio}%` }} /></span>
    <span class="small soft push-step">step ${p.number} of ${p.of}: ${p.words}</span></li>`)}</ul><//>`;
}
