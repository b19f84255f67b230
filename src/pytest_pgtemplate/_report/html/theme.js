// Light and dark, as the browser prefers, or as the button says.

const theme = get("theme");
function setTheme(dark) {
  document.documentElement.classList.toggle("dark", dark);
  theme.textContent = dark ? "Light" : "Dark";
  theme.setAttribute("aria-pressed", String(dark));
  if (view) drawTimeline();
}
const preferred = matchMedia("(prefers-color-scheme: dark)");
setTheme(preferred.matches);
preferred.addEventListener("change", () => setTheme(preferred.matches));
theme.addEventListener("click", () => setTheme(!document.documentElement.classList.contains("dark")));
