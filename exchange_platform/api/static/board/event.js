// An event's page: follows the event and its markets' windows live, or polls where it can't.
import { localTimes, moneyMinor } from "./format.js";
import { Market, setChip } from "./market.js";
import { typeAheads } from "./typeahead.js";

const POLL_MS = 3000;
const TRY_AGAIN_MS = 30000;
const WHOLE_EVERY_MS = 60000;
const HIDDEN_MS = 20000;
const SIX_HOURS_S = 21600;

const root = document.documentElement.dataset.root;
const page = document.querySelector("[data-event]");
const id = page.dataset.event;
const words = JSON.parse(document.querySelector("[data-words]").textContent);
const markets = new Map();
let version = Number(page.dataset.version);
let length = 0;
let isSpanChosen = false;

typeAheads();
localTimes();
for (const section of page.querySelectorAll("[data-market]")) begin(section);

const announcements = page.querySelector("[data-announcements]");
function announce(text) {
  announcements.textContent = text;
}

function begin(section) {
  const market = new Market(section, { words, announce });
  markets.set(market.id, market);
  market.showLast(length);
  section.querySelector(".fold").addEventListener("toggle", () => market.isOpen && !market.isLoaded && load(market));
  return market;
}

for (const choice of page.querySelectorAll("input[name=span]")) {
  choice.addEventListener("change", () => {
    isSpanChosen = true;
    showSpan(Number(choice.value));
  });
}
/** Shows the last six hours at first where there are more, unless the reader chose. */
function chooseSpan(market) {
  if (isSpanChosen) return;
  isSpanChosen = true;
  const [first, last] = market.windows.span() ?? [0, 0];
  if (last - first <= SIX_HOURS_S) return;
  page.querySelector(`input[name=span][value="${SIX_HOURS_S}"]`).checked = true;
  showSpan(SIX_HOURS_S);
}

function showSpan(seconds) {
  length = seconds;
  for (const market of markets.values()) market.showLast(length);
}

document.documentElement.addEventListener("themechange", () => {
  for (const market of markets.values()) market.recolor();
});

/** Reads the market's windows, all or those that may still change. */
async function load(market, { since = null } = {}) {
  const query = since ? `limit=5000&since=${encodeURIComponent(since)}` : "limit=5000";
  try {
    const answer = await fetch(`${root}/markets/${encodeURIComponent(market.id)}/windows?${query}`, { cache: "no-cache" });
    if (!answer.ok) throw new Error(String(answer.status));
    const told = await answer.json();
    market.take(told.windows, { isWhole: true });
    chooseSpan(market);
  } catch {
    if (!market.isLoaded) market.trouble("The windows are not to be had for the moment; the page tries again.");
  }
}

/** Reads the windows of every market that is unfolded; those of the first, which the reader sees, before the others. */
async function loadAll() {
  const [first, ...others] = [...markets.values()].filter((market) => market.isOpen);
  if (first) await load(first);
  await Promise.all(others.map((market) => load(market)));
}

/** Shows a newer state of the event. */
async function show(event) {
  if (event.version < version) return;
  version = event.version;
  const main = event.markets.find((market) => market.market_id === markets.keys().next().value);
  const suspended = main?.status === "SUSPENDED" && (event.status === "IN_PLAY" || event.status === "SCHEDULED");
  setChip(page.querySelector("[data-event-chip]"), suspended ? words.market.SUSPENDED : words.event[event.status]);
  page.querySelector("[data-event-phase]").textContent = event.phase;
  showTraded(event);
  showScores(event, main);
  let isOther = false;
  for (const told of event.markets) {
    const market = markets.get(told.market_id);
    if (!market || market.update(told)) isOther = true;
  }
  if (isOther) await renew();
}

function showTraded(event) {
  const sums = new Map();
  for (const { currency, traded_minor: traded } of event.markets) {
    if (traded) sums.set(currency, (sums.get(currency) ?? 0) + traded);
  }
  const texts = [...sums].sort((a, b) => b[1] - a[1]).map(([currency, traded]) => moneyMinor(traded, currency));
  page.querySelector("[data-event-traded]").textContent = texts.length ? `${texts.join(" + ")} matched` : "";
}

