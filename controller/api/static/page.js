// Asks /v1/fleet again and again and shows what it says. Everything is set as text: a device's name is never markup.
"use strict";

const EVERY_MS = 3000;
const KINDS = {
  running: "busy", completed: "good", succeeded: "good", online: "good", pass: "good",
  paused: "warn", proposed: "warn", silent: "warn", inconclusive: "warn",
  failed: "bad", rolled_back: "bad", rolling_back: "bad", rejected: "bad", sent_back: "warn", aborted: "bad", offline: "bad", fail: "bad",
};
const FAILURES = ["failed", "rejected", "silent", "regressed"];

const at = (id) => document.getElementById(id);
let refused = "";
let token = taken() || sessionStorage.getItem("token") || "";

// The address may bring a token along. It leaves the address bar at once, so that it is not copied or kept by accident.
function taken() {
  const found = new URLSearchParams(location.hash.slice(1)).get("token");
  if (found) {
    sessionStorage.setItem("token", found);
    history.replaceState(null, "", location.pathname);
  }
  return found;
}

function made(kind, words, ...classes) {
  const element = document.createElement(kind);
  element.append(...(Array.isArray(words) ? words : [String(words)]));
  element.className = classes.filter(Boolean).join(" ");
  return element;
}

function bar(done, total, kind) {
  const element = made("progress", "", kind);
  element.max = total || 1;
  element.value = done;
  return element;
}

function size(bytes) {
  let unit = 0;
  while (bytes >= 1000 && unit < 4) { bytes /= 1000; unit += 1; }
  return `${bytes.toFixed(unit ? 1 : 0)} ${["B", "kB", "MB", "GB", "TB"][unit]}`;
}

function time(seconds) {
  if (seconds < 90) return `${Math.round(seconds)} s`;
  return seconds < 5400 ? `${Math.round(seconds / 60)} min` : `${(seconds / 3600).toFixed(1)} h`;
}

function numbers(fleet) {
  const shown = [["devices", fleet.devices], ...Object.entries(fleet.presence), ["fetching", fleet.fetching],
    ["received", size(fleet.bytes_received)], ["now", `${size(fleet.bytes_s)}/s`]];
  const faults = Object.entries(fleet.faults).map(([code, count]) => [code, count, "bad"]);
  return [...shown, ...faults].map(([name, value, kind]) => made("div", [made("dt", name), made("dd", value, kind || KINDS[name])]));
}

function line(name, progress, words) {
  return made("div", [made("span", name, "soft"), progress, made("span", words)], "row");
}

function rollout(view) {
  const counts = Object.entries(view.counts);
  const members = counts.reduce((sum, [, count]) => sum + count, 0);
  const failed = counts.some(([word]) => FAILURES.includes(word));
  const head = made("h3", [`${view.id}  ${view.model} v${view.release} by ${view.strategy}: `,
    made("span", view.status.replace("_", " "), KINDS[view.status])]);
  const told = counts.map(([word, count]) => `${count} ${word}`).join(", ");
  const parts = [head];
  if (members) {
    const progress = bar(view.counts.succeeded || 0, members, failed ? "bad" : "good");
    parts.push(line(`wave ${view.wave + 1} of ${view.waves}`, progress, told));
  }
  const { done_bytes: done, total_bytes: total, bytes_s: rate, eta_s: eta } = view.transfer;
  if (total) {
    const rest = done < total ? `, ${size(rate)}/s${eta === null ? "" : `, ${time(eta)} to go`}` : "";
    parts.push(line("bytes", bar(done, total), `${size(done)} of ${size(total)} received${rest}`));
  }
  if (view.reason) parts.push(made("p", view.reason, "soft"));
  for (const rule of view.verdicts) {
    const where = rule.stratum ? ` on ${rule.stratum}` : "";
    parts.push(made("p", [made("span", rule.verdict, KINDS[rule.verdict]), ` ${rule.metric}${where}: ${rule.detail}`]));
  }
  parts.push(made("p", `${view.created_at} by ${view.created_by}`, "soft"));
  return made("article", parts);
}

