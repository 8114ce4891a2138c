// How good versions are, made of the controller's points: the newest of each, series for plots, a word for its state. Pure.

/** A value with no more digits than people need. */
export const show = (metric, v) => (metric === "accuracy" ? v.toFixed(3) : v.toPrecision(3));

/** By release, all its labels in the time that is shown, with the newest estimate. */
export function newest(points) {
  const found = {};
  for (const p of points) {
    if (p.value == null) continue;
    found[p.release] = { ...p, labels: (found[p.release]?.labels || 0) + p.labels };
  }
  return found;
}

/** Times, series by version (the newest first), labels of all versions: ready for a plot; gaps stay gaps. */
export function perVersion(points) {
  const known = points.filter((p) => p.value != null), metric = known.at(-1)?.metric || "accuracy";
  if (!known.length) return { t: [], versions: [], labels: [], metric };
  const span = points[0].span_s, first = points[0].start, last = points.at(-1).start, t = [];
  for (let at = first; at <= last; at += span) t.push(at);
  const place = new Map(t.map((at, i) => [at, i])), labels = t.map(() => 0), by = new Map();
  for (const p of known) {
    if (p.metric !== metric) continue;
    const i = place.get(p.start), v = by.get(p.release) || { release: p.release, values: t.map(() => null), low: t.map(() => null), high: t.map(() => null) };
    v.values[i] = p.value; v.low[i] = p.low; v.high[i] = p.high; labels[i] += p.labels;
    by.set(p.release, v);
  }
  return { t, labels, metric, versions: [...by.values()].sort((a, b) => b.release - a.release) };
}

/** What a version is at: {word, kind of word}. */
export function stateOf(v, rollouts) {
  const newestOf = rollouts.find((r) => r.release === v.release);
  if (v.withdrawn) return { word: "withdrawn", kind: "rejected" };
  if (!v.passed) return { word: "gate failed", kind: "failed" };
  if (newestOf?.open) return { word: newestOf.status === "running" ? "rolling out" : newestOf.status.replace("_", " "), kind: newestOf.status };
  if (v.rolled_back) return { word: "rolled back", kind: "rolled_back" };
  if (v.removed) return { word: "files removed", kind: "ended" };
  return v.devices.length ? { word: "stable", kind: "stable" } : { word: newestOf ? newestOf.status.replace("_", " ") : "ready", kind: newestOf ? newestOf.status : "none" };
}
