// Every device as one small cell, by group. A canvas, so that a hundred thousand cost no more than a hundred; a table twin says the same.
import { html, useEffect, useRef, useState, useWidth, useScheme, token, count } from "./ui.js";

/** What the letters of the controller's cells mean. */
export const WORDS = {
  health: { f: "failing", a: "attention", s: "silent", o: "offline", u: "updating", w: "well" },
  presence: { o: "online", s: "silent", f: "offline", u: "unknown" },
};
const LABEL = 17, GAP = 18;

/** The side of a cell in pixels: the fewer devices, the larger. */
function cellSize(cells, width) {
  const fits = [[160, 18], [480, 14], [1400, 11], [Infinity, 9]].find(([most]) => cells.devices <= most)[1];
  return width < 600 ? Math.min(fits, cells.devices > 480 ? 7 : 12) : fits;
}

/** Where each group's block stands: blocks flow like words; the number of rows is what makes the whole lowest. */
function layout(groups, width, size) {
  const tried = [4, 5, 6, 7, 8, 9, 10, 11, 12].map((rows) => flow(groups, width, size, rows));
  return tried.reduce((best, one) => (one.height < best.height - 2 ? one : best));
}

function flow(groups, width, size, most) {
  const pitch = size + 1, blocks = [];
  let x = 0, y = 0, tallest = 0;
  for (const group of groups) {
    const n = group.health.length;
    let rows = most, columns = Math.ceil(n / rows);
    if (columns * pitch > width) { columns = Math.max(1, Math.floor(width / pitch)); rows = Math.ceil(n / columns); }
    const wide = Math.max(columns * pitch, 8 * group.name.length + 34, 76);
    if (x && x + wide > width) { x = 0; y += tallest + GAP - 6; tallest = 0; }
    blocks.push({ group, x, y, rows, columns });
    x += wide + GAP;
    tallest = Math.max(tallest, rows * pitch + LABEL);
  }
  return { blocks, height: y + tallest + 2, pitch };
}

const COLOURS = { well: "--well", accent: "--accent", soft: "--accent-soft", warn: "--warn", bad: "--bad-fill", panel: "--panel", edge: "--edge", v2: "--v2", v3: "--v3", ink2: "--ink2", ink3: "--ink3" };

const PAINT = {
  well: (ctx, x, y, s, c) => { ctx.fillStyle = c.well; ctx.fillRect(x, y, s, s); },
  updating: (ctx, x, y, s, c) => {
    ctx.fillStyle = c.soft; ctx.fillRect(x, y, s, s);
    ctx.fillStyle = c.accent; ctx.beginPath(); ctx.moveTo(x, y + s); ctx.lineTo(x + s, y); ctx.lineTo(x + s, y + s); ctx.fill();
  },
  attention: (ctx, x, y, s, c) => { ctx.fillStyle = c.warn; ctx.beginPath(); ctx.moveTo(x + s / 2, y); ctx.lineTo(x + s, y + s); ctx.lineTo(x, y + s); ctx.fill(); },
  failing: (ctx, x, y, s, c) => {
    ctx.fillStyle = c.bad; ctx.fillRect(x, y, s, s); ctx.strokeStyle = c.panel; ctx.lineWidth = 1.4;
    ctx.beginPath(); ctx.moveTo(x + 2, y + 2); ctx.lineTo(x + s - 2, y + s - 2); ctx.moveTo(x + s - 2, y + 2); ctx.lineTo(x + 2, y + s - 2); ctx.stroke();
  },
  silent: (ctx, x, y, s, c) => {
    ctx.strokeStyle = c.warn; ctx.lineWidth = 1.5; ctx.strokeRect(x + 0.75, y + 0.75, s - 1.5, s - 1.5);
    ctx.fillStyle = c.warn; ctx.fillRect(x + s / 2 - 1, y + s / 2 - 1, 2, 2);
  },
  offline: (ctx, x, y, s, c) => { ctx.strokeStyle = c.edge; ctx.lineWidth = 1; ctx.strokeRect(x + 0.5, y + 0.5, s - 1, s - 1); },
};
PAINT.online = PAINT.well;
PAINT.unknown = PAINT.offline;

function paintVersion(ctx, place, x, y, s, c) {
  if (!place) { ctx.strokeStyle = c.edge; ctx.lineWidth = 1; ctx.strokeRect(x + s / 2 - 1, y + s / 2 - 1, 2, 2); return; }
  ctx.fillStyle = [c.accent, c.v2, c.v3][place - 1]; ctx.fillRect(x, y, s, s);
  if (place === 3) { ctx.strokeStyle = c.ink3; ctx.lineWidth = 1; ctx.beginPath(); ctx.moveTo(x, y + s); ctx.lineTo(x + s, y); ctx.stroke(); }
}

