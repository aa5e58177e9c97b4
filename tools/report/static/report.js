// Draws the plots of a report with uPlot, keeps their cursors, zoom and camera frames together.
// Text from the recording only ever goes through textContent or the canvas.
"use strict";
(() => {
  const data = JSON.parse(document.getElementById("data").textContent);
  const root = document.getElementById("plots"), now = document.getElementById("now");
  const [T0, T1] = data.range, view = { min: T0, max: T1 };
  const css = (name) => getComputedStyle(document.documentElement).getPropertyValue(`--${name}`).trim();
  const make = (tag, text, parent, cls) => {
    const el = document.createElement(tag);
    if (text != null) el.textContent = text;
    if (cls) el.className = cls;
    if (parent) parent.append(el);
    return el;
  };
  const bytes = (b64) => Uint8Array.from(atob(b64), (c) => c.charCodeAt(0)).buffer;
  const column = (b64) => Array.from(new Float32Array(bytes(b64)), (v) => (Number.isFinite(v) ? v : null));
  const times = Object.fromEntries(Object.entries(data.times).map(([k, v]) => [k, new Float64Array(bytes(v))]));
  const panels = data.panels.map((p) => ({ ...p, t: times[p.x], y: p.series.map((s) => column(s.y)) }));
  const strips = [...document.querySelectorAll(".strip")].map((el, i) =>
    ({ el, times: data.strips[i], figures: [...el.querySelectorAll("figure")], last: -1 }));
  const GUTTER = 52, ROW = 24, font = "12px system-ui, sans-serif";
  let plots = [], colours = {}, moving = false, frame = 0, at = null;

  const span = (lane, t) => lane.spans.find((s) => s[0] <= t && t < s[1]);
  const show = (v) => (v == null ? "–" : Math.abs(v) >= 1e5 || (v && Math.abs(v) < 1e-4) ? v.toExponential(2) : String(+v.toPrecision(4)));

  // ---- what the cursor is at: time, lanes, nearest event, nearest frames
  const lines = {};
  let frames = [];
  function panelNow() {
    if (!now || (!panels.length && !strips.length)) return;
    const box = strips.length ? make("div", null, now, "frames") : null;
    frames = strips.map((s) => {
      const figure = make("figure", null, box), img = make("img", null, figure);
      img.alt = s.el.dataset.name;
      return { img, caption: make("figcaption", null, figure) };
    });
    const list = make("dl", null, now);
    for (const name of ["t", ...data.lanes.map((l) => l.label), "last event"]) {
      if (name === "last event" && !data.events.length) continue;
      make("dt", name, list);
      lines[name] = make("dd", "–", list);
    }
    update(T0);
  }
  function update(t) {
    if (lines.t) lines.t.textContent = `${t.toFixed(3)} s`;
    for (const lane of data.lanes) lines[lane.label].textContent = span(lane, t)?.[2] ?? "–";
    if (lines["last event"]) {
      const past = data.events.filter((e) => e[0] <= t).at(-1);
      lines["last event"].textContent = past ? `${past[2].slice(0, 90)} (${past[0].toFixed(2)} s)` : "–";
    }
    strips.forEach((s, i) => {
      if (!s.figures.length) return;
      let best = 0;
      s.times.forEach((u, k) => { if (Math.abs(u - t) < Math.abs(s.times[best] - t)) best = k; });
      if (best === s.last) return;
      s.figures[s.last]?.classList.remove("at");
      const figure = s.figures[best];
      figure.classList.add("at");
      frames[i].img.src = figure.querySelector("img").src;
      frames[i].caption.textContent = `${s.el.dataset.name}, ${s.times[best].toFixed(2)} s`;
      const left = figure.offsetLeft - s.el.offsetLeft;
      if (left < s.el.scrollLeft || left + figure.offsetWidth > s.el.scrollLeft + s.el.clientWidth) s.el.scrollLeft = left - s.el.clientWidth / 2;
      s.last = best;
    });
  }
  function moved(u) {
    if (moving || u.cursor.left == null || u.cursor.left < 0) return;
    at = u.posToVal(u.cursor.left, "x");
    frame ||= requestAnimationFrame(() => { frame = 0; update(at); });
  }
  function goto(t) {
    if (t < view.min || t > view.max) zoom(Math.max(T0, t - (view.max - view.min) / 2), Math.min(T1, t + (view.max - view.min) / 2));
    moving = true;
    for (const u of plots) u.setCursor({ left: u.valToPos(t, "x"), top: 4 }, false);
    moving = false;
    at = t;
    update(t);
  }
  function zoom(min, max) {
    if (!(max - min > 1e-6)) return;
    view.min = min; view.max = max;
    for (const u of plots) u.setScale("x", { min, max });
  }

  // ---- plots
  const events = (u) => {
    const { ctx, bbox } = u;
    ctx.save();
    ctx.beginPath(); ctx.rect(bbox.left, bbox.top, bbox.width, bbox.height); ctx.clip();
    ctx.lineWidth = devicePixelRatio; ctx.setLineDash([3 * devicePixelRatio, 3 * devicePixelRatio]);
    for (const [t, level] of data.events) {
      const x = u.valToPos(t, "x", true);
      ctx.strokeStyle = level === "info" ? colours.dim : level === "warning" ? colours.warn : colours.bad;
      ctx.beginPath(); ctx.moveTo(x, bbox.top); ctx.lineTo(x, bbox.top + bbox.height); ctx.stroke();
    }
    ctx.restore();
  };
  const shade = (u) => {
    const { ctx, bbox } = u, guard = data.lanes.find((l) => l.label === "guard");
    if (!guard) return;
    ctx.save();
    ctx.beginPath(); ctx.rect(bbox.left, bbox.top, bbox.width, bbox.height); ctx.clip();
    ctx.fillStyle = colours.shade;
    for (const [a, b] of guard.spans) {
      const x = u.valToPos(a, "x", true);
      ctx.fillRect(x, bbox.top, Math.max(devicePixelRatio, u.valToPos(b, "x", true) - x), bbox.height);
    }
    ctx.restore();
  };
  const clip = (ctx, text, width) => {
    if (ctx.measureText(text).width <= width) return text;
    let n = text.length;
    while (n > 1 && ctx.measureText(text.slice(0, n) + "…").width > width) n = Math.min(n - 1, Math.floor(n * 0.9));
    return n > 1 ? text.slice(0, n) + "…" : "";
  };
  const flagRows = data.events.length ? Math.min(3, data.events.length) : 0;
  const lanes = (u) => {
    const { ctx, bbox } = u, k = devicePixelRatio, row = ROW * k;
    ctx.save();
    ctx.font = `${11 * k}px system-ui, sans-serif`; ctx.textBaseline = "middle";
    ctx.fillStyle = colours.dim; ctx.textAlign = "right";
    data.lanes.forEach((l, i) => ctx.fillText(clip(ctx, l.label, (GUTTER - 8) * k), bbox.left - 6 * k, bbox.top + (i + 0.5) * row));
    if (flagRows) ctx.fillText("events", bbox.left - 6 * k, bbox.top + (data.lanes.length + 0.5) * row);
    ctx.beginPath(); ctx.rect(bbox.left, bbox.top, bbox.width, bbox.height); ctx.clip();
    ctx.textAlign = "left";
    data.lanes.forEach((l, i) => {
      const top = bbox.top + i * row + 2 * k;
      for (const [a, b, text, kind] of l.spans) {
        const x = u.valToPos(a, "x", true), w = Math.max(2 * k, u.valToPos(b, "x", true) - x);
        if (x + w < bbox.left || x > bbox.left + bbox.width) continue;
        ctx.fillStyle = colours[kind];
        ctx.fillRect(x, top, w, row - 4 * k);
        const from = Math.max(x, bbox.left), room = Math.min(x + w, bbox.left + bbox.width) - from - 8 * k;
        ctx.fillStyle = colours.ink;
        if (room > 14 * k) ctx.fillText(clip(ctx, text, room), from + 4 * k, top + row / 2 - 2 * k);
      }
    });
    const ends = Array(flagRows).fill(-1e9);  // flags go to the first row with room, else only the line stays
    const shown = data.events.filter((e) => e[0] >= view.min && e[0] <= view.max);
    shown.forEach(([t, level, text], i) => {
      const x = u.valToPos(t, "x", true), r = ends.findIndex((e) => e <= x);
      if (r < 0) return;
      let room = Math.min(240 * k, bbox.left + bbox.width - x - 6 * k), label = clip(ctx, text, room - 4 * k);
      if (!label || room < 40 * k) return;
      ends[r] = x + ctx.measureText(label).width + 14 * k;
      const y = bbox.top + (data.lanes.length + r + 0.5) * row;
      ctx.fillStyle = colours.card; ctx.fillRect(x + k, y - row / 2 + 2 * k, ctx.measureText(label).width + 8 * k, row - 4 * k);
      ctx.fillStyle = level === "info" ? colours.ink : level === "warning" ? colours.warn : colours.bad;
      ctx.fillText(label, x + 5 * k, y);
    });
    ctx.restore();
  };
  // An axis around values that are all the same, or that differ by rounding alone.
  const fitted = (u, low, high) => {
    if (low == null || high == null) return [0, 1];
    const size = Math.max(Math.abs(low), Math.abs(high));
    if (high - low > 1e-5 * size && high - low > 1e-9) return uPlot.rangeNum(low, high, 0.1, true);
    const half = size > 1e-9 ? 0.1 * size : 1, middle = (low + high) / 2;
    return [middle - half, middle + half];
  };
  function options(width, height, series, bounds, bare) {
    const axis = { stroke: colours.dim, font, grid: { stroke: colours.grid, width: 1 }, ticks: { stroke: colours.grid, width: 1, size: 4 } };
    const y = bounds ? [bounds[0] - 0.03 * (bounds[1] - bounds[0]), bounds[1] + 0.03 * (bounds[1] - bounds[0])] : null;
    return {
      width, height, padding: [6, 14, 0, 0],
      scales: { x: { time: false, range: () => [view.min, view.max] }, y: { range: y ? () => y : fitted } },
      axes: [
        { ...axis, size: 26, gap: 2, values: (u, v) => v.map((t) => `${+t.toFixed(6)} s`), space: 60 },
        bare ? { show: true, size: GUTTER, stroke: "transparent", grid: { show: false }, ticks: { show: false }, values: (u, v) => v.map(() => "") }
             : { ...axis, size: GUTTER, gap: 2, space: 28, values: (u, v) => v.map(show) },
      ],
      series: [{ label: "t", value: (u, v) => (v == null ? "–" : `${v.toFixed(3)} s`) }, ...series],
      legend: { show: !bare },
      cursor: {
        y: false, drag: { x: true, y: false, setScale: false }, points: { size: 6 },
        sync: { key: "t", scales: ["x", null], filters: { pub: (type) => type === "mousemove" || type === "mouseleave" } },
        bind: { dblclick: () => () => zoom(T0, T1) },
      },
      hooks: {
        drawClear: [shade], draw: bare ? [events, lanes] : [events], setCursor: [moved],
        setSelect: [(u) => {
          const { left, width: w } = u.select;
          if (w > 3) zoom(u.posToVal(left, "x"), u.posToVal(left + w, "x"));
          u.setSelect({ left: 0, width: 0, top: 0, height: 0 }, false);
        }],
      },
    };
  }
  function build() {
    if (!root) return;
    for (const u of plots) u.destroy();
    root.replaceChildren(); plots = []; colours = {};
    for (const n of ["ink", "dim", "card", "grid", "warn", "bad", "shade", "bandwarn", "bandbad", ...Array.from("01234567", (i) => `p${i}`), ...Array.from("01234567", (i) => `s${i}`)]) colours[n] = css(n);
    const width = Math.max(260, root.clientWidth), rows = data.lanes.length + flagRows;
    if (rows) {
      const box = make("div", null, root, "panel");
      plots.push(new uPlot(options(width, rows * ROW + 34, [{ show: false }], [0, 1], true), [[T0, T1], [null, null]], box));
    }
    for (const p of panels) {
      const box = make("div", null, root, "panel"), title = make("h3", p.title, box);
      if (p.unit) make("span", ` [${p.unit}]`, title);
      const series = p.series.map((s, i) => ({
        label: s.label, stroke: colours[`s${i % 8}`], width: 1.5, dash: s.dash ? [6, 4] : undefined,
        points: { show: p.t.length < 40, size: 5 }, value: (u, v) => show(v),
      }));
      plots.push(new uPlot(options(width, p.bounds ? 190 : 150, series, p.bounds, false), [p.t, ...p.y], box));
    }
  }

  panelNow();
  build();
  const button = (id, act) => document.getElementById(id)?.addEventListener("click", act);
  const around = (factor) => {  // the cursor, which stays in view
    const half = (view.max - view.min) * factor / 2, middle = at ?? (view.min + view.max) / 2;
    zoom(Math.max(T0, middle - half), Math.min(T1, middle + half));
  };
  button("reset", () => zoom(T0, T1));
  button("in", () => around(0.5));
  button("out", () => around(2));
  strips.forEach((s) => s.figures.forEach((f, k) => f.addEventListener("mouseenter", () => goto(s.times[k]))));
  document.querySelectorAll("tr[data-t]").forEach((row) => {
    row.addEventListener("click", () => goto(+row.dataset.t));
    row.addEventListener("keydown", (e) => { if (e.key === "Enter") goto(+row.dataset.t); });
  });
  matchMedia("(prefers-color-scheme: dark)").addEventListener("change", build);
  let wide = innerWidth;
  addEventListener("resize", () => { if (innerWidth !== wide) { wide = innerWidth; build(); } });
})();
