// Several files, each in parts (tus 1.0.0): with progress, pause and resume, also after a broken line or a reload.
// Without scripts the form is sent as it is.
(() => {
  const form = document.querySelector("form[data-upload]");
  if (!form) return;
  const words = JSON.parse(form.dataset.words);
  const input = form.querySelector("input[type=file]");
  const zone = form.querySelector(".drop");
  const queue = form.querySelector("[data-upload-queue]");
  const pattern = form.querySelector("template");
  const button = form.querySelector("button[type=submit]");
  const problem = form.querySelector("[data-upload-problem]");
  const spoken = form.querySelector("[data-upload-spoken]");
  const organisation = form.querySelector("[name=organisation]").value;
  const limit = Number(form.dataset.limit);
  const part = Number(form.dataset.part);
  const TUS = {
    "Tus-Resumable": "1.0.0", "X-CSRFToken": form.querySelector("[name=csrfmiddlewaretoken]").value, Accept: "application/json",
    // Refusals are shown on the page, so they are asked for in its language, and not in that of the browser.
    "Accept-Language": document.documentElement.lang,
  };
  const MEMORY = "breakwater.upload:";
  // Milliseconds: the window of the rate; silence after which a line is taken for dead; the same while the file is stored.
  const WINDOW = 5000;
  const SILENCE = 30000;
  const STORING = 300000;
  const TRIES = 12;
  const KEPT = 3 * 86400000;
  const jobs = [];

  const fill = (text, values) => text.replace(/\{(\w+)\}/g, (_, name) => values[name]);
  const size = (bytes) => {
    const units = ["B", "KiB", "MiB", "GiB"];
    let step = 0;
    while (bytes >= 1024 && step < units.length - 1) { bytes /= 1024; step += 1; }
    return `${bytes.toFixed(step && bytes < 100 ? 1 : 0)} ${units[step]}`;
  };
  const clock = (seconds) => {
    const two = (number) => String(number).padStart(2, "0");
    const whole = Math.max(1, Math.round(seconds));
    const minutes = Math.floor(whole / 60);
    return minutes < 60 ? `${minutes}:${two(whole % 60)}` : `${Math.floor(minutes / 60)}:${two(minutes % 60)}:${two(whole % 60)}`;
  };
  const complain = (text) => {
    problem.textContent = text;
    problem.hidden = !text;
    if (text) problem.focus();
  };
  const announce = (text) => { spoken.textContent = text; };

  // What was begun, by what a file looks like: a page cannot keep the file itself.
  const memory = {
    name: (file) => MEMORY + JSON.stringify([organisation, file.name, file.size, file.lastModified]),
    get(file) {
      try { return JSON.parse(localStorage.getItem(this.name(file)) || "null")?.url || ""; } catch { return ""; }
    },
    set(file, url) {
      try { localStorage.setItem(this.name(file), JSON.stringify({ url, at: Date.now() })); } catch { /* only memory */ }
    },
    drop(file) {
      try { localStorage.removeItem(this.name(file)); } catch { /* only memory */ }
    },
    tidy() {
      try {
        Object.keys(localStorage).filter((name) => name.startsWith(MEMORY)).forEach((name) => {
          const { at } = JSON.parse(localStorage.getItem(name) || "{}");
          if (!(at > Date.now() - KEPT)) localStorage.removeItem(name);
        });
      } catch { /* only memory */ }
    },
  };

  /** A refusal that trying again does not change. */
  class Refusal extends Error {
    constructor(text, facts = {}) { super(text); this.facts = facts; }
  }

  const refusal = (status, text) => {
    let told = {};
    try { told = JSON.parse(text); } catch { /* told below */ }
    return new Refusal(told.detail || fill(words.answered, { status }), told);
  };
  const passing = (status) => status === 0 || status === 423 || status === 429 || status >= 500;
  const encoded = (text) => btoa(String.fromCharCode(...new TextEncoder().encode(text)));

  class Job {
    constructor(file) {
      this.file = file;
      this.state = "ready";
      this.url = memory.get(file);
      this.offset = 0;
      this.shown = 0;
      this.samples = [];
      this.quarter = 0;
      this.row = pattern.content.firstElementChild.cloneNode(true);
      const at = (name) => this.row.querySelector(`[data-${name}]`);
      [this.bar, this.note, this.pauseButton, this.resumeButton, this.cancelButton, this.link] =
        ["bar", "note", "pause", "resume", "cancel", "link"].map(at);
      at("name").textContent = `${file.name} · ${size(file.size)}`;
      this.bar.setAttribute("aria-label", file.name);
      [[this.pauseButton, words.pause], [this.resumeButton, words.resume], [this.cancelButton, words.cancel]].forEach(
        ([each, word]) => each.setAttribute("aria-label", `${word}: ${file.name}`));
      this.pauseButton.addEventListener("click", () => this.pause());
      this.resumeButton.addEventListener("click", () => this.resume());
      this.cancelButton.addEventListener("click", () => this.cancel());
      queue.append(this.row);
      // It is no longer one of those that wait for their file to be chosen.
      if (this.url) document.querySelector(`[data-begun="${this.url}"]`)?.remove();
      this.show(this.url ? words.known : words.ready);
    }

    show(text, bad = false) {
      const over = this.state === "done" || this.state === "failed";
      this.row.dataset.state = this.state;
      this.note.textContent = text;
      this.note.classList.toggle("text-bad", bad);
      this.note.classList.toggle("text-secondary", !bad);
      this.bar.hidden = this.state === "ready" || this.state === "failed";
      this.bar.value = this.state === "done" ? 1 : this.shown / this.file.size;
      const hides = (each, hidden, next) => {
        const focused = document.activeElement === each;
        each.hidden = hidden;
        if (hidden && focused) next().focus();
      };
      this.resumeButton.hidden = !["paused", "broken"].includes(this.state);
      hides(this.pauseButton, !["sending", "waiting", "retrying"].includes(this.state), () => (this.resumeButton.hidden ? this.cancelButton : this.resumeButton));
      if (this.resumed && !this.pauseButton.hidden) this.pauseButton.focus();
      this.resumed = false;
      hides(this.cancelButton, over && this.state === "done", () => (this.link.hidden ? button : this.link));
      settleButton();
    }

    say(text) { announce(`${this.file.name}: ${text}`); }

    progress(sent) {
      const now = performance.now();
      this.heard = now;
      this.shown = sent;
      this.samples.push([now, sent]);
      while (this.samples.length > 2 && this.samples[0][0] < now - WINDOW) this.samples.shift();
      const [then, before] = this.samples[0];
      const rate = now - then > 500 ? (1000 * (sent - before)) / (now - then) : 0;
      let text = fill(words.of, { sent: size(sent), size: size(this.file.size) });
      if (rate > 0) text += ` · ${size(rate)}/s · ${fill(words.left, { time: clock((this.file.size - sent) / rate) })}`;
      this.show(sent < this.file.size ? text : words.storing);
      const quarter = Math.floor((4 * sent) / this.file.size);
      if (quarter > this.quarter && quarter < 4) this.say(`${25 * quarter} %`);
      this.quarter = Math.max(this.quarter, quarter);
    }

    async run() {
      this.state = "sending";
      this.tries = 0;
      this.samples = [];
      this.show(words.beginning);
      this.say(words.beginning);
      // Whoever is paused or cancelled in the meantime is another run, or none.
      const run = (this.turn = {});
      while (this.turn === run) {
        try {
          if (await this.step(run)) return;
        } catch (error) {
          if (this.turn !== run) return;
          if (error instanceof Refusal) { this.fail(error); return; }
          await this.patience(run);
        }
      }
    }

    /** Ask where it goes on when that is not known, send one part; true when there is nothing more to do. */
    async step(run) {
      if (!this.sure) await this.find();
      if (this.turn !== run) return true;
      if (this.package) { this.finish(this.package); return true; }
      const { status, text, header } = await this.send();
      if (this.turn !== run) return true;
      if (status === 204) {
        this.tries = 0;
        this.offset = Number(header("Upload-Offset"));
        if (header("Breakwater-Package")) { this.finish(header("Breakwater-Package")); return true; }
        return false;
      }
      this.sure = false;
      if (status === 404) { this.url = ""; throw new Error("gone"); }
      const told = refusal(status, text);
      // Another offset than we thought: the next step asks for it.
      if (passing(status) || (status === 409 && "offset" in told.facts && !told.facts.package)) throw new Error("later");
      throw told;
    }

    /** Make sure that there is an upload, and where it goes on. */
    async find() {
      if (this.url) {
        const answer = await fetch(this.url, { headers: TUS });
        if (answer.ok) {
          const told = await answer.json();
          if (!told.problem) {
            this.offset = told.offset;
            this.package = told.package;
            this.sure = true;
            this.progress(this.offset);
            return;
          }
        } else if (answer.status !== 404) {
          if (passing(answer.status)) throw new Error("later");
          throw refusal(answer.status, await answer.text());
        }
        memory.drop(this.file);
      }
      const said = { filename: this.file.name, organisation };
      const answer = await fetch(form.dataset.upload, {
        method: "POST",
        headers: {
          ...TUS,
          "Upload-Length": String(this.file.size),
          "Upload-Metadata": Object.entries(said).map(([name, value]) => `${name} ${encoded(value)}`).join(","),
        },
      });
      if (!answer.ok) {
        if (passing(answer.status)) throw new Error("later");
        throw refusal(answer.status, await answer.text());
      }
      this.url = answer.headers.get("Location");
      this.offset = 0;
      this.sure = true;
      memory.set(this.file, this.url);
    }

    send() {
      const request = new XMLHttpRequest();
      const from = this.offset;
      this.request = request;
      this.heard = performance.now();
      request.open("PATCH", this.url);
      Object.entries({ ...TUS, "Upload-Offset": String(from), "Content-Type": "application/offset+octet-stream" })
        .forEach(([name, value]) => request.setRequestHeader(name, value));
      request.upload.addEventListener("progress", (step) => { if (this.request === request) this.progress(from + step.loaded); });
      const watch = setInterval(() => {
        const bears = this.shown < this.file.size ? SILENCE : STORING;
        if (performance.now() - this.heard > bears) request.abort();
      }, 1000);
      return new Promise((answered) => {
        request.addEventListener("loadend", () => {
          clearInterval(watch);
          answered({ status: request.status, text: request.responseText, header: (name) => request.getResponseHeader(name) });
        });
        request.send(this.file.slice(from, from + part));
      });
    }

    /** Wait longer each time, and not at all when the browser says that the line is back. */
    async patience(run) {
      this.sure = false;
      this.tries += 1;
      if (this.tries > TRIES) {
        this.turn = null;
        this.state = "broken";
        this.show(words.broken, true);
        this.say(words.broken);
        next();
        return;
      }
      this.state = "retrying";
      this.show(navigator.onLine ? words.retrying : words.offline);
      if (this.tries === 1) this.say(navigator.onLine ? words.retrying : words.offline);
      await new Promise((over) => {
        const done = () => { removeEventListener("online", done); over(); };
        setTimeout(done, Math.min(30000, 500 * 2 ** this.tries) * (0.75 + Math.random() / 2));
        addEventListener("online", done);
      });
      if (this.turn === run) this.state = "sending";
    }

    stop() {
      this.turn = null;
      this.sure = false;
      this.request?.abort();
      this.request = null;
    }

    pause() {
      this.stop();
      this.state = "paused";
      this.show(fill(words.paused, { sent: size(this.shown), size: size(this.file.size) }));
      this.say(words.pausedShort);
      next();
    }

    resume() {
      this.state = "waiting";
      this.resumed = true;
      this.resumeButton.hidden = true;
      this.show(words.waiting);
      next();
    }

    cancel() {
      this.stop();
      if (this.url && this.state !== "failed") {
        fetch(this.url, { method: "DELETE", headers: TUS }).catch(() => { /* it ends by itself after a while */ });
      }
      memory.drop(this.file);
      jobs.splice(jobs.indexOf(this), 1);
      this.row.remove();
      announce(fill(words.cancelled, { name: this.file.name }));
      input.focus();
      settleButton();
      next();
    }

    finish(pk) {
      this.turn = null;
      this.state = "done";
      memory.drop(this.file);
      this.lead(pk);
      this.show(words.done);
      this.say(words.done);
      if (jobs.length === 1) location.assign(this.link.href);
      else next();
    }

    fail(error) {
      this.turn = null;
      this.state = "failed";
      memory.drop(this.file);
      if (error.facts.package) this.lead(error.facts.package);
      this.show(error.message, true);
      this.say(error.message);
      next();
    }

    lead(pk) {
      this.link.href = form.dataset.after.replace("00000000-0000-0000-0000-000000000000", pk);
      this.link.hidden = false;
    }
  }

  function settleButton() {
    button.disabled = !jobs.some((job) => job.state === "ready");
  }

  /** One file at a time: the line is the narrow place, and so the first one is done soonest. */
  function next() {
    if (jobs.some((job) => ["sending", "retrying"].includes(job.state))) return;
    jobs.find((job) => job.state === "waiting")?.run();
  }

  function add(files) {
    complain("");
    const refused = [];
    for (const file of files) {
      if (jobs.some((job) => memory.name(job.file) === memory.name(file) && job.state !== "failed")) continue;
      if (!file.size) refused.push(fill(words.empty, { name: file.name }));
      else if (limit && file.size > limit) refused.push(fill(words.large, { name: file.name, size: size(file.size), limit: size(limit) }));
      else jobs.push(new Job(file));
    }
    if (refused.length) complain(refused.join(" "));
    settleButton();
  }

  memory.tidy();
  input.multiple = true;
  input.required = false;
  button.disabled = true;
  input.addEventListener("change", () => { add([...input.files]); input.value = ""; });
  for (const kind of ["dragenter", "dragover"]) {
    zone.addEventListener(kind, (event) => { event.preventDefault(); zone.classList.add("over"); });
  }
  for (const kind of ["dragleave", "drop"]) zone.addEventListener(kind, () => zone.classList.remove("over"));
  zone.addEventListener("drop", (event) => { event.preventDefault(); add([...event.dataTransfer.files]); });
  // A file that misses the zone would replace the page, and end what is under way.
  for (const kind of ["dragover", "drop"]) addEventListener(kind, (event) => event.preventDefault());

  form.addEventListener("submit", (event) => {
    event.preventDefault();
    event.stopPropagation();
    complain("");
    jobs.filter((job) => job.state === "ready").forEach((job) => { job.state = "waiting"; job.show(words.waiting); });
    next();
  }, true);
})();
