// Files: a table's numbers in full, the rows that a figure draws, either as a picture.
const quoted = (one) => /[",\n\r]/.test(one) ? `"${one.replaceAll('"', '""')}"` : one;
const csv = (rows) => rows.map((row) => row.map((one) => quoted(String(one ?? ""))).join(",")).join("\n") + "\n";
const told = (one) => one.innerText.trim().replaceAll(/\s+/g, " ");
const shown = (one) => getComputedStyle(one).display !== "none";
const present = (one) => !one || (shown(one) && present(one.parentElement));  // folded away is present, hidden is not
// What is closed is opened for a look, and closed before the reader could see it: there the browser lays out no text.
const unfolded = (one, look) => {
  const closed = every("details:not([open])").filter((details) => details.contains(one));
  closed.forEach((details) => { details.open = true; });
  try { return look(); } finally { closed.forEach((details) => { details.open = false; }); }
};
const content = (table) => unfolded(table, () => {
  const row = (one) => [...one.cells].filter(shown).map((cell) =>
    ({ ...cell.dataset, text: told(cell), span: cell.colSpan, isNumber: cell.classList.contains("number") }));
  return { caption: told(table.caption), heads: row(table.tHead.rows[0]), rows: every("tbody tr", table).filter(shown).map(row) };
});
const cells = (table) => {
  const { heads, rows } = content(table);
  const ranged = heads.map((_, place) => rows.some((row) => row[place]?.low !== undefined));
  const spread = (one, place) => [one?.value ?? one?.text ?? "", ...(ranged[place] ? [one?.low, one?.high] : [])];
  const titles = heads.flatMap(({ text }, place) => ranged[place] ? [text, `${text}: low`, `${text}: high`] : [text]);
  return [titles, ...rows.map((row) => heads.flatMap((_, place) => spread(row[place], place)))];
};
const unpacked = async (name) => {
  const bytes = Uint8Array.from(atob(document.querySelector(`template[data-table="${name}"]`).innerHTML), (one) => one.charCodeAt(0));
  const stream = new Blob([bytes]).stream().pipeThrough(new DecompressionStream("gzip"));
  return JSON.parse(await new Response(stream).text());
};
const rowsOf = async ({ table, where }) => {
  const { columns, values } = await unpacked(table);
  const rows = values[0].map((_, row) => values.map((column) => column[row]));
  const wanted = Object.entries(where).map(([name, one]) => [columns.indexOf(name), one]);
  return [columns, ...rows.filter((row) => wanted.every(([place, one]) => row[place] === one))];
};
const saved = (file) => {
  const link = element("a", { href: URL.createObjectURL(file), download: file.name });
  link.click();
  setTimeout(() => URL.revokeObjectURL(link.href), 10000);
};
const named = (one) => one.replaceAll(/[^\p{L}\p{N}]+/gu, "-").replaceAll(/^-|-$/g, "").slice(0, 60).toLowerCase();

const pressed = (text, label, act) => {
  const button = element("button", { type: "button" }, text);
  button.setAttribute("aria-label", label);
  button.addEventListener("click", act);
  return button;
};
const copy = (kind, label, text) => {
  const button = pressed(kind, label, async () => {
    await navigator.clipboard.writeText(text());
    button.textContent = "Copied";
    setTimeout(() => { button.textContent = kind; }, 2000);
  });
  return button;
};
// By kind, what makes the files of a figure or a table.
const makers = (name, tables, root) => {
  const draw = () => unfolded(root(), () => picture(root()));
  return {
    ...(tables && { CSV: async () => (await tables()).map((rows, place) =>
      new File([csv(rows)], `${name}${place ? `-${place + 1}` : ""}.csv`, { type: "text/csv" })) }),
    SVG: async () => [new File([draw().text], `${name}.svg`, { type: "image/svg+xml" })],
    PNG: async () => [new File([await png(draw())], `${name}.png`, { type: "image/png" })],
  };
};
const offers = (what, files) => element("span", { className: "offers" }, ...Object.entries(files).map(([kind, make]) =>
  pressed(kind, `${kind}: save ${what}`, async () => (await make()).forEach(saved))));
const figures = every("figure").map((figure) => {
  const note = figure.querySelector(":scope > .drawn") ?? figure.appendChild(element("p", { className: "drawn" }));
  const sources = JSON.parse(note.dataset.sources ?? "[]");
  const number = figure.querySelector("figcaption strong")?.textContent.replace(".", "") ?? "the figure";
  const table = (figure.closest("article") ?? figure).querySelector("table");
  const data = sources.length ? () => Promise.all(sources.map(rowsOf)) : table && (async () => [cells(table)]);
  const files = makers(named(`${number} ${document.title}`), data, () => figure.querySelector(".picture"));
  note.append(offers(number, files));
  return { figure, files };
});
for (const table of every("main table, header table")) {
  const caption = table.caption.textContent.trim();
  const what = `the table ${caption.slice(0, 60)}`;
  const bar = element("p", { className: "drawn" }, offers(what, makers(named(caption), async () => [cells(table)], () => table)));
  bar.firstChild.append(
    copy("Copy", `Copy ${what}`, () => cells(table).map((row) => row.join("\t")).join("\n")),
    copy("LaTeX", `LaTeX: copy ${what}`, () => latex(table)),
  );
  (table.closest(".scroll") ?? table).after(bar);
  if (table.classList.contains("data")) sortable(table);
}
for (const block of every("pre")) {
  const bar = element("p", { className: "drawn" }, element("span", { className: "offers" }, copy("Copy", "Copy these lines", () => block.textContent.trim())));
  block.after(bar);
}

// All figures in one file, each as its own buttons give it. Meanwhile the page can be read, but nothing in it switched.
const together = async (kind, report) => {
  const found = [], wanted = figures.filter(({ figure }) => present(figure));
  for (const [place, { files }] of wanted.entries()) {
    report(`${place + 1} of ${wanted.length}`);
    await new Promise((go) => setTimeout(go));
    found.push(...await files[kind](), ...await files.CSV?.() ?? []);
  }
  return zipped(found, "fgbench-figures.zip");
};
const gathered = (text, kind) => {
  const button = element("button", { type: "button" }, text);
  button.addEventListener("click", async () => {
    const held = every("fieldset, [type=reset], #all-figures button").filter((one) => !one.disabled);
    held.forEach((one) => { one.disabled = true; });
    try { saved(await together(kind, (progress) => { button.textContent = progress; })); }
    finally {
      held.forEach((one) => { one.disabled = false; });
      button.textContent = text;
      button.focus({ preventScroll: true });
    }
  });
  return button;
};
const all = document.getElementById("all-figures");
if (figures.length) all?.append(
  "Every figure as it is shown now, with its numbers as CSV, in one file:",
  element("span", { className: "offers" }, gathered("Save all figures", "SVG"), gathered("Save all as PNG", "PNG")),
);
