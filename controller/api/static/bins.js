// A distribution by its bins: what it is now, against what it was. Where nothing has moved, every bar touches its line.
import { html } from "./ui.js";

const shares = (counts) => { const sum = counts.reduce((all, n) => all + n, 0) || 1; return counts.map((n) => n / sum); };

/** [bin in words, share now, share before, share in the model's sample or null] of each bin that anything is in. */
export function sharesOf(bins) {
  const now = shares(bins.map((b) => b.now)), before = shares(bins.map((b) => b.before)), sample = shares(bins.map((b) => b.reference ?? 0));
  return bins.map((b, i) => [b.words, now[i], before[i], b.reference == null ? null : sample[i]]).filter(([, ...all]) => all.some(Boolean));
}

/** Bars of the shares now; a line at what each was before, a dot at what it was in the model's sample. */
export function Bins({ parts, label }) {
  const w = 100 / parts.length, top = Math.max(0.2, ...parts.flatMap((p) => p.slice(1))), y = (p) => `${100 - (p / top) * 100}%`;
  const box = (look, i, from, to) => html`<rect class=${look} x=${`${i * w + 0.6}%`} width=${`${w - 1.2}%`} y=${y(to)} height=${`${((to - from) / top) * 100}%`} />`;
  return html`<svg class="bins" role="img" aria-label=${label}>${parts.map(([words, now, before, sample], i) => html`<g><title>${words}</title>
    ${box("has", i, 0, Math.min(now, before))}${now > before ? box("over", i, before, now) : box("gap", i, now, before)}
    <line class="ref" x1=${`${i * w}%`} x2=${`${i * w + w}%`} y1=${y(before)} y2=${y(before)} />
    ${sample != null && html`<circle class="sample" cx=${`${(i + 0.5) * w}%`} cy=${y(sample)} r="2" />`}</g>`)}</svg>`;
}