function transfer(view) {
  const words = `${size(view.done_bytes)} of ${size(view.total_bytes)}`;
  return made("tr", [made("td", view.device), made("td", view.presence, KINDS[view.presence]),
    made("td", `${view.model} v${view.release}`), made("td", [bar(view.done_bytes, view.total_bytes), made("span", words, "soft")]),
    made("td", `${size(view.bytes_s)}/s`, "figure")]);
}

function served(view, all) {
  const name = view.release ? `${view.model} v${view.release}` : `${view.model}, a version that is not known here`;
  return made("tr", [made("td", name), made("td", view.devices, "figure"), made("td", [bar(view.devices, all, "good")]),
    made("td", right(view), "figure"), made("td", `${view.errors} + ${view.refused}`, "figure")]);
}

function right(view) {
  if (view.accuracy !== null) return `${(100 * view.accuracy).toFixed(1)} % right`;
  if (view.mean_absolute_error === null) return "";
  return `MAE ${view.mean_absolute_error.toPrecision(4)}${view.r2 === null ? "" : `, R2 ${view.r2.toFixed(3)}`}`;
}

function source(view) {
  const age = view.age_s === null ? "never" : `${time(view.age_s)} before`;
  return made("tr", [made("td", view.device), made("td", view.name), made("td", view.model),
    made("td", view.state, "bad"), made("td", age, "figure"), made("td", view.error)]);
}

function wrong(fleet) {
  const sick = fleet.sick.map((each) => `device_sick: ${each.device}, ${each.model}: ${each.detail}`);
  return [...fleet.findings.map((each) => `${each.code}: ${each.detail}`), ...sick];
}

function rows(id, found, words, columns) {
  const none = made("td", words, "none");
  none.colSpan = columns;
  at(id).replaceChildren(...(found.length ? found : [made("tr", [none])]));
}

function show(fleet) {
  at("findings").replaceChildren(...wrong(fleet).map((words) => made("li", words, "bad")));
  at("findings").hidden = !wrong(fleet).length;
  at("numbers").replaceChildren(...numbers(fleet));
  at("rollouts").replaceChildren(...(fleet.rollouts.length ? fleet.rollouts.map(rollout) : [made("p", "none yet", "none")]));
  rows("transfers", fleet.transfers.map(transfer), "nothing is being fetched", 5);
  rows("serving", fleet.serving.map((view) => served(view, fleet.devices)), "no device answers yet", 5);
  const states = Object.entries(fleet.sources).map(([state, count]) => `${count} ${state}`);
  at("sources").textContent = states.join(", ") || "no device has any";
  rows("failing-sources", fleet.failing_sources.map(source), "none fails", 6);
}

function say(words, bad) {
  at("said").textContent = words;
  at("said").className = bad ? "bad" : "";
}

function forget(reason) {
  token = "";
  refused = reason;
  sessionStorage.removeItem("token");
  at("entrance").hidden = false;
  at("fleet").hidden = true;
}

async function look() {
  at("entrance").hidden = Boolean(token);
  if (!token) return say(refused || "who are you?", Boolean(refused));
  if (document.hidden) return;
  try {
    const answer = await fetch("v1/fleet", { headers: { Authorization: `Bearer ${token}` } });
    const found = await answer.json();
    if (answer.status === 401) forget(`${found.code}: ${found.detail}`);
    if (!answer.ok) return say(`${found.code}: ${found.detail}`, true);
    show(found);
    at("fleet").hidden = false;
    say(`as of ${new Date().toLocaleTimeString()}`);
  } catch (error) {
    say(`the controller does not answer (${error.message}); what is shown is old`, true);
  }
}

at("entrance").addEventListener("submit", (event) => {
  event.preventDefault();
  token = at("token").value.trim();
  at("token").value = "";
  sessionStorage.setItem("token", token);
  look();
});
document.addEventListener("visibilitychange", look);
setInterval(look, EVERY_MS);
look();
