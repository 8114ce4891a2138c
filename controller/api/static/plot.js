// Time series by uPlot: one look, shared cursors, a legend that reads values, keys, and a table twin.
import { html, useEffect, useRef, useState, useWidth, useScheme, token, clock, stamp } from "./ui.js";

let loading;
/** The library comes with the first plot, not with the first page. */
function library() {
  loading ||= new Promise((resolve, reject) => {
    const sheet = Object.assign(document.createElement("link"), { rel: "stylesheet", href: "/static/vendor/uplot.css" });
    const script = Object.assign(document.createElement("script"), { src: "/static/vendor/uplot.js" });
    script.onload = () => resolve(window.uPlot);
    script.onerror = reject;
    document.head.append(sheet, script);
  });
  return loading;
}

const DASH = { dash: [5, 4], dot: [1.5, 3] };

/**
 * series: [{label, values, colour: "--accent", dash, fill, band: [lo, hi], digits, unit, points, bars}], t in seconds.
 * limit: {value, above: bool, label}; marks: [[t, words]].
 */
export function Plot({ label, t, series, height = 180, sync, limit, marks = [], range, unit = "", format, brief, days, yAxis = true }) {
  const [box, width] = useWidth(), dark = useScheme(), made = useRef(), keys = useRef([]), host = useRef(), [open, setOpen] = useState(false);
  const show = format || ((v) => `${v.toFixed(1)}${unit}`);
  brief ||= format ? null : (v) => (Math.abs(v) >= 10 || Number.isInteger(v) ? v.toFixed(0) : v.toFixed(1));
  const read = (u, index) => series.forEach((s, i) => {
    const at = index ?? lastOf(s.values), v = s.values[at];
    if (keys.current[i]) keys.current[i].textContent = v == null ? "–" : show(v, s) + (s.band && s.band[0][at] != null ? ` [${show(s.band[0][at], s)}, ${show(s.band[1][at], s)}]` : "");
  });
  useEffect(() => {
    if (!width) return;
    let gone = false, u;
    library().then((uPlot) => {
      if (gone) return;
      const ink3 = token("--ink3"), line = token("--line"), font = `11px ${token("--sans")}`, data = [t], lines = [{}], bands = [];
      for (const s of series) {
        const stroke = token(s.colour);
        if (s.band) {
          data.push(s.band[1], s.band[0]);
          const edge = { stroke: "transparent", points: { show: false }, spanGaps: false };
          lines.push(edge, { ...edge });
          bands.push({ series: [data.length - 2, data.length - 1], fill: alpha(stroke, dark ? 0.22 : 0.15) });
        }
        data.push(s.values);
        lines.push({ stroke, width: s.thin ? 1 : 1.75, dash: DASH[s.dash], fill: s.fill ? alpha(stroke, dark ? 0.16 : 0.09) : undefined, points: { show: Boolean(s.points), size: 4, fill: stroke }, spanGaps: false,
          paths: s.bars ? uPlot.paths.bars({ size: [0.7, 8] }) : undefined });
      }
      const axis = { stroke: ink3, font, ticks: { show: false }, grid: { stroke: line, width: 1 }, border: { show: false } };
      u = new uPlot({
        width, height, legend: { show: false }, padding: [10, 18, 0, 0], cursor: { sync: sync && { key: sync, setSeries: false }, points: { size: 7, stroke: token("--panel"), fill: (v, i) => v.series[i]._stroke || ink3 }, drag: { x: true, y: false }, y: false },
        tzDate: (s) => uPlot.tzDate(new Date(s * 1000), "Etc/UTC"),
        scales: { x: { time: true }, y: range ? { range } : {} },
        axes: [{ ...axis, grid: { show: false }, space: days ? 70 : 60, values: (v, splits) => splits.map((s) => (days ? dayOf(s) : clock(s))), size: 24 }, { ...axis, show: yAxis, size: 40, space: 30, values: (v, splits) => splits.map((s) => (brief || show)(s)) }],
        series: lines, bands,
        hooks: { setCursor: [(v) => read(v, v.cursor.idx ?? undefined)], drawAxes: [(v) => under(v, limit, marks, dark)], draw: [(v) => whiskers(v, t, series)] },
      }, data, host.current);
      made.current = u;
      read(u);
    });
    return () => { gone = true; u?.destroy(); made.current = undefined; };
  }, [width, dark, t, height, ...series.map((s) => s.values)]);
  const step = (by) => {
    const u = made.current;
    if (!u) return;
    const index = Math.min(t.length - 1, Math.max(0, (u.cursor.idx ?? t.length - 1) + by));
    u.setCursor({ left: u.valToPos(t[index], "x"), top: 10 });
  };
  return html`<figure class="plot" aria-label=${label}>
    <figcaption class="keys">${series.map((s, i) => html`<span><i class=${s.dash || ""} style=${{ color: `var(${s.colour})` }} />${s.label} <b ref=${(e) => { keys.current[i] = e; }} aria-live="off" /></span>`)}${limit && html`<span><i class="dash" style=${{ color: "var(--bad-fill)" }} />${limit.label}</span>`}</figcaption>
    <div class="canvas" ref=${box} style=${{ "--h": `${height}px` }} tabindex="0" role="img" aria-label=${`${label}. Left and right arrow read values; a table follows.`}
      onKeyDown=${(e) => { if (e.key === "ArrowLeft" || e.key === "ArrowRight") { e.preventDefault(); step((e.key === "ArrowLeft" ? -1 : 1) * (e.shiftKey ? 6 : 1)); } }}><div ref=${host} /></div>
    <details class="twin" onToggle=${(e) => setOpen(e.target.open)}><summary>table</summary>${open && html`<div class="scroll" tabindex="0" role="region" aria-label=${`${label}, as a table`}><table><thead><tr><th>time, UTC</th>${series.map((s) => html`<th class="figure">${s.label}</th>`)}</tr></thead>
      <tbody>${t.map((at, i) => html`<tr><td>${stamp(at)}</td>${series.map((s) => html`<td class="figure">${s.values[i] == null ? "–" : show(s.values[i], s)}${s.band && s.band[0][i] != null ? html` <span class="faint">[${show(s.band[0][i], s)}, ${show(s.band[1][i], s)}]</span>` : ""}</td>`)}</tr>`).reverse()}</tbody></table></div>`}</details></figure>`;
}