function draw(canvas, found, { cells, look, rank, lit, size, width }) {
  const dpr = devicePixelRatio || 1, ctx = canvas.getContext("2d"), ranks = cells.versions.map(rank);
  canvas.width = width * dpr; canvas.height = found.height * dpr; canvas.style.height = `${found.height}px`;
  const c = Object.fromEntries(Object.entries(COLOURS).map(([name, from]) => [name, token(from)]));
  ctx.scale(dpr, dpr);
  ctx.textBaseline = "top";
  for (const { group, x, y, rows } of found.blocks) {
    ctx.font = `500 11.5px ${token("--sans")}`; ctx.fillStyle = c.ink2; ctx.fillText(group.name, x, y);
    const wide = ctx.measureText(group.name).width;
    ctx.font = `11px ${token("--sans")}`; ctx.fillStyle = c.ink3; ctx.fillText(count(group.devices), x + wide + 5, y);
    for (let i = 0; i < group.health.length; i += 1) {
      const left = x + Math.floor(i / rows) * found.pitch, top = y + LABEL + (i % rows) * found.pitch;
      ctx.globalAlpha = lit && !lit(group, i) ? 0.16 : 1;
      if (look === "version") paintVersion(ctx, ranks[parseInt(group.version[i], 36)], left, top, size, c);
      else PAINT[WORDS[look][group[look][i]]](ctx, left, top, size, c);
    }
    ctx.globalAlpha = 1;
  }
}

/** The words of a cell: its name, and what holds. */
function words(cells, group, i) {
  const health = WORDS.health[group.health[i]], version = cells.versions[parseInt(group.version[i], 36)];
  if (!group.names.length) return [group.name, `${cells.per_cell} devices, the worst: ${health}`];
  const runs = version ? `${cells.model} v${version}` : `${cells.model}: not here`;
  return [group.names[i], `${health}, ${WORDS.presence[group.presence[i]]}, ${runs}`];
}

export function Heat({ cells, look, rank, lit, onPick }) {
  const [box, width] = useWidth(), dark = useScheme(), canvas = useRef(), plan = useRef(), [peek, setPeek] = useState(null), at = useRef({ block: 0, cell: 0 });
  const size = cellSize(cells, width);
  useEffect(() => {
    if (!width) return;
    plan.current = layout(cells.groups, width, size);
    draw(canvas.current, plan.current, { cells, look, rank, lit, size, width });
  });
  const find = (event) => {
    const r = canvas.current.getBoundingClientRect(), x = event.clientX - r.left, y = event.clientY - r.top, { blocks, pitch } = plan.current;
    for (const [block, b] of blocks.entries()) {
      const column = Math.floor((x - b.x) / pitch), row = Math.floor((y - b.y - LABEL) / pitch), cell = column * b.rows + row;
      if (column >= 0 && column < b.columns && row >= 0 && row < b.rows && cell < b.group.health.length) return { block, cell };
    }
    return null;
  };
  const point = (place) => {
    if (!place) return setPeek(null);
    if (place.block === at.current.block && place.cell === at.current.cell && peek) return undefined;
    at.current = place;
    const b = plan.current.blocks[place.block], pitch = plan.current.pitch;
    return setPeek({ x: b.x + Math.floor(place.cell / b.rows) * pitch, y: b.y + LABEL + (place.cell % b.rows) * pitch, group: b.group, cell: place.cell });
  };
  const keys = (event) => {
    const { blocks } = plan.current, here = at.current, b = blocks[here.block], moves = { ArrowRight: b.rows, ArrowLeft: -b.rows, ArrowDown: 1, ArrowUp: -1 };
    if (event.key === "Enter" && peek) return onPick(peek.group, peek.cell);
    if (event.key === "Escape") return point(null);
    if (!(event.key in moves)) return undefined;
    event.preventDefault();
    let cell = peek ? here.cell + moves[event.key] : here.cell, block = here.block;
    if (cell >= b.group.health.length) { block = Math.min(blocks.length - 1, block + 1); cell = block === here.block ? b.group.health.length - 1 : 0; }
    if (cell < 0) { block = Math.max(0, block - 1); cell = block === here.block ? 0 : blocks[block].group.health.length - 1; }
    return point({ block, cell });
  };
  const [name, says] = peek ? words(cells, peek.group, peek.cell) : ["", ""];
  return html`<div class="heat-box" ref=${box}>
    <canvas class="heat" ref=${canvas} tabindex="0" role="application" aria-describedby="heat-says"
      aria-label="Every device as a cell. Arrow keys go from device to device, Enter opens one. The table below says the same."
      onMouseMove=${(e) => point(find(e))} onMouseLeave=${() => point(null)} onBlur=${() => point(null)}
      onClick=${(e) => { const f = find(e); if (f) onPick(plan.current.blocks[f.block].group, f.cell); }} onKeyDown=${keys} />
    <span class="hide" id="heat-says" aria-live="polite">${name ? `${name}: ${says}` : ""}</span>
    ${peek && html`<div class="peek" style=${{ left: `${Math.max(0, Math.min(peek.x + 14, width - 250))}px`, top: `${peek.y + 14}px` }}><b>${name}</b>${says}</div>`}</div>`;
}