function showScores(event, main) {
  const won = new Set(main?.selections.filter((one) => one.status === "WINNER").map((one) => one.name));
  const sides = event.scores.length
    ? event.scores
    : event.participants.length === 2
      ? event.participants.map((name) => ({ name, value: "", detail: "" }))
      : [];
  const box = page.querySelector("[data-scores]");
  box.hidden = !sides.length;
  const text = JSON.stringify([sides, [...won]]);
  if (box.dataset.shown === text) return;
  box.dataset.shown = text;
  box.replaceChildren(
    ...sides.map((side) => {
      const line = document.createElement("div");
      line.className = won.has(side.name) ? "score score-won" : "score";
      for (const [name, content] of [
        ["name", side.name],
        ["detail", side.detail],
        ["value", side.value || "–"],
      ]) {
        const span = document.createElement("span");
        span.className = `score-${name}`;
        span.textContent = content;
        line.append(span);
      }
      return line;
    }),
  );
}

/** Takes markets that are new or have other selections from the page as the server makes it now. */
async function renew() {
  try {
    const answer = await fetch(location.pathname, { cache: "no-cache" });
    if (!answer.ok) return;
    const fresh = new DOMParser().parseFromString(await answer.text(), "text/html");
    const place = page.querySelector("[data-markets]");
    place.querySelector("[data-no-markets]")?.remove();
    for (const section of fresh.querySelectorAll("[data-market]")) {
      const known = markets.get(section.dataset.market);
      const hasOthers =
        known && section.querySelectorAll("[data-selection]").length !== known.section.querySelectorAll("[data-selection]").length;
      if (known && !hasOthers && known.version >= Number(section.dataset.marketVersion)) continue;
      const own = document.adoptNode(section);
      if (known) known.section.replaceWith(own);
      else place.append(own);
      const market = begin(own);
      if (market.isOpen) load(market);
    }
  } catch {
    // The next change, or the next reading of everything, tries again.
  }
}

// How the page is tied to the server: live, or by polling where a stream is not to be had.
const link = page.querySelector("[data-link]");
const LINKS = {
  waiting: "Connecting",
  live: "Live",
  polling: "Updated every few seconds",
  delayed: "Updates are delayed",
  broken: "Reconnecting",
};
function tied(state) {
  if (link.dataset.link === state) return;
  link.dataset.link = state;
  link.querySelector("[data-link-text]").textContent = LINKS[state];
}

let stream = null;
let polling = 0;
let hiding = 0;
let isBaseRead = false;

function follow() {
  stopPolling();
  stream?.close();
  if (!window.EventSource) return poll();
  stream = new EventSource(`${root}/events/${encodeURIComponent(id)}/live`);
  isBaseRead = false;
  stream.addEventListener("event", (message) => {
    tied("live");
    show(JSON.parse(message.data));
    // Only now: whatever changes after this message is told, so nothing is missed.
    if (!isBaseRead) {
      isBaseRead = true;
      loadAll();
    }
  });
  stream.addEventListener("windows", (message) => {
    const told = JSON.parse(message.data);
    markets.get(told.market_id)?.take(told.windows);
  });
  stream.addEventListener("delayed", () => tied("delayed"));
  stream.addEventListener("resumed", () => {
    tied("live");
    loadAll();
  });
  stream.addEventListener("error", () => {
    isBaseRead = false;
    if (stream.readyState === EventSource.CLOSED) {
      stream = null;
      poll(); // refused: too many follow, or it is no stream
      setTimeout(() => !stream && !document.hidden && follow(), TRY_AGAIN_MS);
    } else {
      tied("broken"); // the browser tries again by itself
    }
  });
}

async function poll() {
  clearTimeout(polling);
  if (stream || document.hidden) return;
  try {
    const answer = await fetch(`${root}/events/${encodeURIComponent(id)}`, { cache: "no-cache" });
    if (!answer.ok) throw new Error(String(answer.status));
    await show(await answer.json());
    const open = [...markets.values()].filter((market) => market.isOpen);
    await Promise.all(open.map((market) => load(market, { since: market.isLoaded ? market.windows.since() : null })));
    tied("polling");
  } catch {
    tied("broken");
  }
  polling = setTimeout(poll, POLL_MS);
}

function stopPolling() {
  clearTimeout(polling);
}

document.addEventListener("visibilitychange", () => {
  clearTimeout(hiding);
  if (document.hidden) {
    hiding = setTimeout(() => {
      stream?.close();
      stream = null;
    }, HIDDEN_MS);
  } else if (!stream) {
    follow();
  }
});
// What an operator computes anew is told by no execution.
setInterval(() => !document.hidden && loadAll(), WHOLE_EVERY_MS);

follow();
