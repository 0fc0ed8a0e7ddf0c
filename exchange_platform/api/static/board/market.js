// One market of an event's page: its selections with their charts and figures. Where windows come from is the page's (event.js).
import { Chart, visibleRange } from "./chart.js";
import { NONE, dayOf, money, moneyMinor, odds, time } from "./format.js";
import { WINDOW_S, Windows, keyOf } from "./windows.js";

const MOST_TABLE_ROWS = 96;

export class Market {
  constructor(section, { words, announce }) {
    this.section = section;
    this.id = section.dataset.market;
    this.version = Number(section.dataset.marketVersion);
    this.currency = section.dataset.currency;
    this.words = words;
    this.announce = announce;
    this.windows = new Windows();
    this.isLoaded = false;
    this.length = 0;
    this.cards = new Map();
    for (const card of section.querySelectorAll("[data-selection]")) {
      this.cards.set(keyOf(card.dataset.selection, card.dataset.handicap), { card, chart: null, pointed: null });
    }
    this.table = section.querySelector("[data-table]");
    section.querySelector("[data-table-fold]").addEventListener("toggle", () => this.fillTable());
  }

  get isOpen() {
    return this.section.querySelector(".fold").open;
  }

  /** Takes windows in and draws what changed. */
  take(windows, { isWhole = false } = {}) {
    const changed = this.windows.take(windows);
    if (isWhole) {
      this.isLoaded = true;
      this.trouble("");
    }
    if (!this.isLoaded) return;
    if (isWhole || changed.size) this.draw(changed);
  }

  trouble(text) {
    const line = this.section.querySelector("[data-market-trouble]");
    line.textContent = text;
    line.hidden = !text;
  }

  /** Shows the last so many seconds; 0 is all. */
  showLast(length) {
    this.length = length;
    if (this.isLoaded) this.draw(new Set());
  }

  recolor() {
    for (const { chart } of this.cards.values()) chart?.recolor();
  }

  draw(changed) {
    const range = visibleRange(this.windows.span(), this.length);
    for (const [key, one] of this.cards) {
      const rows = this.windows.of(key);
      const { card } = one;
      const note = card.querySelector("[data-chart-note]");
      if (!rows.length) {
        note.textContent = card.dataset.status === "REMOVED" ? "Removed" : "No executions yet";
        continue;
      }
      if (!one.chart) this.begin(one, note);
      one.chart.show(range ? rows.filter((row) => row.start + WINDOW_S > range[0]) : rows, range);
      one.newest = rows.at(-1);
      card.querySelector("[data-last]").textContent = odds(one.newest.close);
      if (!one.pointed || one.pointed.start === one.newest.start) this.read(one, one.newest);
      this.describe(one, rows);
      if (changed.has(key)) flash(card);
    }
    this.fillTable();
  }

  begin(one, note) {
    note.hidden = true;
    const box = one.card.querySelector("[data-chart]");
    box.tabIndex = 0;
    box.setAttribute("role", "group");
    box.setAttribute("aria-roledescription", "chart");
    one.chart = new Chart(box, {
      syncKey: this.id,
      onPoint: (row) => {
        one.pointed = row;
        one.card.toggleAttribute("data-pointed", row !== null);
        this.read(one, row ?? one.newest);
      },
    });
    box.addEventListener("keydown", (event) => {
      const step = { ArrowLeft: -1, ArrowRight: 1, Home: -Infinity, End: Infinity }[event.key];
      if (event.key === "Escape") one.chart.leave();
      if (step === undefined) return;
      event.preventDefault();
      const row = one.chart.move(step);
      if (row) this.announce(this.inWords(row));
    });
    box.addEventListener("blur", () => one.chart.leave());
  }

  /** The figures of one window, in the card. */
  read(one, row) {
    if (!row) return;
    const write = (name, text) => (one.card.querySelector(`[data-${name}]`).textContent = text);
    write("average", odds(row.average, 1));
    write("vwap", odds(row.vwap, 1));
    write("range", row.min === row.max ? odds(row.min) : `${odds(row.min)}–${odds(row.max)}`);
    write("stake", money(row.stake, this.currency));
    const line = one.card.querySelector("[data-reading-time]");
    line.textContent = `${spanOf(row)} · ${count(row.executions)} · ${standing(row)}`;
    line.classList.toggle("reading-open", !row.final);
  }

