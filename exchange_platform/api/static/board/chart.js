// The chart of one selection's windows. Each window is five minutes wide: its range a block, its average and VWAP lines across it, its
// stake a bar below. Odds are drawn on a logarithmic scale, since they move in proportion.
/* global uPlot */
import { dayOf, time } from "./format.js";
import { WINDOW_S } from "./windows.js";

const HALF = WINDOW_S / 2;
const LEAST_SPAN_S = 6 * WINDOW_S;
const STAKE_SHARE = 0.24; // of the height, for the bars
const NICE = [
  1.01, 1.02, 1.05, 1.1, 1.15, 1.2, 1.25, 1.3, 1.4, 1.5, 1.6, 1.8, 2, 2.2, 2.5, 3, 3.5, 4, 5, 6, 7, 8, 10, 12, 15, 20, 25, 30,
  40, 50, 70, 100, 150, 200, 300, 500, 700, 1000,
];
const STEPS = [0.01, 0.02, 0.05, 0.1, 0.2, 0.5, 1, 2, 5, 10, 20, 50, 100, 200, 500];
const MINUTES = [5, 10, 15, 30, 60, 120, 180, 360, 720, 1440].map((minutes) => minutes * 60);

export class Chart {
  /** Draws into `box`. `onPoint(window or null)` is told which window the reader looks at; `syncKey` ties charts together. */
  constructor(box, { syncKey, onPoint }) {
    this.box = box;
    this.onPoint = onPoint;
    this.rows = [];
    this.range = null;
    this.colors = colorsOf(box);
    this.plot = new uPlot(this.options(syncKey), [[], [], [], [], [], [], []], box);
    this.sizes = new ResizeObserver(() => this.fit());
    this.sizes.observe(box);
    this.touch();
  }

  /** Shows these windows within [from, to] seconds. */
  show(rows, range) {
    this.rows = rows;
    this.range = range;
    const log = (name) => rows.map((row) => Math.log(row[name]));
    this.plot.setData([
      rows.map((row) => row.start + HALF),
      log("max"),
      log("min"),
      log("average"),
      log("vwap"),
      rows.map((row) => row.stake),
      log("average"),
    ]);
  }

  recolor() {
    this.colors = colorsOf(this.box);
    this.plot.redraw(false, true);
  }

  /** Moves the reader's mark by so many windows, from the newest if there is none yet; the window it is on. */
  move(step) {
    if (!this.rows.length) return null;
    const at = this.plot.cursor.idx;
    const from = at === null || at === undefined || this.plot.cursor.left < 0 ? this.rows.length : at;
    const place = Math.max(0, Math.min(this.rows.length - 1, from + step));
    this.plot.setCursor({ left: this.plot.valToPos(this.rows[place].start + HALF, "x"), top: 10 });
    return this.rows[place];
  }

  leave() {
    this.plot.setCursor({ left: -10, top: -10 });
  }

  fit() {
    const { clientWidth: width, clientHeight: height } = this.box;
    if (width && (width !== this.plot.width || height !== this.plot.height)) this.plot.setSize({ width, height });
  }

  touch() {
    const over = this.plot.over;
    const follow = (event) => {
      if (event.pointerType !== "touch") return;
      const place = over.getBoundingClientRect();
      this.plot.setCursor({ left: event.clientX - place.left, top: event.clientY - place.top });
    };
    over.addEventListener("pointerdown", follow);
    over.addEventListener("pointermove", follow);
  }

