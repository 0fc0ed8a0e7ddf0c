// The front page: the search box, and lists that follow what happens.
import { localTimes } from "./format.js";
import { typeAheads } from "./typeahead.js";

const EVERY_MS = 4000;
const AFTER_TROUBLE_MS = 15000;

typeAheads();
localTimes();

const lists = document.querySelector("[data-lists]");
if (lists) follow(lists);

function follow(lists) {
  let tag = null;
  let timer = 0;

  async function look() {
    clearTimeout(timer);
    if (document.hidden) return; // begins again when it is seen
    let next = EVERY_MS;
    try {
      const answer = await fetch(lists.dataset.lists, { cache: "no-cache" });
      if (!answer.ok) throw new Error(String(answer.status));
      const text = await answer.text();
      if (answer.headers.get("ETag") !== tag) {
        tag = answer.headers.get("ETag");
        replace(lists, text);
      }
      delete lists.dataset.stale;
    } catch {
      lists.dataset.stale = "yes";
      next = AFTER_TROUBLE_MS;
    }
    timer = setTimeout(look, next);
  }

  document.addEventListener("visibilitychange", () => !document.hidden && look());
  timer = setTimeout(look, EVERY_MS);
}

/** Puts new lists in place of the old; the reader keeps the focus, and sees which odds moved. */
function replace(lists, text) {
  const before = new Map();
  for (const row of lists.querySelectorAll("[data-key]")) before.set(row.dataset.key, oddsOf(row));
  const focused = lists.contains(document.activeElement) ? document.activeElement : null;
  const key = focused?.dataset.key;
  const address = focused?.getAttribute("href");
  const fresh = document.createElement("template");
  fresh.innerHTML = text; // this server's own page, escaped there
  localTimes(fresh.content);
  for (const row of fresh.content.querySelectorAll("[data-key]")) {
    const known = before.get(row.dataset.key);
    oddsOf(row).forEach((now, place) => {
      const was = Number(known?.[place]);
      if (!was || !Number(now) || was === Number(now)) return;
      row.querySelectorAll(".price")[place].dataset.moved = Number(now) > was ? "up" : "down";
    });
  }
  lists.replaceChildren(fresh.content);
  if (focused) {
    const again = key
      ? lists.querySelector(`[data-key="${CSS.escape(key)}"]`)
      : lists.querySelector(`a[href="${CSS.escape(address)}"]`);
    again?.focus({ preventScroll: true });
  }
}

function oddsOf(row) {
  return Array.from(row.querySelectorAll(".price-odds"), (one) => one.textContent);
}
