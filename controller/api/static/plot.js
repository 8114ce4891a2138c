// Time series by uPlot: one look, shared cursors, a legend that reads values, keys, and a table twin.
// Decides how a series is drawn. Refuses to know what it measures. Hand in arrays that stay the same between renders (useMemo).
import { html, useEffect, useRef, useState, useWidth, useScheme, token, clock, count, stamp, Table } from "./ui.js";

const DASHES = { dash: [5, 4], dot: [1.5, 3] };
/** Points that an arrow key passes with Shift. */
const STRIDE = 6;
/** Pixels below which an axis has its labels closer together, so that more than one is shown. */
const SHORT = 130;

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

const lastOf = (values) => values.findLastIndex((v) => v != null);
const dayOf = (s) => new Date(s * 1000).toLocaleDateString("en-GB", { day: "numeric", month: "short", timeZone: "UTC" });
/** The least difference of two neighbours. */
const stepOf = (splits) => splits.slice(1).reduce((least, v, i) => Math.min(least, Math.abs(v - splits[i])), Infinity);
/** Labels of an axis of numbers, with as many digits as its step needs, in thousands or millions where these are shorter. */
export function brief(splits) {
  const most = Math.max(...splits.map(Math.abs)), [scale, unit] = most >= 1e7 ? [1e6, "M"] : most >= 1e4 ? [1e3, "k"] : [1, ""];
  const step = stepOf(splits) / scale, digits = Number.isFinite(step) && step > 0 ? Math.min(6, Math.max(0, -Math.floor(Math.log10(step) + 1e-9))) : splits.every((v) => Number.isInteger(v / scale)) ? 0 : 1;
  return splits.map((v) => `${(v / scale).toFixed(digits)}${v ? unit : ""}`);
}
/** Labels of an axis of time. */
const times = (splits, days) => (days ? splits.map(dayOf) : stepOf(splits) < 60 ? splits.map((s) => stamp(s).slice(11)) : splits.map(clock));
/** A label that repeats the one before it is left out. */
export const once = (labels) => labels.map((label, i) => (i && label === labels[i - 1] ? "" : label));
/** The room of the longest label, in pixels. */
const roomFor = (u, labels) => Math.max(40, 10 + 7 * Math.max(0, ...(labels || []).map((label) => String(label ?? "").length)));
function alpha(colour, amount) {
  const n = parseInt(colour.slice(1), 16);
  return `rgba(${n >> 16}, ${(n >> 8) & 255}, ${n & 255}, ${amount})`;
}

/** Columns, lines and bands for uPlot: a band is two more columns around its line. */
function columns(t, series, dark, uPlot) {
  const data = [t], lines = [{}], bands = [];
  for (const s of series) {
    const stroke = token(s.colour);
    if (s.band) {
      const edge = { stroke: "transparent", points: { show: false }, spanGaps: false };
      data.push(s.band[1], s.band[0]);
      lines.push(edge, { ...edge });
      bands.push({ series: [data.length - 2, data.length - 1], fill: alpha(stroke, dark ? 0.22 : 0.15) });
    }
    data.push(s.values);
    lines.push({ stroke, width: s.thin ? 1 : 1.75, dash: DASHES[s.dash], fill: s.fill ? alpha(stroke, dark ? 0.16 : 0.09) : undefined, spanGaps: false,
      points: { show: Boolean(s.points), size: 4, fill: stroke }, paths: s.bars ? uPlot.paths.bars({ size: [0.7, 8] }) : undefined });
  }
  return { data, lines, bands };
}