  options(syncKey) {
    const color = (name) => () => this.colors[name];
    const font = '11px "Inter Variable", system-ui, sans-serif';
    return {
      width: this.box.clientWidth || 320,
      height: this.box.clientHeight || 168,
      padding: [8, 16, 0, 0],
      legend: { show: false },
      cursor: {
        y: false,
        drag: { x: false, y: false },
        sync: { key: syncKey, setSeries: false },
        points: {
          size: 7,
          show: (plot, series) => (series === 3 ? dot() : emptyDot()),
          fill: color("average"),
          stroke: color("surface"),
          width: 2,
        },
      },
      scales: {
        x: { time: true, range: () => this.range ?? [0, LEAST_SPAN_S] },
        odds: { range: (_plot, min, max) => oddsRange(min, max) },
        stake: { range: (_plot, _min, max) => [0, (max || 1) / STAKE_SHARE] },
      },
      axes: [
        {
          stroke: color("muted"),
          font,
          size: 24,
          gap: 4,
          space: 52,
          incrs: MINUTES,
          grid: { show: false },
          ticks: { show: false },
          values: (_plot, splits, _axis, _space, step) =>
            splits.map((at) => (step >= 86400 ? dayOf(new Date(at * 1000)) : time(new Date(at * 1000)))),
        },
        {
          scale: "odds",
          stroke: color("muted"),
          font,
          size: 38,
          gap: 6,
          grid: { stroke: color("grid"), width: 1 },
          ticks: { show: false },
          splits: (plot, _axis, min, max) => oddsSplits(min, max, plot.series[2].min, plot.series[1].max),
          values: (_plot, splits) => alike(splits.map((at) => round(Math.exp(at)))),
        },
      ],
      series: [
        {},
        this.series("odds", "average", { fill: color("band"), width: 0, stroke: null, paths: bandPaths }),
        this.series("odds", "average", { width: 0, stroke: null, paths: () => null }),
        this.series("odds", "average", { stroke: color("average"), width: 2, paths: stepPaths }),
        this.series("odds", "vwap", { stroke: color("vwap"), width: 1.5, dash: [4, 3], paths: stepPaths }),
        this.series("stake", "stake", { fill: color("stake"), width: 0, stroke: null, paths: barPaths }),
        this.series("odds", "average", { stroke: color("gap"), width: 1, paths: gapPaths }),
      ],
      hooks: {
        setCursor: [(plot) => this.pointed(plot)],
        draw: [(plot) => this.drawOpen(plot)],
      },
    };
  }

  series(scale, label, rest) {
    return { scale, label, points: { show: false }, ...rest };
  }

  pointed(plot) {
    const looking = plot.cursor.left >= 0 && plot.cursor.idx !== null && plot.cursor.idx !== undefined;
    this.onPoint(looking ? (this.rows[plot.cursor.idx] ?? null) : null);
  }

  /** A dot where the newest window stands, while it is open. */
  drawOpen(plot) {
    const newest = this.rows.at(-1);
    if (!newest || newest.final) return;
    const x = plot.valToPos(newest.start + HALF, "x", true);
    const y = plot.valToPos(Math.log(newest.average), "odds", true);
    const { ctx } = plot;
    ctx.save();
    ctx.beginPath();
    ctx.arc(x, y, 4 * devicePixelRatio, 0, 2 * Math.PI);
    ctx.fillStyle = this.colors.average;
    ctx.strokeStyle = this.colors.surface;
    ctx.lineWidth = 2 * devicePixelRatio;
    ctx.stroke();
    ctx.fill();
    ctx.restore();
  }
}

/** What the charts of a market show: the last `length` seconds of what there is, or all; never less than half an hour. */
export function visibleRange(span, length) {
  if (!span) return null;
  const [first, last] = span;
  const from = length ? Math.max(first, last - length) : first;
  return [Math.min(from, last - LEAST_SPAN_S), last];
}

function oddsRange(min, max) {
  if (min === null || max === null) return [0, 1];
  const height = Math.max(max - min, Math.log(1.02));
  const middle = (min + max) / 2;
  return [middle - height * (0.6 + STAKE_SHARE * 1.3), middle + height * 0.62];
}

/** Up to four round odds within what is drawn, far enough apart. */
function oddsSplits(min, max, lowest, highest) {
  const from = lowest === undefined || lowest === null || !Number.isFinite(lowest) ? min : lowest;
  const to = highest === undefined || highest === null || !Number.isFinite(highest) ? max : highest;
  const least = (max - min) / 6;
  const pad = (max - min) * 0.08;
  let candidates = NICE.map(Math.log).filter((at) => at >= from - pad && at <= to + pad);
  if (candidates.length < 3) {
    const low = Math.exp(from - pad);
    const high = Math.exp(to + pad);
    const step = STEPS.find((step) => (high - low) / step <= 4) ?? STEPS.at(-1);
    candidates = [];
    for (let at = Math.ceil(low / step) * step; at <= high; at += step) candidates.push(Math.log(round(at)));
  }
  const spaced = [];
  for (const at of candidates) {
    if (!spaced.length || at - spaced.at(-1) >= least) spaced.push(at);
  }
  return spaced;
}

