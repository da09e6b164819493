// Passkeys: ask the authenticator, put its answer into the form, send the form. The server decides everything.
(() => {
  const bytes = (text) => {
    const plain = atob(text.replace(/-/g, "+").replace(/_/g, "/"));
    return Uint8Array.from(plain, (letter) => letter.charCodeAt(0)).buffer;
  };
  const text = (buffer) => {
    let plain = "";
    for (const byte of new Uint8Array(buffer)) plain += String.fromCharCode(byte);
    return btoa(plain).replace(/\+/g, "-").replace(/\//g, "_").replace(/=+$/, "");
  };

  /** JSON has no bytes: the members that are bytes come and go as base64url (WebAuthn level 3, 5.1.8). */
  function asked(options) {
    const ready = { ...options, challenge: bytes(options.challenge) };
    if (ready.user) ready.user = { ...ready.user, id: bytes(ready.user.id) };
    for (const list of ["excludeCredentials", "allowCredentials"]) {
      if (ready[list]) ready[list] = ready[list].map((each) => ({ ...each, id: bytes(each.id) }));
    }
    return ready;
  }
  function said(credential) {
    const response = {};
    for (const name of ["clientDataJSON", "attestationObject", "authenticatorData", "signature", "userHandle"]) {
      if (credential.response[name]) response[name] = text(credential.response[name]);
    }
    return JSON.stringify({
      id: credential.id, rawId: text(credential.rawId), type: credential.type, response,
      authenticatorAttachment: credential.authenticatorAttachment, clientExtensionResults: {},
    });
  }

  async function question(form) {
    if (form.dataset.options) return JSON.parse(form.dataset.options);
    const token = form.querySelector("[name=csrfmiddlewaretoken]").value;
    const headers = { "X-CSRFToken": token, "Accept-Language": document.documentElement.lang };
    const answer = await fetch(form.dataset.question, { method: "POST", headers });
    const body = await answer.json();
    if (!answer.ok) throw new Error(body.detail);
    return body;
  }

  async function ask(form) {
    const publicKey = asked(await question(form));
    const credential = form.dataset.passkey === "create"
      ? await navigator.credentials.create({ publicKey })
      : await navigator.credentials.get({ publicKey });
    form.querySelector("[name=answer]").value = said(credential);
    form.submit();
  }

  for (const form of document.querySelectorAll("form[data-passkey]")) {
    const problem = form.querySelector("[data-problem]");
    if (!window.PublicKeyCredential) {
      if (form.dataset.passkey === "create") {
        problem.textContent = "This browser has no passkeys, or the page is not reached by https.";
        problem.hidden = false;
      }
      continue;
    }
    form.hidden = false;
    form.addEventListener("submit", (event) => {
      event.preventDefault();
      problem.hidden = true;
      ask(form).catch((error) => {
        problem.textContent = error.name === "NotAllowedError"
          ? "Nothing was chosen, or it took too long. Try again."
          : error.name === "InvalidStateError"
            ? "This device has a passkey for this account already."
            : error.message || "The passkey could not be used.";
        problem.hidden = false;
      });
    });
  }
})();
