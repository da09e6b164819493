// Live parts: an event stream says that something changed, then htmx fetches each part anew.
//   <div data-live="/api/v1/…/stream" data-live-until="removed">  the stream, and the states after which nothing comes
//     <section hx-get="…" hx-trigger="live" hx-swap="outerMorph">  a part
// Where no stream gets through, the parts are fetched every few seconds instead.
(() => {
  const GATHER = 250;
  const POLL = 3000;

  function begin(root) {
    let timer = null;
    let poll = null;
    let silence = null;
    const until = (root.dataset.liveUntil || "").split(" ").filter(Boolean);
    const parts = () => root.querySelectorAll("[hx-trigger~='live']");
    const refresh = () => {
      clearTimeout(timer);
      timer = setTimeout(() => {
        if (!document.hidden) parts().forEach((part) => window.htmx.trigger(part, "live"));
      }, GATHER);
    };
    const startPolling = () => {
      root.dataset.liveMode = "poll";
      if (!poll) poll = setInterval(refresh, Number(root.dataset.livePoll || POLL));
    };
    const stopPolling = () => { clearInterval(poll); poll = null; };
    document.addEventListener("visibilitychange", () => { if (!document.hidden) refresh(); });

    if ("liveNow" in root.dataset) refresh();
    if (!root.dataset.live || !window.EventSource) { startPolling(); return; }
    const source = new EventSource(root.dataset.live);
    // A proxy that gathers the stream opens it and then says nothing: do not wait for that for ever.
    silence = setTimeout(startPolling, 4000);
    let first = true;
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
      if (until.includes(state)) source.close();
    };
    source.addEventListener("done", () => { source.close(); clearTimeout(silence); refresh(); });
    // The browser may try again by itself for ever; the page looks by itself until a message comes.
    source.onerror = startPolling;
    window.addEventListener("pagehide", () => source.close());
  }

  document.addEventListener("DOMContentLoaded", () => document.querySelectorAll("[data-live]").forEach(begin));
})();
