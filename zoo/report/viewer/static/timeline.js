// The timeline: barcode, scrubber and plot over one another, and the mouse on any of them.

class Timeline {
  /**
   * @param {(frame: number) => void} go
   * @param {(frame: number|null) => void} hover
   */
  constructor(go, hover) {
    this.plot = new Plot(byId("lines"));
    this.frame = 0;
    const scrubber = byId("scrubber");
    scrubber.addEventListener("input", () => go(Number(scrubber.value)));
    for (const place of [byId("plot"), byId("barcode").parentElement]) {
      const at = (/** @type {PointerEvent} */ event) => {
        return this.plot.frameAt(event.clientX - byId("plot").getBoundingClientRect().left);
      };
      place.addEventListener("pointerdown", (/** @type {PointerEvent} */ event) => {
        if (event.button) return;
        place.setPointerCapture(event.pointerId);
        this.held = true;
        go(at(event));
      });
      place.addEventListener("pointermove", (/** @type {PointerEvent} */ event) => {
        const frame = at(event);
        this.mark(byId("hairline"), frame);
        byId("hairline").hidden = false;
        if (this.held) go(frame);
        hover(this.held ? null : frame);
      });
      for (const end of ["pointerup", "pointercancel"]) {
        place.addEventListener(end, () => { this.held = false; });
      }
      place.addEventListener("pointerleave", () => {
        byId("hairline").hidden = true;
        hover(null);
      });
    }
  }

  /**
   * @param {Film} film
   * @param {Scores|null} scores
   * @param {number[]} chosen
   * @param {Measure|undefined} metric
   */
  draw(film, scores, chosen, metric) {
    const lines = chosen.map((index) => (metric && scores?.entries[index]?.[metric.name]) ?? []);
    const barcode = byId("barcode");
    barcode.hidden = !film.barcode;
    if (film.barcode && barcode.getAttribute("src") !== film.barcode) {
      barcode.setAttribute("src", film.barcode);
    }
    barcode.alt = `Barcode of ${film.name}: each column is one point in time`;
    byId("scrubber").max = String(film.frames - 1);
    this.plot.draw(film, scores, lines, metric);
    this.legend(film, chosen, metric);
    const names = chosen.map((index) => film.entries[index]?.name ?? "nothing");
    const what = metric ? `${metric.label} of ${names.join(" and ")} over time` : "No scores";
    byId("lines").setAttribute("role", "img");
    byId("lines").setAttribute("aria-label", `${what}; the numbers of a frame stand in the table below`);
    this.show(this.frame);
  }

  /**
   * What the lines and marks mean, in words.
   * @param {Film} film
   * @param {number[]} chosen
   * @param {Measure|undefined} metric
   */
  legend(film, chosen, metric) {
    const item = (/** @type {string} */ kind, /** @type {string} */ text) =>
      element("span", { className: "legend-item" },
        element("span", { className: `swatch swatch-${kind}`, "aria-hidden": "true" }), text);
    const items = chosen.map((index, place) => {
      const letter = "AB"[place];
      return item(letter.toLowerCase(), `${letter} ${film.entries[index]?.name ?? "–"}`);
    });
    if (film.held_out.length) items.push(item("held", "held out of the training"));
    if (film.shots.length > 1) items.push(item("shot", "a shot begins"));
    if (metric) items.unshift(element("span", { className: "quiet", textContent: direction(metric.better) }));
    byId("legend").replaceChildren(...items);
  }

  /** Put the scrubber and the line on a frame. @param {number} frame */
  show(frame) {
    this.frame = frame;
    byId("scrubber").value = String(frame);
    this.mark(byId("playhead"), frame);
  }

  /**
   * @param {HTMLElement} line
   * @param {number} frame
   */
  mark(line, frame) {
    line.style.transform = `translateX(${this.plot.x(frame + 0.5) - 1}px)`;
  }
}
