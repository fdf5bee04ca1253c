// LaTeX: a table as the package booktabs sets it. What pdflatex would stumble over, or set as something else, is escaped
// or becomes mathematics; letters, of whatever script, stay as they are.
const COMMANDS = Object.fromEntries([
  "×times ·cdot ±pm ≤leq ≥geq ≈approx ≠neq ∞infty ∇nabla √surd ‖| ←leftarrow →rightarrow ↑uparrow ↓downarrow ↕updownarrow",
  "●bullet ○circ ◐odot ✓surd ✗times µmu αalpha βbeta γgamma δdelta εvarepsilon ζzeta ηeta θtheta ιiota κkappa λlambda",
  "μmu νnu ξxi πpi ρrho σsigma τtau υupsilon φvarphi χchi ψpsi ωomega ΓGamma ΔDelta ΘTheta ΛLambda ΞXi ΠPi ΣSigma",
  "ΥUpsilon ΦPhi ΨPsi ΩOmega",
].join(" ").split(" ").map(([sign, ...name]) => [sign, `\\${name.join("")} `]));
const ESCAPES = {
  "\\": "\\textbackslash{}", "~": "\\textasciitilde{}", "^": "\\textasciicircum{}", "<": "\\textless{}", ">": "\\textgreater{}",
  "|": "\\textbar{}", "–": "--", "—": "---", "…": "\\dots{}", "\u2011": "-",
};
const RAISED = "²³¹\\u2070-\\u207f";
const LOWERED = "\\u2080-\\u209c\\u1d62-\\u1d6a";
const OTHERS = new RegExp(
  `(?<signs>[−${Object.keys(COMMANDS).join("")}${RAISED}${LOWERED}]+)|(?<twin>[-'\`,])(?=\\k<twin>)|[&%$#_{}\\\\~^<>|–—…\u2011]`, "gu",
);
const maths = (signs) => signs
  .replaceAll(new RegExp(`[${RAISED}]+`, "g"), (one) => `^{${one.normalize("NFKC")}}`)
  .replaceAll(new RegExp(`[${LOWERED}]+`, "g"), (one) => `_{${one.normalize("NFKC")}}`)
  .replaceAll("−", "-")
  .replaceAll(/\P{ASCII}/gu, (one) => COMMANDS[one] ?? one)
  .trim();
const escaped = (text) => text.replaceAll(OTHERS, (one, signs, twin) =>
  signs ? `$${maths(signs)}$` : twin ? `${twin}{}` : ESCAPES[one] ?? `\\${one}`);
const latex = (table) => {
  const { caption, heads, rows } = content(table);
  const cell = ({ text, span }) => span > 1 ? `\\multicolumn{${Math.min(span, heads.length)}}{l}{${escaped(text)}}` : escaped(text);
  // After a row's end LaTeX takes a bracket or a star for an option of it.
  const line = (row) => `    ${row.map(cell).join(" & ").replace(/^[[*]/, "{$&}")} \\\\`;
  return [
    "% \\usepackage{booktabs}", "\\begin{table}", "  \\centering", `  \\caption{${escaped(caption)}}`,
    `  \\begin{tabular}{${heads.map(({ isNumber }) => isNumber ? "r" : "l").join("")}}`,
    "    \\toprule", line(heads), "    \\midrule", ...rows.map(line), "    \\bottomrule", "  \\end{tabular}", "\\end{table}", "",
  ].join("\n");
};
