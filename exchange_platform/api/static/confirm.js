// Moves the code from behind the # into the form and out of the address bar. It never presses the button.
"use strict";
const code = location.hash.slice(1);
if (/^[0-9a-f]{32}\.[A-Za-z0-9_-]{43}$/.test(code)) {
  document.getElementById("code").value = code;
  document.getElementById("confirm").classList.add("filled");
}
if (location.hash) {
  history.replaceState(null, "", location.pathname);
}
// A second press while the first is on its way would only be told that the code is used.
document.getElementById("confirm").addEventListener("submit", (event) => {
  event.submitter?.setAttribute("aria-busy", "true");
  setTimeout(() => event.submitter?.setAttribute("disabled", ""));
});
addEventListener("pageshow", () => {
  const button = document.querySelector("#confirm button");
  button.removeAttribute("disabled");
  button.removeAttribute("aria-busy");
});
