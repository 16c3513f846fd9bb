// Before anything is painted: the colours that the user chose, else those of the system.
try {
  const chosen = localStorage.getItem("blazen.theme");
  if (chosen === "light" || chosen === "dark") document.documentElement.dataset.theme = chosen;
} catch {
  // The browser forbids storage: those of the system.
}
