// Values: what is pointed at in a chart, read from its place on the axes; tables and files have every digit.
const NEAR = 24;
const dot = element("div", { className: "dot", ariaHidden: "true" });
const tip = element("div", { className: "tip", ariaHidden: "true" });
document.body.append(dot, tip);
const same = (one) => one;
const power = (one) => 10 ** one;
const SCALES = {
  linear: () => [same, same],
  log: () => [Math.log10, power],
  symlog: ([start, room]) => {
    const first = room / 0.9;
    const up = (one) => Math.sign(one) * (Math.abs(one) <= start ? first * Math.abs(one) / start : first + Math.log10(Math.abs(one) / start));
    const down = (one) => Math.sign(one) * start * (Math.abs(one) <= first ? Math.abs(one) / first : power(Math.abs(one) - first));
    return [up, down];
  },
};
// At the end of a scale stands what lies beyond it, too; but nothing lies beyond 0 and 1 where these are linear ends.
const isBeyond = ({ kind, ends, at }, place) => ends.some((end, index) =>
  Math.abs(place - at[index]) < 0.05 && !(kind !== "log" && (end === 0 || end === 1)));
const read = ({ kind, ends, at, linear }, place) => {
  const [up, down] = SCALES[kind](linear);
  const [low, high] = ends.map(up);
  return down(low + (high - low) * (place - at[0]) / (at[1] - at[0]));
};
const places = (mark) => [
  ...every("use", mark).map((one) => [Number(one.getAttribute("x")), Number(one.getAttribute("y"))]),
  ...every("path:not(defs path)", mark).flatMap((one) =>
    [...one.getAttribute("d").matchAll(/[ML] (\S+) (\S+)/g)].map(([, x, y]) => [Number(x), Number(y)])),
];
const marksOf = (chart) => every("[data-scales]", chart).flatMap((axes) => {
  const scales = JSON.parse(axes.dataset.scales);
  return every(".mark", axes).map((mark) => ({ mark, scales, places: places(mark).filter(([x, y]) =>
    !(scales.x && isBeyond(scales.x, x)) && !(scales.y && isBeyond(scales.y, y))) }));
});
const known = new WeakMap();
const nearest = (chart, x, y) => {
  if (!known.has(chart)) known.set(chart, marksOf(chart));
  const visible = known.get(chart).filter(({ mark }) => mark.checkVisibility({ checkVisibilityCSS: true }));
  const distances = visible.flatMap(({ mark, scales, places }) =>
    places.map((place) => ({ mark, scales, place, far: Math.hypot(place[0] - x, place[1] - y) })));
  return distances.reduce((best, one) => (one.far < best.far ? one : best), { far: Infinity });
};
const shortly = (one) => one !== 0 && (Math.abs(one) < 1e-4 || Math.abs(one) >= 1e7)
  ? one.toExponential(2)
  : one.toLocaleString("en", { maximumSignificantDigits: 3 });
const saying = ({ mark, scales, place }) => {
  const method = mark.closest("[data-method]")?.dataset.method;
  const values = ["x", "y"].filter((axis) => scales[axis]).map((axis) =>
    element("div", {}, `${scales[axis].name} ≈ ${shortly(read(scales[axis], place[axis === "x" ? 0 : 1]))}`));
  return [...(method === undefined ? [] : [element("strong", {}, method)]), ...values];
};
const point = (event) => {
  const chart = event.target.closest?.(".panel svg");
  const matrix = chart?.getScreenCTM();
  const { x, y } = matrix ? new DOMPoint(event.clientX, event.clientY).matrixTransform(matrix.inverse()) : {};
  const found = chart ? nearest(chart, x, y) : { far: Infinity };
  const isShown = matrix !== undefined && found.far * matrix.a < NEAR;
  for (const one of [dot, tip]) one.classList.toggle("pointed", isShown);
  if (!isShown) return;
  const at = new DOMPoint(...found.place).matrixTransform(matrix);
  tip.replaceChildren(...saying(found));
  Object.assign(dot.style, { left: `${at.x}px`, top: `${at.y}px` });
  const room = document.documentElement.clientWidth - tip.offsetWidth - 8;
  const above = at.y > tip.offsetHeight + 16 ? at.y - tip.offsetHeight - 12 : at.y + 12;
  Object.assign(tip.style, { left: `${Math.max(8, Math.min(at.x - tip.offsetWidth / 2, room))}px`, top: `${above}px` });
};
const unpoint = () => { for (const one of [dot, tip]) one.classList.remove("pointed"); };
addEventListener("pointermove", point);
addEventListener("pointerdown", point);
addEventListener("scroll", unpoint, { passive: true, capture: true });