  describe(one, rows) {
    const name = one.card.querySelector(".selection-name").textContent;
    const from = odds(rows[0].average, 1);
    const to = odds(rows.at(-1).average, 1);
    const windows = rows.length === 1 ? "1 window" : `${rows.length} windows`;
    one.card
      .querySelector("[data-chart]")
      .setAttribute("aria-label", `${name}: average odds from ${from} to ${to} in ${windows}. Arrow keys read them.`);
  }

  inWords(row) {
    return (
      `${spanOf(row)}: average ${odds(row.average, 1)}, VWAP ${odds(row.vwap, 1)}, ` +
      `from ${odds(row.min)} to ${odds(row.max)}, ${money(row.stake, this.currency)}, ${count(row.executions)}, ${standing(row)}`
    );
  }

  fillTable() {
    if (!this.section.querySelector("[data-table-fold]").open) return;
    const rows = [];
    for (const [key, { card }] of this.cards) {
      const name = card.querySelector(".selection-name").textContent;
      for (const row of this.windows.of(key)) rows.push([name, row]);
    }
    rows.sort((a, b) => b[1].start - a[1].start);
    const head = ["Window", "Selection", "Average", "VWAP", "Lowest", "Highest", "Stake", "Executions", "Standing"];
    const body = rows.slice(0, MOST_TABLE_ROWS).map(([name, row]) => [
      `${dayOf(new Date(row.start * 1000))}, ${spanOf(row)}`,
      name,
      odds(row.average, 1),
      odds(row.vwap, 1),
      odds(row.min),
      odds(row.max),
      money(row.stake, this.currency),
      String(row.executions),
      standing(row),
    ]);
    this.table.replaceChildren(section("thead", "th", [head]), section("tbody", "td", body));
  }

  /** Shows the market's newer state; whether its selections are others than the page has, so that it must be made anew. */
  update(told) {
    if (told.version <= this.version) return false;
    const keys = told.selections.map((one) => keyOf(one.selection_id, one.handicap));
    if (keys.length !== this.cards.size || keys.some((key) => !this.cards.has(key))) return true;
    this.version = told.version;
    const { words } = this;
    const label =
      told.status === "OPEN" && told.in_play
        ? words.in_play
        : told.status === "CLOSED" && told.settled_at
          ? words.settled
          : words.market[told.status];
    setChip(this.section.querySelector("[data-market-chip]"), label);
    this.section.querySelector("[data-market-traded]").textContent = told.traded_minor
      ? `${moneyMinor(told.traded_minor, told.currency)} matched`
      : "";
    for (const selection of told.selections) {
      const { card } = this.cards.get(keyOf(selection.selection_id, selection.handicap));
      if (card.dataset.status === selection.status) continue;
      card.dataset.status = selection.status;
      const standing = words.selection[selection.status];
      setChip(card.querySelector("[data-selection-chip]"), standing.text ? standing : null);
    }
    return false;
  }
}

export function setChip(place, label) {
  const text = place.textContent;
  if (!label) {
    place.replaceChildren();
    return;
  }
  if (text === label.text) return;
  const chip = document.createElement("span");
  chip.className = `chip chip-${label.tone}`;
  chip.textContent = label.text;
  place.replaceChildren(chip);
}

function spanOf(row) {
  return `${time(new Date(row.start * 1000))}–${time(new Date((row.start + WINDOW_S) * 1000))}`;
}

function count(executions) {
  return executions === 1 ? "1 execution" : `${executions} executions`;
}

function standing(row) {
  if (!row.final) return row.revision ? "open again" : "open";
  return row.revision > 1 ? `closed, revised ${row.revision - 1}×` : "closed";
}

function section(kind, cell, rows) {
  const element = document.createElement(kind);
  for (const row of rows) {
    const line = document.createElement("tr");
    row.forEach((text) => {
      const one = document.createElement(cell);
      if (cell === "th") one.scope = "col";
      one.textContent = text ?? NONE;
      line.append(one);
    });
    element.append(line);
  }
  return element;
}

function flash(card) {
  const last = card.querySelector("[data-last]");
  last.classList.remove("flash");
  requestAnimationFrame(() => last.classList.add("flash"));
}
