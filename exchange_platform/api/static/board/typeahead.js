// The box that finds events while one types (the ARIA combobox pattern with a list). Without this script it is a plain form.
import { dayOf, marked, time } from "./format.js";

const PAUSE_MS = 90;
const LIMIT = 8;
const STATUS = { IN_PLAY: ["In play", "live"], FINISHED: ["Finished", "over"], ABANDONED: ["Abandoned", "over"] };

export class TypeAhead {
  constructor(form, root) {
    this.form = form;
    this.root = root;
    this.input = form.querySelector("input[type=search]");
    this.panel = form.querySelector("[data-search-panel]");
    this.list = form.querySelector("[data-search-list]");
    this.note = form.querySelector("[data-search-note]");
    this.status = form.querySelector("[data-search-status]");
    this.asked = 0;
    this.shown = 0;
    this.active = -1;
    this.events = [];
    this.cancel = null;
    this.timer = 0;

    const input = this.input;
    input.setAttribute("role", "combobox");
    input.setAttribute("aria-autocomplete", "list");
    input.setAttribute("aria-expanded", "false");
    input.setAttribute("aria-controls", this.list.id);
    this.list.setAttribute("role", "listbox");
    this.list.setAttribute("aria-label", "Events found");

    input.addEventListener("input", () => this.typed());
    input.addEventListener("keydown", (event) => this.key(event));
    input.addEventListener("focus", () => input.value.trim() && this.events.length && this.open());
    form.addEventListener("focusout", (event) => !form.contains(event.relatedTarget) && this.close());
    form.addEventListener("submit", (event) => {
      if (!input.value.trim()) event.preventDefault();
    });
    // The list must not take the focus from the box, or the box would close it before the click arrives.
    this.panel.addEventListener("mousedown", (event) => event.preventDefault());
    document.addEventListener("keydown", (event) => {
      const elsewhere = !event.target.closest("input, textarea, select, [contenteditable]");
      if (event.key === "/" && elsewhere && !event.ctrlKey && !event.metaKey && !event.altKey) {
        event.preventDefault();
        input.focus();
        input.select();
      }
    });
  }

  typed() {
    clearTimeout(this.timer);
    if (!this.input.value.trim()) {
      this.forget();
      return;
    }
    this.timer = setTimeout(() => this.ask(), PAUSE_MS);
  }

  /** Asks for what is typed now. An answer counts only while no later question was asked. */
  async ask() {
    this.cancel?.abort();
    const cancel = (this.cancel = new AbortController());
    const number = ++this.asked;
    const query = this.input.value;
    this.form.dataset.busy = "yes";
    try {
      const address = `${this.root}/events/search?limit=${LIMIT}&q=${encodeURIComponent(query)}`;
      const answer = await fetch(address, { signal: cancel.signal, headers: { Accept: "application/json" } });
      const body = await answer.json();
      if (number !== this.asked) return;
      if (!answer.ok) throw new Error(body.code ?? String(answer.status));
      this.show(body.events, query);
    } catch (error) {
      if (cancel.signal.aborted || number !== this.asked) return;
      this.fail(error.message === "too_many_requests");
    } finally {
      if (number === this.asked) delete this.form.dataset.busy;
    }
  }

  show(events, query) {
    this.events = events;
    this.shown = this.asked;
    this.list.replaceChildren(...events.map((event, place) => this.option(event, place)));
    this.select(-1);
    if (events.length) {
      this.say("");
      const count = events.length === 1 ? "1 event" : `${events.length} events`;
      this.status.textContent = `${count} found. Use the arrow keys.`;
    } else {
      this.say(`Nothing found for “${query.trim()}”`);
      this.status.textContent = "Nothing found.";
    }
    this.open();
  }

  fail(tooMany) {
    this.events = [];
    this.list.replaceChildren();
    const text = tooMany ? "Too many searches at once: wait a moment." : "The search is away for the moment.";
    this.say(text);
    this.status.textContent = text;
    this.open();
  }

