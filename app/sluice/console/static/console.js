"use strict";
// The live tail. Every text goes into the page as text, never as markup.
(() => {
  const lines = document.getElementById("lines");
  if (!lines) return;
  const MOST = 500;
  const where = document.getElementById("where");
  const pause = document.getElementById("pause");
  const state = document.getElementById("state");
  let source = null;
  let last = "";
  let paused = false;
  let held = null;
  let timer = 0;

  const say = (text) => {
    const now = paused ? "paused" : text;
    if (state.textContent !== now) state.textContent = now;
  };
  const cell = (row, text) => { row.insertCell().textContent = text; };
  const trim = () => { while (lines.rows.length > MOST) lines.deleteRow(-1); };

  const show = (log) => {
    const row = lines.insertRow(0);
    cell(row, log.timestamp.slice(0, 19).replace("T", " "));
    cell(row, log.event_type);
    cell(row, log.source || "");
    const link = document.createElement("a");
    link.href = "event?" + new URLSearchParams({ event_id: log.event_id });
    link.textContent = log.event_name;
    row.insertCell().append(link);
    cell(row, JSON.stringify(log.properties).slice(0, 500));
    trim();
  };

  const open = () => {
    if (source) source.close();
    source = new EventSource("tail/stream?" + new URLSearchParams({ where: where.value, ...(last && { after: last }) }));
    source.onopen = () => say("live");
    source.onmessage = (event) => {
      last = event.lastEventId;
      const log = JSON.parse(event.data);
      if (paused) { held = log; source.close(); } else show(log);
    };
    source.addEventListener("lost", (event) => {
      const number = JSON.parse(event.data).lost;
      const row = lines.insertRow(0);
      const text = row.insertCell();
      text.colSpan = 5;
      text.textContent = (number === null ? "some" : number) + " events were left out";
      trim();
    });
    source.onerror = () => {
      // The browser tries again by itself, but for an answer that is no stream.
      say(source.readyState === EventSource.CLOSED ? "refused: check the filters, or sign in again" : "connecting again");
    };
  };

  pause.addEventListener("click", () => {
    paused = !paused;
    pause.setAttribute("aria-pressed", String(paused));
    pause.textContent = paused ? "Go on" : "Pause";
    if (paused) {
      // Before the first event there is no place to go on from: the stream stays open for one.
      if (last) source.close();
      say("paused");
    } else {
      if (held) show(held);
      held = null;
      if (source.readyState === EventSource.CLOSED) open(); else say("live");
    }
  });
  document.getElementById("clear").addEventListener("click", () => lines.replaceChildren());
  document.getElementById("tail-form").addEventListener("submit", (event) => event.preventDefault());
  where.addEventListener("input", () => {
    clearTimeout(timer);
    timer = setTimeout(() => {
      last = "";
      held = null;
      // The address of the page is that of what it shows.
      history.replaceState(null, "", "?" + new URLSearchParams({ where: where.value }));
      if (paused) source.close(); else open();
    }, 400);
  });
  open();
})();