function options({ uPlot, width, height, sync, range, days, steps, format, ticks, yAxis }, { lines, bands }, hooks) {
  const axis = { stroke: token("--ink3"), font: `11px ${token("--sans")}`, ticks: { show: false }, grid: { stroke: token("--line"), width: 1 }, border: { show: false } };
  const x = { ...axis, grid: { show: false }, space: days ? 70 : 60, size: 24, values: (u, splits) => once(steps ? splits.map(count) : times(splits, days)) };
  const y = { ...axis, show: yAxis, size: roomFor, space: height < SHORT ? 18 : 30, values: (u, splits) => once(ticks || format ? splits.map(ticks || format) : brief(splits)) };
  const points = { size: 7, stroke: token("--panel"), fill: (u, i) => u.series[i]._stroke || token("--ink3") };
  return {
    width, height, legend: { show: false }, padding: [10, 18, 0, 0], series: lines, bands, hooks, axes: [x, y],
    cursor: { sync: sync && { key: sync, setSeries: false }, points, drag: { x: true, y: false }, y: false },
    tzDate: (s) => uPlot.tzDate(new Date(s * 1000), "Etc/UTC"), scales: { x: { time: !steps }, y: range ? { range } : {} },
  };
}

/** A value with its interval, as the legend and the table say it. */
const said = (s, i, show) => (s.values[i] == null ? "–"
  : show(s.values[i], s) + (s.band?.[0][i] != null ? ` [${show(s.band[0][i], s)}, ${show(s.band[1][i], s)}]` : ""));

function Twin({ label, t, series, show, steps }) {
  const [open, setOpen] = useState(false);
  return html`<details class="twin" onToggle=${(e) => setOpen(e.target.open)}><summary>table<span class="hide"> of ${label}</span></summary>
    ${open && html`<${Table} label=${`${label}, as a table`} head=${html`<th>${steps ? "step" : "time, UTC"}</th>${series.map((s) => html`<th class="figure">${s.label}</th>`)}`}>
      ${t.map((at, i) => html`<tr><td>${steps ? count(at) : stamp(at)}</td>${series.map((s) => html`<td class="figure">${said(s, i, show)}</td>`)}</tr>`).reverse()}<//>`}</details>`;
}

/**
 * With `steps`, t counts steps in place of seconds.
 * series: [{label, values, colour: "--accent", dash, fill, band: [lo, hi], points, bars, thin}], t in seconds since 1970.
 * limit: {value, below, label}; marks: [[t, words], ...]; range: uPlot's function of the axis; sync: the same for plots that share a cursor.
 */
export function Plot({ label, t, series, height = 180, sync, limit, marks = [], range, unit = "", format, days, steps, yAxis = true }) {
  const [box, width] = useWidth(), dark = useScheme(), made = useRef(), keys = useRef([]), host = useRef();
  const show = format || ((v) => `${v.toFixed(1)}${unit}`);
  const read = (u) => series.forEach((s, i) => { if (keys.current[i]) keys.current[i].textContent = said(s, u.cursor.idx ?? lastOf(s.values), show); });
  useEffect(() => {
    if (!width) return undefined;
    let gone = false;
    library().then((uPlot) => {
      if (gone) return;
      const { data, lines, bands } = columns(t, series, dark, uPlot);
      const hooks = { setCursor: [read], drawAxes: [(u) => under(u, limit, marks, dark)], draw: [(u) => whiskers(u, t, series)] };
      made.current = new uPlot(options({ uPlot, width, height, sync, range, days, steps, format, yAxis }, { lines, bands }, hooks), data, host.current);
      read(made.current);
    });
    return () => { gone = true; made.current?.destroy(); made.current = undefined; };
  }, [width, dark, t, height, ...series.map((s) => s.values)]);
  const step = (event) => {
    const by = { ArrowLeft: -1, ArrowRight: 1 }[event.key], u = made.current;
    if (!by || !u) return;
    event.preventDefault();
    const index = Math.min(t.length - 1, Math.max(0, (u.cursor.idx ?? t.length - 1) + by * (event.shiftKey ? STRIDE : 1)));
    u.setCursor({ left: u.valToPos(t[index], "x"), top: 10 }, true, true);
  };
  return html`<figure class="plot" aria-label=${label}>
    <figcaption class="keys">${series.map((s, i) => html`<span><i class=${s.dash || ""} style=${{ color: `var(${s.colour})` }} />${s.label} <b ref=${(e) => { keys.current[i] = e; }} /></span>`)}
      ${limit && html`<span><i class="dash" style=${{ color: "var(--bad-fill)" }} />${limit.label}</span>`}</figcaption>
    <div class="canvas" ref=${box} style=${{ "--h": `${height}px` }} tabindex="0" role="img" onKeyDown=${step}
      aria-label=${`${label}. Left and right arrow read values; a table follows.`}><div ref=${host} /></div>
    <${Twin} label=${label} t=${t} series=${series} show=${show} steps=${steps} /></figure>`;
}

