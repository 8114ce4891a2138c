// What a rule's numbers look like: units, scales and the few words beside an interval. Pure.
import { percent, plain, signed } from "./words.js";

/** [factor, text of a value, text of a limit, where nothing has changed] by metric; else by unit. */
const points = { by: 100, show: (v) => `${signed(v)}`, limit: (v) => `${v.toFixed(1)} points`, zero: 0, unit: "points" };
const moved = { by: 100, show: (v) => v.toFixed(1), limit: (v) => `${v.toFixed(1)} points`, zero: 0, unit: "points" };
const share = { by: 1, ticks: (v) => percent(v, v < 0.1 && v > 0 ? 1 : 0), show: (v) => percent(v, Math.abs(v) < 0.02 ? 2 : 1), limit: (v) => percent(v, v < 0.02 ? 2 : 1), unit: "share" };
const change = { by: 1, ticks: (v) => percent(v, 0), show: (v) => `${v > 0 ? "+" : ""}${percent(v, 1)}`, limit: (v) => percent(v, 1), zero: 0, unit: "change" };
const number = { by: 1, ticks: (v) => `${+v.toPrecision(2)}`, show: (v) => `${v > 0 ? "+" : ""}${+v.toPrecision(3)}`, limit: (v) => `${+v.toPrecision(3)}`, zero: 0, unit: "change" };
const times = { by: 1, show: (v) => v.toFixed(2), limit: (v) => `${v.toFixed(2)} times`, zero: 1, unit: "times" };

export function scaleOf(verdict) {
  if (verdict.metric === "accuracy_drop") return points;
  if (verdict.metric.startsWith("class_share")) return moved;
  return { fraction: change, times, number }[verdict.figures?.unit] || share;
}

/** Agreement is the only metric of which more is better. */
export const isBelow = (verdict) => verdict.metric === "agreement";

const LOOSE = 4;
/** Ends of the scale of one metric: every interval of it, but none so wide that the limit can no longer be seen. */
export function range(verdicts, metric) {
  const all = verdicts.filter((v) => v.metric === metric && v.figures).map((v) => v.figures), s = scaleOf({ metric, figures: all[0] });
  if (!all.length) return [0, 1];
  const limit = all[0].limit, zero = s.zero ?? 0, room = LOOSE * Math.max(Math.abs(limit - zero), 1e-3);
  const low = Math.max(Math.min(zero, limit, ...all.map((f) => f.low)), limit - room);
  const high = Math.min(Math.max(zero, limit, ...all.map((f) => f.high)), limit + room), pad = (high - low || 1) * 0.08;
  return s === share ? [Math.max(0, low - pad), high + pad] : [low - pad, high + pad];
}

/** `+0.7 [−1.1, +2.5], 2.0 points allowed`; the rule's own sentence where it has no interval. */
export function brief(verdict) {
  const f = verdict.figures, s = scaleOf(verdict);
  if (!f || f.unit === "devices") return verdict.detail;
  const span = `[${s.show(f.low * s.by)}, ${s.show(f.high * s.by)}]`;
  return `${s.show(f.value * s.by)} ${span}, ${s.limit(f.limit * s.by)} ${isBelow(verdict) ? "asked for" : "allowed"}`;
}

const SAYS = { pass: "passes", fail: "has failed", inconclusive: "cannot say yet", no_data: "no data",
  no_harm_shown: "shows no harm so far" };
/** A pass whose interval reaches past the limit has shown no harm, which is less than harmless. */
export const word = (v) => (v.verdict === "pass" && v.across ? "no_harm_shown" : v.verdict);
/** The verb of a verdict. */
export const says = (v) => SAYS[word(v)];

/** What one side's level is, in words and digits. */
export function levelOf(metric) {
  if (metric === "latency_ratio_p95") return { label: "p95 for a row", show: (v) => `${(v / 1000).toFixed(2)} ms` };
  if (metric === "error_increase") return { label: "mean absolute error", show: (v) => v.toPrecision(4) };
  if (metric === "error_ratio") return { label: "failed inferences", show: (v) => percent(v, 2) };
  const [kind, name] = metric.split(/ (.*)/s);
  if (kind === "class_share") return { label: `share of "${name}"`, show: (v) => percent(v, 1) };
  if (kind.startsWith("metric_")) return { label: name, show: (v) => v.toPrecision(4) };
  return { label: "accuracy", show: (v) => v.toFixed(3) };
}

/** The series of one rule, ready for a plot: t, values, low, high, trial, control. */
export function series(found, rule, stratum) {
  const mine = found.filter((p) => p.rule === rule && p.stratum === stratum && p.figures), by = mine.length ? scaleOf(mine[0]).by : 1;
  const of = (name) => mine.map((p) => (p.figures[name] == null ? null : p.figures[name] * by)), plainOf = (name) => mine.map((p) => p.figures[name]);
  return { t: mine.map((p) => Date.parse(p.at) / 1000), value: of("value"), low: of("low"), high: of("high"),
    trial: plainOf("trial"), control: plainOf("control") };
}

/** What a failing rule does, in words. */
export const follows = (onFail) => ({ roll_back: "every device goes back", roll_back_wave: "the wave goes back and it pauses",
  roll_back_stratum: "devices of this kind go back", pause: "it pauses", abort: "it is aborted" }[onFail] || plain(onFail || ""));