const lastOf = (values) => { let i = values.length - 1; while (i > 0 && values[i] == null) i -= 1; return i; };
const dayOf = (s) => new Date(s * 1000).toLocaleDateString("en-GB", { day: "numeric", month: "short", timeZone: "UTC" });
function alpha(colour, amount) {
  const n = parseInt(colour.slice(1), 16);
  return `rgba(${n >> 16}, ${(n >> 8) & 255}, ${n & 255}, ${amount})`;
}

/** What lies under the lines: the zone that is not allowed, and upright marks with words. */
function under(u, limit, marks, dark) {
  const { ctx } = u, { left, top, width, height } = u.bbox, dpr = devicePixelRatio || 1;
  ctx.save();
  if (limit) {
    const y = Math.min(top + height, Math.max(top, u.valToPos(limit.value, "y", true)));
    ctx.fillStyle = alpha(token("--bad-fill"), dark ? 0.12 : 0.07);
    limit.below ? ctx.fillRect(left, y, width, top + height - y) : ctx.fillRect(left, top, width, y - top);
    ctx.strokeStyle = token("--bad-fill"); ctx.lineWidth = 1.25 * dpr; ctx.setLineDash([5 * dpr, 3 * dpr]);
    ctx.beginPath(); ctx.moveTo(left, y); ctx.lineTo(left + width, y); ctx.stroke();
  }
  ctx.setLineDash([2 * dpr, 3 * dpr]); ctx.lineWidth = dpr; ctx.strokeStyle = token("--edge"); ctx.fillStyle = token("--ink3"); ctx.font = `${11 * dpr}px ${token("--sans")}`; ctx.textBaseline = "top"; ctx.textAlign = "left";
  let taken = -Infinity, line = 0;
  for (const [at, words] of marks) {
    const x = Math.round(u.valToPos(at, "x", true));
    if (x < left || x > left + width) continue;
    ctx.beginPath(); ctx.moveTo(x, top); ctx.lineTo(x, top + height); ctx.stroke();
    const room = ctx.measureText(words).width + 8 * dpr;
    ctx.textAlign = x + room > left + width ? "right" : "left";
    const from = ctx.textAlign === "left" ? x : x - room;
    line = from < taken ? line + 1 : 0;
    taken = Math.max(taken, from + room);
    ctx.fillText(words, x + (ctx.textAlign === "left" ? 4 : -4) * dpr, top + (2 + 14 * line) * dpr);
  }
  ctx.restore();
}

/** A value without neighbours has no line and no band: it gets its interval as a whisker. */
function whiskers(u, t, series) {
  const { ctx } = u, dpr = devicePixelRatio || 1;
  ctx.save();
  for (const s of series) {
    if (!s.band) continue;
    ctx.setLineDash([]); ctx.strokeStyle = token(s.colour); ctx.fillStyle = token(s.colour); ctx.lineWidth = 1.5 * dpr;
    s.values.forEach((v, i) => {
      if (v == null || s.values[i - 1] != null || s.values[i + 1] != null) return;
      const x = u.valToPos(t[i], "x", true), [low, high] = s.band.map((edge) => Math.min(u.bbox.top + u.bbox.height, Math.max(u.bbox.top, u.valToPos(edge[i], "y", true))));
      ctx.beginPath(); ctx.moveTo(x, low); ctx.lineTo(x, high); ctx.moveTo(x - 3 * dpr, low); ctx.lineTo(x + 3 * dpr, low); ctx.moveTo(x - 3 * dpr, high); ctx.lineTo(x + 3 * dpr, high); ctx.stroke();
      ctx.beginPath(); ctx.arc(x, u.valToPos(v, "y", true), 3 * dpr, 0, 7); ctx.fill();
    });
  }
  ctx.restore();
}
