// The film between two models: what each panel shows at a frame, and what stands in for a video.

class Stage {
  /**
   * @param {HTMLElement} place
   * @param {Clock} clock
   * @param {(letter: string, entry: number) => void} chose
   */
  constructor(place, clock, chose) {
    this.clock = clock;
    this.original = new Panel("", element("p", { className: "panel-name", textContent: "Original" }));
    /** @type {Object<string, HTMLSelectElement>} */
    this.choices = {};
    this.models = ["A", "B"].map((letter) => {
      const select = element("select", { "aria-label": `Model ${letter}` });
      select.addEventListener("change", () => chose(letter, select.selectedIndex));
      this.choices[letter] = select;
      return new Panel(letter, select);
    });
    this.panels = [this.original, ...this.models];
    this.difference = false;
    /** Pictures of the original, to draw differences from. */
    this.kept = element("img", { onload: () => this.redraw() });
    place.replaceChildren(...this.panels.map((panel) => panel.figure));
    for (const panel of this.panels) {
      panel.presented = () => this.redraw();
      panel.lost = () => this.gather();
      panel.picture.addEventListener("load", () => this.redraw());
      panel.video.addEventListener("loadedmetadata", () => this.update(this.clock.frame));
    }
    /** @type {Film} */
    this.film = content.films[0];
    /** @type {Entry[]} */
    this.entries = [];
  }

  /**
   * Put a film and two of its entries on the stage.
   * @param {Film} film
   * @param {number[]} chosen
   */
  set(film, chosen) {
    this.film = film;
    const [width, height] = film.size.split("x").map(Number);
    const names = film.entries.map((entry) => {
      const what = entry.role === "model" ? "" : ` (${entry.role})`;
      return entry.name + what + (entry.failed ? ", failed" : "");
    });
    this.entries = chosen.map((index) => film.entries[index]);
    for (const panel of this.panels) {
      panel.screen.style.aspectRatio = `${width || 16} / ${height || 9}`;
    }
    this.original.load(film.video, film);
    this.original.video.setAttribute("aria-label", `Original: ${film.title}`);
    this.models.forEach((panel, index) => {
      const entry = this.entries[index];
      fillChoices(this.choices[panel.letter], names, chosen[index]);
      panel.load(entry?.video ?? null, film);
      const label = entry ? `Model ${panel.letter}: ${entry.name}` : "";
      panel.video.setAttribute("aria-label", label);
      panel.note.textContent = entry?.note ?? "";
      panel.note.hidden = !entry?.note;
    });
    this.gather();
  }

  /** Whether there is a video to lead the others. */
  get playable() {
    return Boolean(this.film.rate && this.original.source && !this.original.broken);
  }

  /** Give the clock the videos that are there; the original leads. */
  gather() {
    const there = this.panels.filter((panel) => panel.source && !panel.broken);
    this.clock.join(this.playable ? there.map((panel) => panel.video) : []);
  }

  /**
   * The kept frame nearest to a frame, or none.
   * @param {number} frame
   * @returns {Moment|undefined}
   */
  nearest(frame) {
    const off = (/** @type {Moment} */ moment) => Math.abs(moment.frame - frame);
    return [...this.film.moments].sort((one, other) => off(one) - off(other))[0];
  }

  /**
   * Show a frame in every panel, by video where there is one and by a kept picture elsewhere.
   * @param {number} frame
   */
  update(frame) {
    const moment = this.nearest(frame);
    this.pictured = !this.original.covers(frame);
    this.moment = moment;
    this.showOriginal(moment, frame);
    this.models.forEach((panel, index) => this.showModel(panel, this.entries[index], moment, frame));
    this.redraw();
  }

  /**
   * @param {Moment|undefined} moment
   * @param {number} frame
   */
  showOriginal(moment, frame) {
    if (!this.pictured) this.original.show("video");
    else if (moment?.original) {
      this.put(this.original.picture, moment.original);
      this.original.show("picture", "", this.stillBadge(moment, frame));
    } else this.original.show("words", "There is no video or picture of this film.");
    if (this.pictured && moment?.original) this.put(this.kept, moment.original);
  }

  /**
   * @param {Panel} panel
   * @param {Entry|undefined} entry
   * @param {Moment|undefined} moment
   * @param {number} frame
   */
  showModel(panel, entry, moment, frame) {
    const picture = entry && moment ? entry.pictures[String(moment.frame)] : undefined;
    if (!entry) panel.show("words", "There is no other model.");
    else if (entry.failed) panel.show("words", `Failed: ${entry.failed}`);
    else if (!this.pictured && panel.covers(frame)) {
      panel.show(this.difference ? "canvas" : "video", "", this.difference ? "difference ×4" : "");
    } else if (picture && moment) {
      this.put(panel.picture, picture);
      const drawn = this.difference && this.pictured && moment.original;
      const badge = this.stillBadge(moment, frame);
      panel.show(drawn ? "canvas" : "picture", "", drawn ? `${badge}, difference ×4` : badge);
    } else panel.show("words", "There is no video or picture of this model.");
  }

  /**
   * @param {Moment} moment
   * @param {number} frame
   */
  stillBadge(moment, frame) {
    return moment.frame === frame ? "picture" : `picture of frame ${grouped(moment.frame)}`;
  }

  /**
   * @param {HTMLImageElement} image
   * @param {string} address
   */
  put(image, address) {
    if (image.getAttribute("src") !== address) image.setAttribute("src", address);
  }

  /** Draw the differences; of videos only while both show the same frame. */
  redraw() {
    if (!this.difference) return;
    for (const panel of this.models) {
      if (panel.canvas.hidden) continue;
      if (this.pictured) {
        if (this.kept.complete && panel.picture.complete) {
          panel.drawDifference(this.kept, panel.picture);
        }
      } else if (panel.shown === this.original.shown && panel.video.readyState > 1) {
        panel.drawDifference(this.original.video, panel.video);
      }
    }
  }
}
