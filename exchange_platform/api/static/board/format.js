// How odds, money and instants are written, as exchange_platform/api/formats.py writes them.

const COMPACT = [
  [1e9, "bn"],
  [1e6, "m"],
  [1e3, "k"],
];
const SYMBOLS = { GBP: "£", EUR: "€", USD: "$", JPY: "¥", AUD: "A$", CAD: "C$", NZD: "NZ$" };
const MINOR_DIGITS = { JPY: 0 };
export const NONE = "–";

/** The decimals that the price ladder has there; `more` for averages, which lie between its steps. */
export function odds(value, more = 0) {
  if (value === null || value === undefined) return NONE;
  const number = Number(value);
  const places = number < 4 ? 2 : number < 20 ? 1 : 0;
  return number.toFixed(places + (places < 2 ? more : 0));
}

/** Short, in its currency: £840, £12.3k, €1.25m. `amount` is in major units. */
export function money(amount, currency) {
  const size = COMPACT.find(([size]) => Math.abs(amount) >= size);
  let number;
  if (size) {
    const part = amount / size[0];
    number = Number(part.toFixed(Math.abs(part) < 10 ? 2 : Math.abs(part) < 100 ? 1 : 0)) + size[1];
  } else {
    number = amount.toFixed(0);
  }
  const symbol = SYMBOLS[currency];
  return symbol === undefined ? `${number} ${currency}` : symbol + number;
}

/** The same from minor units. */
export function moneyMinor(minor, currency) {
  return money(minor / 10 ** (MINOR_DIGITS[currency] ?? 2), currency);
}

const clock = new Intl.DateTimeFormat(undefined, { hour: "2-digit", minute: "2-digit", hourCycle: "h23" });
const day = new Intl.DateTimeFormat(undefined, { weekday: "short", day: "numeric", month: "short" });
const full = new Intl.DateTimeFormat(undefined, {
  day: "numeric",
  month: "short",
  year: "numeric",
  hour: "2-digit",
  minute: "2-digit",
  hourCycle: "h23",
});

export const time = (instant) => clock.format(instant);
export const dayOf = (instant) => day.format(instant);

/** Writes every <time data-local> below `root` in the reader's time zone; its title stays UTC. */
export function localTimes(root = document) {
  const today = new Date().toDateString();
  for (const element of root.querySelectorAll("time[data-local]")) {
    const instant = new Date(element.dateTime);
    if (Number.isNaN(instant.getTime())) continue;
    const style = element.dataset.local;
    if (style === "soon") {
      element.textContent =
        instant.toDateString() === today ? time(instant) : `${dayOf(instant)}, ${time(instant)}`;
    } else {
      element.textContent = full.format(instant);
    }
  }
}

/** A text with the parts between [start, end) marked, counted in code points, as nodes: nothing in it is markup. */
export function marked(text, highlights, field) {
  const characters = Array.from(text);
  const fragment = document.createDocumentFragment();
  let at = 0;
  const ranges = highlights.filter((one) => one.field === field).sort((a, b) => a.start - b.start);
  for (const { start, end } of ranges) {
    const from = Math.max(start, at);
    const to = Math.min(end, characters.length);
    if (from >= to) continue;
    fragment.append(characters.slice(at, from).join(""));
    const mark = document.createElement("mark");
    mark.textContent = characters.slice(from, to).join("");
    fragment.append(mark);
    at = to;
  }
  fragment.append(characters.slice(at).join(""));
  return fragment;
}