/** The numbers with as many decimals as the one that needs most. */
function alike(numbers) {
  const places = numbers.map((number) => (String(number).split(".")[1] ?? "").length);
  return numbers.map((number) => number.toFixed(Math.min(2, Math.max(...places))));
}

const round = (number) => Math.round(number * 1000) / 1000;

/** For each drawn window: (left, right, place in the data), in canvas pixels. */
function each(plot, from, to, draw) {
  const [times] = plot.data;
  for (let place = from; place <= to; place += 1) {
    draw(
      plot.valToPos(times[place] - HALF, "x", true),
      plot.valToPos(times[place] + HALF, "x", true),
      place,
    );
  }
}

/** A line across each window; windows that follow each other are joined. */
function stepPaths(plot, series, from, to) {
  const line = new Path2D();
  const [times] = plot.data;
  each(plot, from, to, (left, right, place) => {
    const y = plot.valToPos(plot.data[series][place], "odds", true);
    if (place > from && times[place] - times[place - 1] === WINDOW_S) line.lineTo(left, y);
    else line.moveTo(left, y);
    line.lineTo(right, y);
  });
  return { stroke: line, fill: null, clip: null, band: null, gaps: null, flags: 0 };
}

/** Thin lines where windows without executions lie between two that have some. */
function gapPaths(plot, series, from, to) {
  const lines = new Path2D();
  const [times] = plot.data;
  let end = null;
  each(plot, from, to, (left, right, place) => {
    const y = plot.valToPos(plot.data[series][place], "odds", true);
    if (end && times[place] - times[place - 1] > WINDOW_S) {
      lines.moveTo(end.x, end.y);
      lines.lineTo(left, y);
    }
    end = { x: right, y };
  });
  return { stroke: lines, fill: null, clip: null, band: null, gaps: null, flags: 0 };
}

/** A block from the least to the greatest odds of each window. */
function bandPaths(plot, series, from, to) {
  const blocks = new Path2D();
  each(plot, from, to, (left, right, place) => {
    const top = plot.valToPos(plot.data[series][place], "odds", true);
    const bottom = plot.valToPos(plot.data[series + 1][place], "odds", true);
    const height = Math.max(bottom - top, 3 * devicePixelRatio);
    const gap = right - left > 6 * devicePixelRatio ? devicePixelRatio : 0;
    blocks.roundRect(left + gap / 2, (top + bottom - height) / 2, right - left - gap, height, gap ? 2 * devicePixelRatio : 0);
  });
  return { stroke: null, fill: blocks, clip: null, band: null, gaps: null, flags: 0 };
}

/** A bar from the ground for each window's stake. */
function barPaths(plot, series, from, to) {
  const bars = new Path2D();
  const ground = plot.bbox.top + plot.bbox.height;
  each(plot, from, to, (left, right, place) => {
    const top = Math.min(plot.valToPos(plot.data[series][place], "stake", true), ground - devicePixelRatio);
    const gap = right - left > 4 * devicePixelRatio ? (right - left) * 0.24 : 0;
    bars.rect(left + gap / 2, top, right - left - gap, ground - top);
  });
  return { stroke: null, fill: bars, clip: null, band: null, gaps: null, flags: 0 };
}

function dot() {
  const element = document.createElement("div");
  element.className = "u-cursor-pt";
  return element;
}

function emptyDot() {
  const element = dot();
  element.hidden = true;
  return element;
}

function colorsOf(element) {
  const style = getComputedStyle(element);
  const read = (name) => style.getPropertyValue(name).trim();
  return {
    average: read("--average"),
    vwap: read("--vwap"),
    gap: read("--gap"),
    band: read("--range"),
    stake: read("--stake"),
    grid: read("--grid"),
    muted: read("--muted"),
    surface: read("--surface"),
  };
}
