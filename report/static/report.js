// What a page of plain HTML and CSS cannot: where the reader is, order in tables, files to keep.
"use strict";
(() => {
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

  // Tables: a click on a heading sorts by it, by value where a cell has one, else by the number that its text begins with,
  // or by its text in a column of words; what holds no number stands last; a third click restores the order.
  const UNITS = { "µs": 1e-6, ms: 1e-3, kB: 1e3, MB: 1e6, GB: 1e9, million: 1e6, billion: 1e9, trillion: 1e12 };
  const POWERS = "⁰¹²³⁴⁵⁶⁷⁸⁹⁻";
  const begun = (text) => {
    const power = (_, times, digits) => `${times ?? 1}e${[...digits].map((one) => "0123456789-"[POWERS.indexOf(one)]).join("")}`;
    const plain = text.replaceAll("−", "-").replace(/(?:([\d.]+)·)?10([⁰¹²³⁴⁵⁶⁷⁸⁹⁻]+)/, power);
    const [, digits, unit] = /^[<>≤≥\s]*([+-]?[\d,]*\.?\d+(?:e-?\d+)?)(?:\s\[.*?\])?\s*(\p{L}+)?/u.exec(plain) ?? [];
    return digits === undefined ? NaN : Number(digits.replaceAll(",", "")) * (UNITS[unit] ?? 1);
  };
  const value = (cell, isNumber) => {
    if (cell.dataset.value === undefined) return isNumber ? begun(cell.textContent.trim()) : cell.textContent.trim();
    return { inf: Infinity, "-inf": -Infinity }[cell.dataset.value] ?? Number(cell.dataset.value);
  };
  const missing = (one) => Number.isNaN(one) || one === "" || one === "–";
  const compare = (a, b) => {
    if (missing(a) || missing(b)) return 0;
    return typeof a === "number" && typeof b === "number" ? a - b : String(a).localeCompare(String(b), undefined, { numeric: true });
  };
  const sortable = (table) => {
    const [body] = table.tBodies;
    if (table.tBodies.length !== 1 || body.rows.length < 2) return;
    const original = [...body.rows];
    const headings = [...table.tHead.rows[0].cells];
    headings.forEach((heading, place) => {
      const button = element("button", { type: "button" }, ...heading.childNodes);
      heading.append(button);
      button.addEventListener("click", () => {
        const order = { none: "ascending", ascending: "descending", descending: "none" }[heading.ariaSort ?? "none"];
        headings.forEach((other) => other.removeAttribute("aria-sort"));
        if (order !== "none") heading.setAttribute("aria-sort", order);
        const key = (row) => value(row.cells[place], heading.classList.contains("number"));
        const sign = order === "descending" ? -1 : 1;
        const rows = order === "none" ? original : original.toSorted((a, b) =>
          missing(key(a)) - missing(key(b)) || sign * compare(key(a), key(b)));
        body.append(...rows);
      });
    });
  };

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

  // A picture is put together from what the browser has laid out: lines of text, drawings, images, grounds and rules.
  const SVG = "http://www.w3.org/2000/svg";
  const STYLES = ["fill", "stroke", "stroke-width", "stroke-dasharray", "stroke-linejoin", "stroke-linecap", "opacity",
    "fill-opacity", "stroke-opacity", "font-size", "font-weight", "text-anchor", "visibility", "display"];
  const drawn = (name, attributes, text) => {
    const made = document.createElementNS(SVG, name);
    for (const [key, one] of Object.entries(attributes)) made.setAttribute(key, one);
    if (text !== undefined) made.textContent = text;
    return made;
  };
  const copied = (svg, place) => {
    const copy = svg.cloneNode(true);
    const originals = [svg, ...every("*", svg)];
    [copy, ...every("*", copy)].forEach((one, index) => {
      const style = getComputedStyle(originals[index]);
      for (const name of ["class", ...STYLES]) one.removeAttribute(name);
      one.setAttribute("style", STYLES.map((name) => `${name}:${style.getPropertyValue(name)}`).join(";"));
      if (style.display === "none" && one.dataset.method !== undefined) one.remove();
    });
    for (const [key, one] of Object.entries(place)) copy.setAttribute(key, one);
    return copy;
  };
  const lines = (node) => {
    const found = [];
    for (const { index, 0: word } of node.data.matchAll(/\S+/g)) {
      const range = document.createRange();
      range.setStart(node, index);
      range.setEnd(node, index + word.length);
      for (const box of range.getClientRects()) {
        const last = found.at(-1);
        if (last && Math.abs(last.box.top - box.top) < 2 && range.getClientRects().length === 1) last.text += ` ${word}`;
        else found.push({ box, text: word });
        break;
      }
    }
    return found;
  };
  const picture = (root) => {
    const frame = root.getBoundingClientRect();
    const margin = 12;
    const [width, height] = [Math.ceil(frame.width) + 2 * margin, Math.ceil(frame.height) + 2 * margin];
    const at = (box) => ({ x: box.left - frame.left + margin, y: box.top - frame.top + margin });
    const out = drawn("svg", { xmlns: SVG, width, height, viewBox: `0 0 ${width} ${height}`, "font-family": getComputedStyle(root).fontFamily });
    out.append(drawn("rect", { width, height, fill: getComputedStyle(document.body).backgroundColor }));
    const place = (node) => {
      if (node.nodeType === Node.TEXT_NODE) {
        const style = getComputedStyle(node.parentElement);
        for (const { box, text } of lines(node)) {
          const { x, y } = at(box);
          const size = parseFloat(style.fontSize);
          out.append(drawn("text", { x, y: y + box.height / 2 + 0.35 * size, "font-size": size, "font-weight": style.fontWeight, fill: style.color }, text));
        }
        return;
      }
      if (node.nodeType !== Node.ELEMENT_NODE || !shown(node) || node.classList.contains("unseen")) return;
      const box = node.getBoundingClientRect();
      const { x, y } = at(box);
      if (node.tagName === "svg") { out.append(copied(node, { x, y, width: box.width, height: box.height })); return; }
      if (node.tagName === "IMG") { out.append(drawn("image", { x, y, width: box.width, height: box.height, href: node.src })); return; }
      const style = getComputedStyle(node);
      if (style.backgroundColor !== "rgba(0, 0, 0, 0)" && node !== root)
        out.append(drawn("rect", { x, y, width: box.width, height: box.height, fill: style.backgroundColor }));
      if (parseFloat(style.borderBottomWidth) > 0)
        out.append(drawn("line", { x1: x, x2: x + box.width, y1: y + box.height, y2: y + box.height, stroke: style.borderBottomColor }));
      node.childNodes.forEach(place);
    };
    place(root);
    return { text: new XMLSerializer().serializeToString(out), width, height };
  };
  const png = async ({ text, width, height }) => {
    const image = new Image();
    image.src = URL.createObjectURL(new Blob([text], { type: "image/svg+xml" }));
    await image.decode();
    const canvas = element("canvas", { width: 2 * width, height: 2 * height });
    canvas.getContext("2d").drawImage(image, 0, 0, canvas.width, canvas.height);
    URL.revokeObjectURL(image.src);
    return new Promise((resolve) => canvas.toBlob(resolve, "image/png"));
  };
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
})();