/** What lies under the lines: the zone that is not allowed, and upright marks with words. */
function under(u, limit, marks, dark) {
  const { ctx } = u, { left, top, width, height } = u.bbox, dpr = devicePixelRatio || 1;
  ctx.save();
  if (limit) {
    const y = Math.min(top + height, Math.max(top, u.valToPos(limit.value, "y", true)));
    ctx.fillStyle = alpha(token("--bad-fill"), dark ? 0.12 : 0.07);
    if (limit.below) ctx.fillRect(left, y, width, top + height - y); else ctx.fillRect(left, top, width, y - top);
    Object.assign(ctx, { strokeStyle: token("--bad-fill"), lineWidth: 1.25 * dpr });
    ctx.setLineDash([5 * dpr, 3 * dpr]);
    ctx.beginPath(); ctx.moveTo(left, y); ctx.lineTo(left + width, y); ctx.stroke();
  }
  ctx.setLineDash([2 * dpr, 3 * dpr]);
  Object.assign(ctx, { lineWidth: dpr, strokeStyle: token("--edge"), fillStyle: token("--ink3"), font: `${11 * dpr}px ${token("--sans")}`, textBaseline: "top" });
  let taken = -Infinity, line = 0;
  for (const [at, words] of marks) {
    const x = Math.round(u.valToPos(at, "x", true));
    if (x < left || x > left + width) continue;
    ctx.beginPath(); ctx.moveTo(x, top); ctx.lineTo(x, top + height); ctx.stroke();
    const room = ctx.measureText(words).width + 8 * dpr, turned = x + room > left + width, from = turned ? x - room : x;
    line = from < taken ? line + 1 : 0;
    taken = Math.max(taken, from + room);
    ctx.textAlign = turned ? "right" : "left";
    ctx.fillText(words, x + (turned ? -4 : 4) * dpr, top + (2 + 14 * line) * dpr);
  }
  ctx.restore();
}

/** A value without neighbours has no line and no band: it gets its interval as a whisker. */
function whiskers(u, t, series) {
  const { ctx } = u, dpr = devicePixelRatio || 1, within = (y) => Math.min(u.bbox.top + u.bbox.height, Math.max(u.bbox.top, y));
  ctx.save();
  ctx.setLineDash([]);
  for (const s of series.filter((each) => each.band)) {
    Object.assign(ctx, { strokeStyle: token(s.colour), fillStyle: token(s.colour), lineWidth: 1.5 * dpr });
    s.values.forEach((v, i) => {
      if (v == null || s.values[i - 1] != null || s.values[i + 1] != null) return;
      const x = u.valToPos(t[i], "x", true), [low, high] = s.band.map((edge) => within(u.valToPos(edge[i], "y", true)));
      ctx.beginPath(); ctx.moveTo(x, low); ctx.lineTo(x, high);
      for (const y of [low, high]) { ctx.moveTo(x - 3 * dpr, y); ctx.lineTo(x + 3 * dpr, y); }
      ctx.stroke();
      ctx.beginPath(); ctx.arc(x, u.valToPos(v, "y", true), 3 * dpr, 0, 7); ctx.fill();
    });
  }
  ctx.restore();
}
