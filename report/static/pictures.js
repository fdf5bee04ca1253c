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
    if (node.tagName === "IMG") { out.append(drawn("image", { x, y, width: box.width, height: box.height, href: node.src, style: "image-rendering:pixelated" })); return; }
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
  return new Promise((resolve, reject) => canvas.toBlob(
    (blob) => blob ? resolve(blob) : reject(new Error(`no browser draws ${canvas.width} × ${canvas.height} pixels`)), "image/png"));
};
