// One picture of the stage: a video, a kept picture where there is no video, or a difference.

class Panel {
  /**
   * @param {string} letter `A`, `B`, or nothing for the original
   * @param {HTMLElement} heading what stands in the caption
   */
  constructor(letter, heading) {
    this.letter = letter;
    this.video = element("video", { muted: true, playsInline: true, preload: "auto", tabIndex: -1 });
    this.picture = element("img", { alt: "", hidden: true });
    this.canvas = element("canvas", { hidden: true });
    this.words = element("p", { className: "panel-words", hidden: true });
    this.badge = element("p", { className: "badge", hidden: true });
    this.score = element("p", { className: "panel-score" });
    this.note = element("p", { className: "panel-note quiet small", hidden: true });
    this.screen = element(
      "div", { className: "screen" }, this.video, this.picture, this.canvas, this.words, this.badge,
    );
    const mark = letter ? [element("span", { className: `mark mark-${letter.toLowerCase()}`,
      textContent: letter, "aria-hidden": "true" })] : [];
    this.figure = element("figure", { className: "panel" }, this.screen,
      element("figcaption", {},
        element("div", { className: "panel-head" }, ...mark, heading), this.score, this.note));
    /** @type {string|null} */
    this.source = null;
    this.broken = false;
    this.shown = -1;
    this.presented = () => {};
    this.lost = () => {};
    this.video.addEventListener("error", () => {
      if (!this.source) return;
      this.broken = true;
      this.lost();
    });
    this.follow();
  }

  /** Keep the number of the frame that is on the screen, and pass it on. */
  follow() {
    this.rate = 25;
    this.start = 0;
    if (!this.video.requestVideoFrameCallback) {
      for (const event of ["seeked", "timeupdate", "loadeddata"]) {
        this.video.addEventListener(event, () => this.presentedAt(this.video.currentTime - 0.5 / this.rate));
      }
      return;
    }
    const next = (/** @type {number} */ _now, /** @type {any} */ frame) => {
      this.presentedAt(frame.mediaTime);
      this.video.requestVideoFrameCallback(next);
    };
    this.video.requestVideoFrameCallback(next);
  }

  /** @param {number} time */
  presentedAt(time) {
    this.shown = this.start + Math.max(0, Math.round(time * this.rate));
    this.presented();
  }

  /**
   * Take a video of a film, or none.
   * @param {string|null} address
   * @param {Film} film
   */
  load(address, film) {
    [this.rate, this.start] = [film.rate ?? 25, film.video_start];
    if (address === this.source) return;
    this.source = address;
    this.broken = false;
    this.shown = -1;
    if (address) this.video.src = address;
    else this.video.removeAttribute("src");
    this.video.load();
  }

  /**
   * Whether the video has a frame; while nothing is known of its length it may.
   * @param {number} frame
   */
  covers(frame) {
    if (!this.source || this.broken) return false;
    const length = this.video.readyState > 0 ? Math.round(this.video.duration * this.rate) : Infinity;
    return this.start <= frame && frame < this.start + length;
  }

  /**
   * Show one of: the video, a picture, the canvas, or words in their place.
   * @param {"video"|"picture"|"canvas"|"words"} what
   * @param {string} [words]
   * @param {string} [badge] over the picture
   */
  show(what, words = "", badge = "") {
    // Invisible and not hidden: a video that is not laid out is not decoded.
    this.video.classList.toggle("veiled", what !== "video");
    this.picture.hidden = what !== "picture";
    this.canvas.hidden = what !== "canvas";
    this.words.hidden = what !== "words";
    this.words.textContent = words;
    this.badge.hidden = !badge;
    this.badge.textContent = badge;
  }

  /**
   * Draw four times the difference of two pictures; no pixel is read, which a file may not be.
   * @param {HTMLVideoElement|HTMLImageElement} one
   * @param {HTMLVideoElement|HTMLImageElement} other
   */
  drawDifference(one, other) {
    const [width, height] = one instanceof HTMLVideoElement
      ? [one.videoWidth, one.videoHeight] : [one.naturalWidth, one.naturalHeight];
    if (!width || !height) return;
    if (this.canvas.width !== width) this.canvas.width = width;
    if (this.canvas.height !== height) this.canvas.height = height;
    const pen = this.canvas.getContext("2d");
    pen.globalCompositeOperation = "copy";
    pen.drawImage(one, 0, 0, width, height);
    pen.globalCompositeOperation = "difference";
    pen.drawImage(other, 0, 0, width, height);
    pen.globalCompositeOperation = "lighter";
    for (let doubled = 0; doubled < 2; doubled += 1) pen.drawImage(this.canvas, 0, 0);
  }
}
