// Files: a table's numbers in full, the rows that a figure draws, either as a picture.
const quoted = (one) => /[",\n\r]/.test(one) ? `"${one.replaceAll('"', '""')}"` : one;
const csv = (rows) => rows.map((row) => row.map((one) => quoted(String(one ?? ""))).join(",")).join("\n") + "\n";
const told = (one) => one.innerText.trim().replaceAll(/\s+/g, " ");
const shown = (one) => getComputedStyle(one).display !== "none";
const cells = (table) => {
  const rows = every("tr", table).filter(shown);
  const titles = [...table.tHead.rows[0].cells].filter(shown).map((one) => told(one));
  const found = rows.filter((row) => !table.tHead.contains(row)).map((row) => [...row.cells].filter(shown));
  const ranged = titles.map((_, place) => found.some((row) => row[place]?.dataset.low !== undefined));
  const spread = (one, place) => [
    one ? one.dataset.value ?? told(one) : "",
    ...(ranged[place] ? [one?.dataset.low, one?.dataset.high] : []),
  ];
  const heads = titles.flatMap((title, place) => ranged[place] ? [title, `${title}: low`, `${title}: high`] : [title]);
  return [heads, ...found.map((row) => titles.flatMap((_, place) => spread(row[place], place)))];
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
const saved = (blob, name) => {
  const link = element("a", { href: URL.createObjectURL(blob), download: name });
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
const copy = (what, text) => {
  const button = pressed("Copy", `Copy ${what}`, async () => {
    await navigator.clipboard.writeText(text());
    button.textContent = "Copied";
    setTimeout(() => { button.textContent = "Copy"; }, 2000);
  });
  return button;
};
const offers = (what, name, tables, root) => {
  const asked = {
    CSV: async () => {
      for (const [place, rows] of (await tables()).entries())
        saved(new Blob([csv(rows)], { type: "text/csv" }), `${name}${place ? `-${place + 1}` : ""}.csv`);
    },
    SVG: async () => saved(new Blob([picture(root()).text], { type: "image/svg+xml" }), `${name}.svg`),
    PNG: async () => saved(await png(picture(root())), `${name}.png`),
  };
  const kinds = Object.entries(asked).filter(([kind]) => kind !== "CSV" || tables);
  return element("span", { className: "offers" }, ...kinds.map(([kind, save]) => pressed(kind, `${kind}: save ${what}`, save)));
};
for (const figure of every("figure")) {
  const note = figure.querySelector(":scope > .drawn") ?? figure.appendChild(element("p", { className: "drawn" }));
  const sources = JSON.parse(note.dataset.sources ?? "[]");
  const number = figure.querySelector("figcaption strong")?.textContent.replace(".", "") ?? "the figure";
  const table = (figure.closest("article") ?? figure).querySelector("table");
  const data = sources.length ? () => Promise.all(sources.map(rowsOf)) : table && (async () => [cells(table)]);
  note.append(offers(number, named(`${number} ${document.title}`), data, () => figure.querySelector(".picture")));
}
for (const table of every("main table, header table")) {
  const caption = table.caption.textContent.trim();
  const what = `the table ${caption.slice(0, 60)}`;
  const bar = element("p", { className: "drawn" }, offers(what, named(caption), async () => [cells(table)], () => table));
  bar.firstChild.append(copy(what, () => cells(table).map((row) => row.join("\t")).join("\n")));
  (table.closest(".scroll") ?? table).after(bar);
  if (table.classList.contains("data")) sortable(table);
}
for (const block of every("pre")) {
  const bar = element("p", { className: "drawn" }, element("span", { className: "offers" }, copy("these lines", () => block.textContent.trim())));
  block.after(bar);
}
