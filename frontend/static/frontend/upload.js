// Drag and drop with progress; without scripts the form is sent as it is.
(() => {
  const form = document.querySelector("form[data-upload]");
  if (!form) return;
  const input = form.querySelector("input[type=file]");
  const zone = form.querySelector(".drop");
  const name = form.querySelector("[data-upload-name]");
  const button = form.querySelector("button[type=submit]");
  const status = form.querySelector("[data-upload-status]");
  const bar = status.querySelector("progress");
  const note = status.querySelector("[data-upload-note]");
  const stop = status.querySelector("[data-upload-stop]");
  const problem = form.querySelector("[data-upload-problem]");
  const limit = Number(form.dataset.limit);

  const size = (bytes) => {
    const units = ["B", "KiB", "MiB", "GiB"];
    let step = 0;
    while (bytes >= 1024 && step < units.length - 1) { bytes /= 1024; step += 1; }
    return `${bytes.toFixed(step && bytes < 100 ? 1 : 0)} ${units[step]}`;
  };
  const complain = (text) => {
    problem.textContent = text;
    problem.hidden = !text;
    if (text) problem.focus();
  };

  input.addEventListener("change", () => {
    const file = input.files[0];
    name.textContent = file ? `${file.name} · ${size(file.size)}` : name.dataset.empty;
    button.disabled = !file;
    complain(file && limit && file.size > limit ? `This file has ${size(file.size)}; the store takes up to ${size(limit)}.` : "");
  });
  for (const kind of ["dragenter", "dragover"]) {
    zone.addEventListener(kind, (event) => { event.preventDefault(); zone.classList.add("over"); });
  }
  for (const kind of ["dragleave", "drop"]) zone.addEventListener(kind, () => zone.classList.remove("over"));
  zone.addEventListener("drop", (event) => {
    event.preventDefault();
    if (event.dataTransfer.files.length !== 1) { complain("Drop one file at a time."); return; }
    input.files = event.dataTransfer.files;
    input.dispatchEvent(new Event("change"));
  });

  form.addEventListener("submit", (event) => {
    event.preventDefault();
    event.stopPropagation();
    const file = input.files[0];
    if (!file) { complain("Choose a file first."); return; }
    complain("");
    const query = new URLSearchParams({ filename: file.name });
    const organisation = form.querySelector("[name=organisation]");
    if (organisation) query.set("organisation", organisation.value);
    const request = new XMLHttpRequest();
    request.open("POST", `${form.dataset.upload}?${query}`);
    request.setRequestHeader("X-CSRFToken", form.querySelector("[name=csrfmiddlewaretoken]").value);
    request.setRequestHeader("Content-Type", "application/octet-stream");
    request.setRequestHeader("Accept", "application/json");
    const begun = performance.now();
    request.upload.addEventListener("progress", (step) => {
      const seconds = (performance.now() - begun) / 1000;
      bar.value = step.lengthComputable ? step.loaded / step.total : 0;
      note.textContent = step.loaded < step.total
        ? `${size(step.loaded)} of ${size(step.total)}${seconds > 1 ? `, ${size(step.loaded / seconds)}/s` : ""}`
        : "Storing and reading the package …";
    });
    const over = (text) => {
      status.hidden = true;
      button.disabled = false;
      input.disabled = false;
      if (text) complain(text);
    };
    request.addEventListener("load", () => {
      let answer = {};
      try { answer = JSON.parse(request.responseText); } catch { /* told below */ }
      if (request.status === 201 && answer.id) {
        location.assign(form.dataset.after.replace("00000000-0000-0000-0000-000000000000", answer.id));
        return;
      }
      over(answer.detail || `The server answered with ${request.status}. Try again; if it stays so, tell the administrator.`);
    });
    request.addEventListener("error", () => over("The connection broke. Nothing was stored; try again."));
    request.addEventListener("abort", () => over("Stopped. Nothing was stored."));
    stop.onclick = () => request.abort();
    status.hidden = false;
    button.disabled = true;
    input.disabled = true;
    request.send(file);
  }, true);
})();
