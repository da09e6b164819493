// Live parts: an event stream says that something changed, then htmx fetches each part anew.
//   <div data-live="/api/v1/…/stream" data-live-until="removed">  the stream, and the states after which nothing comes
//     <section hx-get="…" hx-trigger="live" hx-swap="outerMorph">  a part
// Where no stream gets through, the parts are fetched every few seconds instead; less often while nothing changes or
// the server is in trouble. A page that nobody sees asks for nothing and holds no stream: browsers open six in all.
(() => {
  const GATHER = 200;
  // Many pages may hear the same news at once: they come for it one after the other.
  const SPREAD = 250;
  const POLL = 3000;
  const SLOWEST = 8;
  const AGAIN = 15_000;
  const SILENCE = 4000;

  function begin(root) {
    let timer = null;
    let poll = null;
    let slower = 1;
    let source = null;
    let silence = null;
    let reopen = null;
    let over = false;
    let missed = false;
    const seen = new WeakMap();
    const until = (root.dataset.liveUntil || "").split(" ").filter(Boolean);
    const parts = () => root.querySelectorAll("[hx-trigger~='live']");
    const refresh = () => {
      if (document.hidden) { missed = true; return; }
      // What comes while a fetch is already on its way out is in what it brings.
      timer ??= setTimeout(() => {
        timer = null;
        parts().forEach((part) => window.htmx.trigger(part, "live"));
      }, GATHER + Math.random() * SPREAD);
    };
    const pause = () => Number(root.dataset.livePoll || POLL) * slower;
    const look = () => { poll = setTimeout(() => { refresh(); look(); }, pause()); };
    const startPolling = () => {
      if (over) return;
      root.dataset.liveMode = "poll";
      if (!poll) look();
    };
    const stopPolling = () => { clearTimeout(poll); poll = null; slower = 1; };
    const close = () => {
      clearTimeout(silence);
      clearTimeout(reopen);
      source?.close();
      source = null;
    };
    const end = () => { over = true; close(); stopPolling(); };

    root.addEventListener("htmx:config:request", (event) => {
      // A digest of what there is: the server makes the part once for all who were told the same.
      const state = root.dataset.liveState || "";
      if (/^[0-9a-f]{16}$/.test(state)) event.detail.ctx.request.headers["Live-State"] = state;
    });
    root.addEventListener("htmx:after:request", (event) => {
      const { response, text, sourceElement } = event.detail.ctx;
      // Gone, or not ours to see any more: nothing will change that but a person.
      if ([403, 404, 410].includes(response.status)) { end(); root.dataset.liveMode = "off"; return; }
      const same = response.status === 200 && seen.get(sourceElement) === text;
      slower = response.status === 200 && !same ? 1 : Math.min(slower * 1.5, SLOWEST);
      seen.set(sourceElement, text);
    });

    let first = true;
    function open() {
      if (over || source || document.hidden) return;
      if (!root.dataset.live || !window.EventSource) { startPolling(); return; }
      source = new EventSource(root.dataset.live);
      // A proxy that gathers the stream opens it and then says nothing: do not wait for that for ever.
      silence = setTimeout(startPolling, SILENCE);
      source.onmessage = (event) => {
        clearTimeout(silence);
        stopPolling();
        root.dataset.liveMode = "stream";
        let state = "";
        try { state = JSON.parse(event.data).state || ""; } catch { /* only a nudge */ }
        // The first message tells what the page was just made from.
        if (!first || root.dataset.liveState !== state) refresh();
        first = false;
        root.dataset.liveState = state;
        if (until.includes(state)) end();
      };
      source.addEventListener("done", () => { end(); refresh(); });
      source.onerror = () => {
        startPolling();
        // The browser tries again by itself, unless the server refused: then the parts are asked why, at once.
        if (source?.readyState !== EventSource.CLOSED) return;
        refresh();
        close();
        reopen = setTimeout(open, AGAIN);
      };
    }

    document.addEventListener("visibilitychange", () => {
      if (document.hidden) { close(); stopPolling(); return; }
      if (over && !missed) return;
      missed = false;
      refresh();
      open();
    });
    window.addEventListener("pagehide", close);
    window.addEventListener("pageshow", (event) => { if (event.persisted) { refresh(); open(); } });
    if ("liveNow" in root.dataset) refresh();
    if (document.hidden) missed = true;
    open();
  }

  document.addEventListener("DOMContentLoaded", () => document.querySelectorAll("[data-live]").forEach(begin));
})();
