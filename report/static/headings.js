// Headings: what one means is shown while the keyboard is on its button; a pointer is told by the browser, as without script.
const meaning = element("div", { className: "meaning", ariaHidden: "true" });
document.body.append(meaning);
const focused = () => document.activeElement?.closest("th[title]");
const explain = () => {
  const heading = focused();
  const isShown = Boolean(heading) && document.activeElement.matches(":focus-visible");
  meaning.classList.toggle("shown", isShown);
  if (!isShown) return;
  meaning.textContent = heading.title;
  const { left, top, bottom } = heading.getBoundingClientRect();
  const room = document.documentElement.clientWidth - meaning.offsetWidth - 8;
  const below = bottom + 6 + meaning.offsetHeight < innerHeight;
  meaning.style.left = `${Math.max(8, Math.min(left, room))}px`;
  meaning.style.top = `${below ? bottom + 6 : top - 6 - meaning.offsetHeight}px`;
};
addEventListener("focusin", explain);
addEventListener("focusout", () => meaning.classList.remove("shown"));
addEventListener("scroll", () => { if (meaning.classList.contains("shown")) explain(); }, { passive: true, capture: true });
addEventListener("keydown", (event) => { if (event.key === "Escape") meaning.classList.remove("shown"); });
