// The numbers of one frame: every metric of both models.

/**
 * Fill the table with a frame's numbers.
 * @param {Film} film
 * @param {Scores|null} scores
 * @param {number[]} chosen
 * @param {number} frame
 * @param {boolean} hovered whether it is the frame under the cursor, or else the one that is shown
 */
function readOut(film, scores, chosen, frame, hovered) {
  const table = byId("readout");
  const place = scores ? placeOf(scores, frame) : 0;
  const scored = scores ? scores.frames[place] : frame;
  const where = hovered ? "under the cursor" : "shown";
  const late = scored === frame ? "" : `, as of frame ${grouped(scored)}`;
  const held = isHeldOut(film, frame) ? ", held out" : "";
  const names = chosen.map((index, n) => `${"AB"[n]} ${film.entries[index]?.name ?? "–"}`);
  const head = element("tr", {},
    element("th", { scope: "col", textContent: "metric" }),
    ...names.map((name) => element("th", { scope: "col", className: "number", textContent: name })),
    element("th", { scope: "col", textContent: "better" }));
  const rows = content.metrics.map((metric) => {
    const values = chosen.map((index) => scores?.entries[index]?.[metric.name]?.[place] ?? null);
    const [a, b] = values;
    let better = "–";
    if (typeof a === "number" && typeof b === "number") {
      const same = a.toFixed(metric.digits) === b.toFixed(metric.digits);
      better = same ? "even" : beats(a, b, metric.better) ? "A" : "B";
    }
    return element("tr", {},
      element("th", { scope: "row" }, metric.label,
        element("span", { className: "quiet", title: direction(metric.better) }, ` ${arrow(metric.better)}`)),
      ...values.map((value, n) => element("td",
        { className: "AB"[n] === better ? "number best" : "number", textContent: written(value, metric) })),
      element("td", { textContent: better }));
  });
  table.replaceChildren(
    element("caption", { textContent: `Frame ${grouped(frame)}, ${where}${held}${late}` }),
    element("thead", {}, head), element("tbody", {}, ...rows));
}
