// Runs before the first paint, so that a chosen theme never flashes the other one. A classic script for that reason.
try {
  document.documentElement.dataset.theme = localStorage.getItem("parley.theme") ?? "auto";
} catch {
  document.documentElement.dataset.theme = "auto";
}
