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
// A <wbr> parts a text into several nodes: words on both sides of it are one, where the line does not end there.
const parts = (node) => {
  const next = node.nextSibling?.tagName === "WBR" ? node.nextSibling.nextSibling : null;
  return [node, ...next?.nodeType === Node.TEXT_NODE ? parts(next) : []];
};
const lines = (nodes) => {
  const found = [];
  for (const node of nodes) for (const { index, 0: word } of node.data.matchAll(/\S+/g)) {
    const range = document.createRange();
    range.setStart(node, index);
    range.setEnd(node, index + word.length);
    const [box, ...others] = range.getClientRects();
    if (box === undefined) continue;
    const last = found.at(-1);
    const gap = index === 0 && node !== nodes[0] ? "" : " ";
    if (last && Math.abs(last.box.top - box.top) < 2 && others.length === 0) last.text += gap + word;
    else found.push({ box, text: word });
  }
  return found;
};
const laidOut = (root) => {
  const frame = root.getBoundingClientRect();
  const margin = 12;
  const [width, height] = [Math.ceil(frame.width) + 2 * margin, Math.ceil(frame.height) + 2 * margin];
  const at = (box) => ({ x: box.left - frame.left + margin, y: box.top - frame.top + margin });
  const out = drawn("svg", { xmlns: SVG, width, height, viewBox: `0 0 ${width} ${height}`, "font-family": getComputedStyle(root).fontFamily });
  out.append(drawn("rect", { width, height, fill: getComputedStyle(document.body).backgroundColor }));
  const place = (node) => {
    if (node.nodeType === Node.TEXT_NODE) {
      if (node.previousSibling?.tagName === "WBR") return; // placed with the first of its parts
      const style = getComputedStyle(node.parentElement);
      for (const { box, text } of lines(parts(node))) {
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
    if (node.tagName === "IMG") { out.append(drawn("image", { x, y, width: box.width, height: box.height, href: node.src, style: "image-rendering:pixelated" })); return; }
    const style = getComputedStyle(node);
    if (style.backgroundColor !== "rgba(0, 0, 0, 0)" && node !== root)
      out.append(drawn("rect", { x, y, width: box.width, height: box.height, fill: style.backgroundColor }));
    const rule = parseFloat(style.borderBottomWidth), bottom = y + box.height - rule / 2;
    if (rule > 0)
      out.append(drawn("line", { x1: x, x2: x + box.width, y1: bottom, y2: bottom, stroke: style.borderBottomColor, "stroke-width": rule }));
    node.childNodes.forEach(place);
  };
  place(root);
  return { text: new XMLSerializer().serializeToString(out), width, height };
};
const picture = (root) => {
  root.classList.add("pictured"); // what is there to be clicked is left out
  try { return laidOut(root); } finally { root.classList.remove("pictured"); }
};
const png = async ({ text, width, height }) => {
  const image = new Image();
  image.src = URL.createObjectURL(new Blob([text], { type: "image/svg+xml" }));
  await image.decode();
  const canvas = element("canvas", { width: 2 * width, height: 2 * height });
  canvas.getContext("2d").drawImage(image, 0, 0, canvas.width, canvas.height);
  URL.revokeObjectURL(image.src);
  return new Promise((resolve, reject) => canvas.toBlob(
    (blob) => blob ? resolve(blob) : reject(new Error(`no browser draws ${canvas.width} × ${canvas.height} pixels`)), "image/png"));
};
