// Numbers and times as people read them. Pure: every function takes values and returns text.

const two = (n) => String(n).padStart(2, "0");

export const count = (n) => (n ?? 0).toLocaleString("en-US");
export const percent = (x, digits = 1) => `${(100 * x).toFixed(digits)} %`;
export const signed = (x, digits = 1) => `${x > 0 ? "+" : x < 0 ? "−" : ""}${Math.abs(x).toFixed(digits)}`;
/** "1 device", "2 devices". */
export const many = (n, noun) => `${count(n)} ${noun}${n === 1 ? "" : "s"}`;

export function bytes(n) {
  let unit = 0;
  while (n >= 1000 && unit < 4) { n /= 1000; unit += 1; }
  return `${n.toFixed(unit ? 1 : 0)} ${["B", "kB", "MB", "GB", "TB"][unit]}`;
}

/** A length of time, in seconds, by its largest unit. */
export function lasting(s) {
  if (s < 90) return `${Math.round(s)} s`;
  if (s < 5400) return `${Math.round(s / 60)} min`;
  return s < 172800 ? `${Math.round(s / 3600)} h` : `${Math.round(s / 86400)} d`;
}

export function latency(us) {
  if (us < 1000) return `${Math.round(us)} µs`;
  return `${(us / 1000).toFixed(us < 1e4 ? 1 : 0)} ms`;
}

/** Hours and minutes, UTC, of seconds since 1970. */
export function clock(s) {
  const d = new Date(s * 1000);
  return `${two(d.getUTCHours())}:${two(d.getUTCMinutes())}`;
}

export function day(s) {
  const d = new Date(s * 1000);
  return `${d.getUTCFullYear()}-${two(d.getUTCMonth() + 1)}-${two(d.getUTCDate())}`;
}

/** Date and time to the second, UTC. */
export const stamp = (s) => `${day(s)} ${clock(s)}:${two(new Date(s * 1000).getUTCSeconds())}`;

/** Seconds since 1970 of a time that the API gives as text or as a number; NaN for none. */
export const seconds = (at) => (typeof at === "number" ? at : Date.parse(at) / 1000);

/** An alert in a title and, where it says more than that, a sentence. */
export function alertWords({ name, annotations: { summary, description } }) {
  const title = summary || plain(name);
  return [title, description && description !== title ? description : ""];
}

/** The API's words have underscores where people have spaces. */
export const plain = (word) => String(word).replaceAll("_", " ");
