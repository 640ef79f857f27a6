"use strict";
(() => {
  // Cells by number: their elements, the parts that are here, and whether they are near the view.
  const cells = new Map();
  const page = String(Math.random()).slice(2);
  const main = document.querySelector("main");
  const strip = document.getElementById("strip");
  const newest = document.getElementById("newest");
  const state = document.getElementById("state");
  const failures = new Set(["error", "timeout", "interrupted", "kernel_died"]);
  const token = keptToken();
  let name = "";
  let since = 0;
  let conclusion = "";
  let follows = true;
  let lastTop = 0;
  let lastHeight = 0;
  let wake = () => {};

  // The server sends inert HTML; browsers with Trusted Types need this policy to accept it.
  const policy = window.trustedTypes
    ? trustedTypes.createPolicy("nbtape", { createHTML: (html) => html })
    : { createHTML: (html) => html };

  // Keeps the token for this tab, and removes it from the address.
  function keptToken() {
    const given = location.hash.slice(1);
    if (given) {
      sessionStorage.setItem("nbtape", given);
      history.replaceState(null, "", location.pathname);
    }
    return sessionStorage.getItem("nbtape") || "";
  }

  async function ask(what, question) {
    const answer = await fetch(what, {
      method: "POST",
      headers: { Authorization: `Bearer ${token}`, "Content-Type": "application/json" },
      body: JSON.stringify(question),
    });
    if (!answer.ok) throw new Error("the server refuses", { cause: answer.status });
    return answer.json();
  }

  const lacks = (cell) => cell.has < cell.revision;
  const hasAll = () => conclusion !== "" && ![...cells.values()].some(lacks);

  function tell(text, kind = "") {
    if (state.textContent !== text) state.textContent = text;
    state.className = kind;
  }

  // Asks for updates until everything is here.
  async function listen() {
    for (let isOver = false; !isOver; ) {
      isOver = hasAll();
      const updates = await ask("/updates", { page, since, has_all: isOver });
      conclusion = updates.conclusion;
      if (updates.name !== undefined) take(updates);
      since = updates.revision;
      tellState();
    }
  }

  function tellState() {
    document.title = conclusion ? name : `● ${name}`;
    if (!conclusion) tell(`The session of ${name} goes on.`, "going-on");
    else tell(hasAll() ? conclusion : `${conclusion} The rest of it is on its way.`);
  }

  function take(updates) {
    name = updates.name;
    document.getElementById("name").textContent = name;
    for (const [number, block, status] of updates.cells) {
      const cell = cells.get(number) ?? begin(number);
      cell.revision = updates.revision;
      cell.status = status;
      cell.section.className = status === "" ? "cell-prose" : "cell-code";
      cell.section.classList.toggle("cell-failed", failures.has(status));
      cell.square.className = `status-${status}`;
      cell.square.hidden = status === "";
      cell.square.title = `block ${block}: ${status}`;
    }
    if (updates.order) reorder(updates.order);
    count();
    const facts = updates.facts.flatMap(([key, value]) => [element("dt", key), element("dd", value)]);
    document.getElementById("facts").replaceChildren(...facts);
    wake();
  }

  function begin(number) {
    const section = document.createElement("section");
    const square = document.createElement("button");
    const cell = { number, section, square, status: "", revision: 0, has: 0, marks: [], isNear: false };
    square.type = "button";
    square.addEventListener("click", () => {
      follows = false;
      section.scrollIntoView();
    });
    near.observe(section);
    section.cell = cell;
    cells.set(number, cell);
    return cell;
  }

  function reorder(order) {
    const numbers = new Set(order);
    for (const [number, cell] of cells) {
      if (numbers.has(number)) continue;
      near.unobserve(cell.section);
      cells.delete(number);
    }
    arrange(main, order.map((number) => cells.get(number).section));
    arrange(strip, order.map((number) => cells.get(number).square));
  }

  // Makes `children` the children of `parent`, and moves only those that are elsewhere.
  function arrange(parent, children) {
    const kept = new Set(children);
    for (const child of [...parent.children]) if (!kept.has(child)) child.remove();
    children.forEach((child, place) => {
      if (parent.children[place] !== child) parent.insertBefore(child, parent.children[place] ?? null);
    });
  }

  function count() {
    const counts = new Map();
    for (const { status } of cells.values()) if (status) counts.set(status, (counts.get(status) ?? 0) + 1);
    const badges = [...counts].map(([status, number]) => element("span", `${number} ${status}`, `run-badge status-${status}`));
    document.getElementById("counts").replaceChildren(...badges.flatMap((badge) => [badge, " "]));
  }

  function element(kind, text, name = "") {
    const made = document.createElement(kind);
    made.textContent = text;
    made.className = name;
    return made;
  }

  // Fetches cells: what is in view, then the newest of the rest.
  async function fill() {
    for (;;) {
      const wanted = nextCells();
      if (wanted.length === 0) {
        if (conclusion) return;
        await new Promise((done) => (wake = done));
        continue;
      }
      const revisions = new Map(wanted.map((cell) => [cell.number, cell.revision]));
      const answer = await ask("/cells", { cells: wanted.map((cell) => [cell.number, cell.marks]) });
      for (const [number, content] of answer.cells) {
        const cell = cells.get(number);
        if (cell === undefined) continue;
        show(cell, content);
        cell.has = Math.max(revisions.get(number), content?.revision ?? 0);
      }
      tellState();
    }
  }

  function nextCells() {
    const lacking = [...main.children].reverse().map((section) => section.cell).filter(lacks);
    return lacking.sort((one, other) => other.isNear - one.isNear).slice(0, 50);
  }

  function show(cell, content) {
    if (content === null) {
      cell.marks = [];
      cell.section.replaceChildren(element("p", "[this cell cannot be shown; see the notebook]", "output-withheld"));
      return;
    }
    const { parts } = content;
    const here = new Map(cell.marks.map((mark, place) => [mark, cell.section.children[place]]));
    const now = parts.map(([mark, html]) => {
      if (html === null) return here.get(mark);
      const part = document.createElement("div");
      part.innerHTML = policy.createHTML(html);
      return part;
    });
    arrange(cell.section, now);
    cell.marks = parts.map(([mark]) => mark);
  }

  const near = new IntersectionObserver(
    (entries) => {
      for (const entry of entries) entry.target.cell.isNear = entry.isIntersecting;
      wake();
    },
    { rootMargin: "600px" },
  );

  // The end stays in view until the reader scrolls up. A page that has become shorter scrolls up by itself.
  const height = () => document.documentElement.scrollHeight;
  const goToEnd = () => scrollTo(0, height());
  function remember() {
    newest.hidden = follows;
    lastTop = scrollY;
    lastHeight = height();
  }
  new ResizeObserver(() => {
    if (follows) goToEnd();
    remember();
  }).observe(document.body);
  addEventListener("scroll", () => {
    if (innerHeight + scrollY >= height() - 40) follows = true;
    else if (scrollY < lastTop && height() === lastHeight) follows = false;
    remember();
  });
  newest.addEventListener("click", () => {
    follows = true;
    goToEnd();
  });
  addEventListener("hashchange", () => location.reload());

  // Retries after a lost connection.
  async function persist(act) {
    for (;;) {
      try {
        return await act();
      } catch (error) {
        if (hasAll()) return tellState();
        if ([401, 403].includes(error.cause)) return tell("This link is no longer valid. Open the link that nbtape watch printed.", "lost");
        tell("nbtape watch does not answer. It may have stopped; this page keeps what it has.", "lost");
        await new Promise((done) => setTimeout(done, 1000));
      }
    }
  }

  if (!token) tell("Open the complete link that nbtape watch printed, including the part after #.", "lost");
  else {
    persist(listen);
    persist(fill);
  }
})();
