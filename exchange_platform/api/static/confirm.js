// Moves the code from behind the # into the form and out of the address bar. It never presses the button.
"use strict";
const form = document.getElementById("confirm");

function take() {
  const code = location.hash.slice(1);
  if (/^[0-9a-f]{32}\.[A-Za-z0-9_-]{43}$/.test(code)) {
    document.getElementById("code").value = code;
    form.classList.add("filled");
  }
  if (location.hash || location.search) {
    history.replaceState(null, "", location.pathname);
  }
}

if (form) {
  const button = form.querySelector("button");
  take();
  addEventListener("hashchange", take);
  // A second press while the first is on its way would only be told that the code is used.
  form.addEventListener("submit", () => setTimeout(() => (button.disabled = true)));
  addEventListener("pageshow", () => (button.disabled = false));
} else {
  // The link was opened again over an answer: browsers only change what stands behind the #.
  addEventListener("hashchange", () => location.replace(`${location.pathname}?again${location.hash}`));
}
