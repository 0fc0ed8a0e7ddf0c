// The windows of one market as they are known here. However they arrive, in whatever order and how often, the newest state of each stays.

/** Whether `one` is a later state of the window than `other`: executions only grow, then it is closed, then revised. */
function isLater(one, other) {
  if (one.executions !== other.executions) return one.executions > other.executions;
  if (one.revision !== other.revision) return one.revision > other.revision;
  return one.final && !other.final;
}

export const keyOf = (selectionId, handicap) => `${selectionId}/${Number(handicap)}`;

export class Windows {
  constructor() {
    this.bySelection = new Map();
  }

  /** Takes windows in; the keys of the selections that changed. */
  take(windows) {
    const changed = new Set();
    for (const told of windows) {
      const key = keyOf(told.selection_id, told.handicap);
      const start = Date.parse(told.start) / 1000;
      let mine = this.bySelection.get(key);
      if (!mine) this.bySelection.set(key, (mine = new Map()));
      const known = mine.get(start);
      if (known && !isLater(told, known)) continue;
      mine.set(start, {
        start,
        executions: told.executions,
        average: told.average_odds,
        vwap: told.vwap,
        min: Number(told.min_odds),
        max: Number(told.max_odds),
        close: Number(told.close_odds),
        stake: Number(told.stake),
        final: told.final,
        revision: told.revision,
      });
      changed.add(key);
    }
    return changed;
  }

  /** The selection's windows, oldest first. */
  of(key) {
    return Array.from(this.bySelection.get(key)?.values() ?? []).sort((a, b) => a.start - b.start);
  }

  /** [begin of the first, end of the last] of all selections, in seconds; null while there are none. */
  span() {
    let first = Infinity;
    let last = -Infinity;
    for (const mine of this.bySelection.values()) {
      for (const start of mine.keys()) {
        first = Math.min(first, start);
        last = Math.max(last, start);
      }
    }
    return last < first ? null : [first, last + WINDOW_S];
  }

  /** From when on windows may still change: what a poll asks for. */
  since() {
    let floor = Infinity;
    let newest = -Infinity;
    for (const mine of this.bySelection.values()) {
      for (const one of mine.values()) {
        newest = Math.max(newest, one.start);
        if (!one.final) floor = Math.min(floor, one.start);
      }
    }
    floor = Math.min(floor, newest);
    return Number.isFinite(floor) ? new Date(floor * 1000).toISOString() : null;
  }
}

export const WINDOW_S = 300;
