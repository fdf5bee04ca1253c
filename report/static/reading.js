// What a page of plain HTML and CSS cannot: where the reader is, what is linked to, a view that can be sent.
const every = (selector, within = document) => [...within.querySelectorAll(selector)];
const element = (name, properties = {}, ...children) => {
  const made = Object.assign(document.createElement(name), properties);
  made.append(...children);
  return made;
};
document.documentElement.classList.add("js");

// Colours: the choice is kept, where the browser lets a file keep anything.
const kept = (value) => {
  try { return value === undefined ? localStorage.getItem("fgbench-scheme") : localStorage.setItem("fgbench-scheme", value); }
  catch { return null; }
};
for (const choice of every('[name="scheme"]')) {
  choice.checked = choice.value === (kept() ?? "");
  choice.addEventListener("change", () => kept(choice.value));
}

// Contents: the section that is read is marked, its figures are listed; narrow screens fold the list away.
const contents = document.querySelector("nav > details");
const narrow = matchMedia("(max-width: 75rem)");
const fold = () => { contents.open = !narrow.matches; };
narrow.addEventListener("change", fold);
fold();
const links = new Map(every("nav .sections > li > a").map((link) => [link.hash.slice(1), link]));
const mark = () => {
  const line = innerHeight / 3;
  const sections = every("section[id]").filter((one) => links.has(one.id));
  const read = sections.findLast((one) => one.getBoundingClientRect().top <= line) ?? sections[0];
  for (const [id, link] of links) {
    const here = id === read.id;
    if (here === link.hasAttribute("aria-current")) continue;
    link.toggleAttribute("aria-current", here);
    if (here) link.setAttribute("aria-current", "true");
    const figures = link.parentElement.querySelector("details");
    if (figures) figures.open = here && !narrow.matches;
    if (here) document.getElementById("here").textContent = link.textContent;
  }
};
let waiting = false;
addEventListener("scroll", () => {
  if (waiting) return;
  waiting = true;
  requestAnimationFrame(() => { waiting = false; mark(); });
}, { passive: true });
mark();
every("nav a").forEach((link) => link.addEventListener("click", () => { if (narrow.matches) contents.open = false; }));

// The address keeps the view: after a "?" in its hash stands each switch that is not as it was.
const switches = every("input").filter((one) => one.name !== "scheme");
const called = (one) => `${one.name}:${one.value}`;
const decoded = (text) => { try { return decodeURIComponent(text); } catch { return text; } };
const place = () => location.hash.slice(1).split("?")[0];
const remember = () => {
  const moved = switches.filter((one) => one.checked !== one.defaultChecked && (one.type === "checkbox" || one.checked));
  const view = moved.map((one) => encodeURIComponent(called(one))).join("&");
  history.replaceState(null, "", view || place() ? `#${place()}${view && `?${view}`}` : location.pathname);
};
const restore = () => {
  const view = new Set((location.hash.split("?")[1] ?? "").split("&").map(decoded));
  for (const one of switches) one.checked = one.defaultChecked;
  for (const one of switches) if (view.has(called(one))) one.checked = !one.defaultChecked;
};
restore();
addEventListener("change", remember);
addEventListener("reset", () => setTimeout(remember));

// A legend's entry hides its method everywhere, as the box in the contents does.
const boxes = new Map(every('[name="method"]').map((box) => [box.nextElementSibling.textContent, box]));
for (const entry of every(".legend [data-method]")) {
  const box = boxes.get(entry.dataset.method);
  if (!box) continue;
  const button = element("button", { type: "button", title: "Hide it in all figures and tables" }, entry.lastChild);
  button.addEventListener("click", () => box.click());
  entry.append(button);
}

// Contents are searched by the words of their titles; what is found stands open.
const list = document.querySelector("nav .sections");
const sought = element("input", { type: "search", placeholder: "Section or figure", ariaLabel: "Search the contents" });
const seek = () => {
  const words = sought.value.toLowerCase().split(/\s+/).filter(Boolean);
  const has = (link) => words.every((word) => link.textContent.toLowerCase().includes(word));
  for (const item of list.children) {
    const figures = every("li", item);
    const own = has(item.firstElementChild);
    figures.forEach((one) => { one.hidden = !own && !has(one); });
    item.hidden = !own && figures.every((one) => one.hidden);
    const inner = item.querySelector("details");
    if (inner && words.length) inner.open = !own || figures.some(has);
  }
};
sought.addEventListener("input", seek);
sought.addEventListener("keydown", ({ key }) => {
  if (key === "Escape") { sought.value = ""; seek(); }
  if (key === "Enter") every("a", list).find((link) => link.checkVisibility() && sought.value && !link.closest("[hidden]"))?.click();
});
list.before(sought);

// Whatever is linked to is shown: details around it open, and the page moves there.
const reveal = (behavior = "auto") => {
  const target = document.getElementById(decoded(place()));
  for (let one = target; one; one = one.parentElement) if (one.tagName === "DETAILS") one.open = true;
  target?.scrollIntoView({ behavior });
};
addEventListener("hashchange", () => {
  if (location.hash.includes("?")) restore(); else remember();
  reveal();
});
if (place()) addEventListener("load", () => reveal("instant"));