  option(event, place) {
    const item = document.createElement("li");
    item.id = `search-option-${place}`;
    item.className = "found";
    item.setAttribute("role", "option");
    item.setAttribute("aria-selected", "false");

    const icon = document.createElementNS("http://www.w3.org/2000/svg", "svg");
    icon.classList.add("sport");
    icon.setAttribute("aria-hidden", "true");
    const use = document.createElementNS("http://www.w3.org/2000/svg", "use");
    use.setAttribute("href", `#sport-${iconOf(event.sport)}`);
    icon.append(use);

    const words = span("found-words");
    const name = span("found-name");
    name.append(marked(event.name, event.highlights, "name"));
    const facts = span("facts");
    const sport = span("sports-name");
    sport.textContent = event.sport;
    facts.append(sport);
    if (event.competition) {
      const competition = span("");
      competition.append(marked(event.competition, event.highlights, "competition"));
      facts.append(competition);
    }
    words.append(name, facts);

    const standing = span("found-standing");
    const [text, tone] = STATUS[event.status] ?? [];
    if (text) {
      const chip = span(`chip chip-${tone}`);
      chip.textContent = text;
      standing.append(chip);
    } else if (event.starts_at) {
      const starts = new Date(event.starts_at);
      const today = starts.toDateString() === new Date().toDateString();
      standing.append(today ? time(starts) : `${dayOf(starts)}, ${time(starts)}`);
      standing.title = starts.toISOString();
    }
    item.append(icon, words, standing);
    item.addEventListener("click", () => this.go(place));
    item.addEventListener("mousemove", () => this.active !== place && this.select(place));
    return item;
  }

  key(event) {
    const last = this.events.length - 1;
    const isOpen = !this.panel.hidden;
    switch (event.key) {
      case "ArrowDown":
      case "ArrowUp": {
        if (last < 0) return;
        event.preventDefault();
        const step = event.key === "ArrowDown" ? 1 : -1;
        if (!isOpen) this.open();
        // Beyond either end lies the box itself.
        const next = this.active + step;
        this.select(next > last ? -1 : next < -1 ? last : next);
        return;
      }
      case "Home":
      case "End":
        if (!isOpen || last < 0 || this.active < 0) return;
        event.preventDefault();
        this.select(event.key === "Home" ? 0 : last);
        return;
      case "Enter":
        if (isOpen && this.active >= 0) {
          event.preventDefault();
          this.go(this.active);
        }
        return;
      case "Escape":
        if (isOpen) {
          event.preventDefault();
          this.close();
        } else if (this.input.value) {
          event.preventDefault();
          this.input.value = "";
          this.forget();
        }
        return;
      case "Tab":
        this.close();
    }
  }

  select(place) {
    this.list.children[this.active]?.setAttribute("aria-selected", "false");
    this.active = place;
    const item = this.list.children[place];
    if (item) {
      item.setAttribute("aria-selected", "true");
      item.scrollIntoView({ block: "nearest" });
      this.input.setAttribute("aria-activedescendant", item.id);
    } else {
      this.input.removeAttribute("aria-activedescendant");
    }
  }

  go(place) {
    location.assign(`${this.root}/board/events/${encodeURIComponent(this.events[place].event_id)}`);
  }

  say(text) {
    this.note.textContent = text;
    this.note.hidden = !text;
  }

  open() {
    this.panel.hidden = false;
    this.input.setAttribute("aria-expanded", String(this.events.length > 0));
  }

  close() {
    this.panel.hidden = true;
    this.input.setAttribute("aria-expanded", "false");
    this.select(-1);
  }

  /** Nothing is typed: no list, and no answer that is still on its way. */
  forget() {
    this.cancel?.abort();
    this.asked += 1;
    delete this.form.dataset.busy;
    this.events = [];
    this.list.replaceChildren();
    this.status.textContent = "";
    this.close();
  }
}

function span(name) {
  const element = document.createElement("span");
  if (name) element.className = name;
  return element;
}

function iconOf(sport) {
  const words = sport.toLowerCase();
  if (words === "football" || words === "soccer") return "football";
  if (words.includes("racing") || words.includes("greyhound")) return "racing";
  return ["tennis", "cricket", "basketball"].includes(words) ? words : "other";
}

/** Every search box of the page. */
export function typeAheads() {
  const root = document.documentElement.dataset.root;
  for (const form of document.querySelectorAll("[data-search]")) new TypeAhead(form, root);
}
