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
