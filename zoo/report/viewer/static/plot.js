// The scores of two models over a film's time: lines, shots as ticks, held-out parts hatched.

/** Pixels left and right of what is drawn, as in the style sheet; and heights. */
const GUTTER = { left: 58, right: 14 };
const HEIGHT = 190;
const BAND = 20;
const FOOT = 20;

/**
 * Steps of 1, 2 or 5 that cut a range into few parts.
 * @param {number} low
 * @param {number} high
 * @param {number} parts
 */
function roundSteps(low, high, parts) {
  const raw = Math.max(high - low, 1e-9) / parts;
  const power = 10 ** Math.floor(Math.log10(raw));
  const step = [1, 2, 5, 10].map((n) => n * power).find((n) => n >= raw) ?? raw;
  const ticks = [];
  for (let n = Math.ceil(low / step - 1e-6); n * step <= high + step * 1e-6; n += 1) ticks.push(n * step);
  return { step, ticks };
}

class Plot {
  /** @param {HTMLCanvasElement} canvas */
  constructor(canvas) {
    this.canvas = canvas;
    this.width = 0;
    this.frames = 1;
  }

  /** Where a moment of the film lies, in pixels. @param {number} frame */
  x(frame) {
    return GUTTER.left + (frame / this.frames) * (this.width - GUTTER.left - GUTTER.right);
  }

  /** The frame at a place. @param {number} x */
  frameAt(x) {
    const share = (x - GUTTER.left) / (this.width - GUTTER.left - GUTTER.right);
    return Math.max(0, Math.min(this.frames - 1, Math.floor(share * this.frames)));
  }

  /**
   * Draw everything that does not move.
   * @param {Film} film
   * @param {Scores|null} scores
   * @param {(number|null)[][]} lines values of A and of B
   * @param {Measure|undefined} metric
   */
  draw(film, scores, lines, metric) {
    const dense = window.devicePixelRatio || 1;
    this.frames = film.frames;
    this.width = this.canvas.parentElement?.clientWidth ?? 600;
    this.canvas.width = Math.round(this.width * dense);
    this.canvas.height = Math.round(HEIGHT * dense);
    const pen = this.canvas.getContext("2d");
    if (!pen) return;
    this.pen = pen;
    pen.setTransform(dense, 0, 0, dense, 0, 0);
    pen.clearRect(0, 0, this.width, HEIGHT);
    pen.font = `12px ${themed("--sans")}`;
    this.drawHeldOut(film);
    this.drawShots(film);
    this.drawTimes(film, scores);
    const known = lines.flat().filter((value) => value !== null && value !== undefined);
    if (!scores || !metric || !known.length) {
      this.say(film.problem ?? "There are no scores per frame of these two.");
      return;
    }
    this.scale(known, metric);
    lines.forEach((values, index) => this.drawLine(scores, values, index));
  }

  /** @param {string} words */
  say(words) {
    this.pen.fillStyle = themed("--quiet");
    this.pen.textAlign = "center";
    this.pen.textBaseline = "middle";
    this.pen.fillText(words, this.width / 2, HEIGHT / 2, this.width - 40);
  }

  /** @param {Film} film */
  drawHeldOut(film) {
    const pen = this.pen;
    for (const [start, stop] of film.held_out) {
      const [left, right] = [this.x(start), Math.max(this.x(stop), this.x(start) + 2)];
      if (right - left < 8) {
        // Too narrow for a hatch between its edges.
        pen.fillStyle = themed("--hatch");
        pen.globalAlpha = 0.6;
        pen.fillRect(left, 0, right - left, HEIGHT - FOOT);
        pen.globalAlpha = 1;
        continue;
      }
      pen.save();
      pen.beginPath();
      pen.rect(left, 0, right - left, HEIGHT - FOOT);
      pen.clip();
      pen.strokeStyle = themed("--hatch");
      pen.lineWidth = 1;
      pen.beginPath();
      for (let x = left - HEIGHT; x < right; x += 7) {
        pen.moveTo(x, HEIGHT - FOOT);
        pen.lineTo(x + HEIGHT - FOOT, 0);
      }
      pen.stroke();
      const width = pen.measureText("held out").width + 8;
      if (right - left > width) {
        pen.fillStyle = themed("--ground");
        pen.fillRect((left + right - width) / 2, 2, width, BAND - 4);
        pen.fillStyle = themed("--ink");
        pen.textAlign = "center";
        pen.textBaseline = "middle";
        pen.fillText("held out", (left + right) / 2, BAND / 2);
      }
      pen.restore();
      pen.strokeStyle = themed("--quiet");
      pen.strokeRect(left + 0.5, 0.5, right - left - 1, HEIGHT - FOOT - 1);
    }
  }

  /** @param {Film} film */
  drawShots(film) {
    const pen = this.pen;
    const ends = [...film.shots.slice(1), film.frames];
    // Ticks that touch are a bar.
    const dense = film.shots.length > this.width / 5;
    film.shots.forEach((start, index) => {
      if (start) {
        pen.fillStyle = themed("--ink");
        pen.globalAlpha = dense ? 0.35 : 1;
        pen.fillRect(Math.round(this.x(start)) - 0.5, 0, 1, dense ? 6 : 10);
        pen.globalAlpha = 1;
      }
      const room = this.x(ends[index]) - this.x(start);
      if (film.shots.length > 1 && room > 54 && !isHeldOut(film, start)) {
        pen.fillStyle = themed("--quiet");
        pen.textAlign = "left";
        pen.textBaseline = "middle";
        pen.fillText(`shot ${index + 1}`, this.x(start) + 5, BAND / 2);
      }
    });
  }

  /**
   * Times below the lines.
   * @param {Film} film
   * @param {Scores|null} scores
   */
  drawTimes(film, scores) {
    const pen = this.pen;
    const { frames, seconds } = knownTimes(film, scores);
    const [begin, end] = [seconds[0], seconds.at(-1)];
    pen.fillStyle = themed("--quiet");
    pen.textBaseline = "alphabetic";
    const parts = Math.max(2, Math.floor(this.width / 130));
    const { step } = roundSteps(begin, end, parts);
    const every = step > 5 ? [10, 15, 30, 60, 120, 300, 600, 1200, 1800, 3600].find((n) => n >= step) ?? step : step;
    const widest = pen.measureText("0:00:00.0").width + 8;
    let free = -Infinity;
    for (let tick = Math.ceil(begin / every - 1e-6); tick * every <= end; tick += 1) {
      const time = tick * every;
      const x = this.x(between(seconds, frames, time));
      pen.textAlign = x > GUTTER.left + widest / 2 ? "center" : "left";
      const text = timeCode(time);
      const shown = every < 1 ? text.slice(0, -2) : text.slice(0, -4);
      // A still of minutes is one frame here: many times lie in it, and one has room.
      if (x >= free && x < this.width - GUTTER.right - 16) {
        pen.fillText(shown, x, HEIGHT - 5);
        free = x + widest;
      }
      pen.fillRect(x, HEIGHT - FOOT, 1, 4);
    }
  }

  /**
   * Choose the range and draw its lines.
   * @param {number[]} known
   * @param {Measure} metric
   */
  scale(known, metric) {
    const pen = this.pen;
    let [low, high] = [Infinity, -Infinity];
    for (const value of known) {
      low = Math.min(low, value);
      high = Math.max(high, value);
    }
    const room = Math.max((high - low) * 0.06, 10 ** -metric.digits);
    const floor = low >= 0 ? Math.max(0, low - room) : low - room;
    [this.low, this.high] = [floor, high + room];
    const { step, ticks } = roundSteps(this.low, this.high, 4);
    const digits = Math.max(0, -Math.floor(Math.log10(step) + 1e-9));
    pen.textAlign = "right";
    pen.textBaseline = "middle";
    for (const tick of ticks) {
      const y = this.y(tick);
      pen.fillStyle = themed("--rule");
      pen.fillRect(GUTTER.left, y, this.width - GUTTER.left - GUTTER.right, 1);
      pen.fillStyle = themed("--quiet");
      pen.fillText(tick.toFixed(digits), GUTTER.left - 8, y);
    }
  }

  /** @param {number} value */
  y(value) {
    const [top, bottom] = [BAND + 6, HEIGHT - FOOT - 4];
    return bottom - ((value - this.low) / (this.high - this.low)) * (bottom - top);
  }

  /**
   * One line, and where several frames share a pixel the range of them behind it.
   * @param {Scores} scores
   * @param {(number|null)[]} values
   * @param {number} index 0 for A, which is drawn through, 1 for B, which is dashed
   */
  drawLine(scores, values, index) {
    const pen = this.pen;
    const { columns, wide } = this.columns(scores, values);
    pen.strokeStyle = themed(index ? "--b" : "--a");
    pen.fillStyle = pen.strokeStyle;
    pen.globalAlpha = 0.22;
    for (const { x, low, high, count } of columns) {
      if (count > 1) pen.fillRect(x, this.y(high), wide, Math.max(1, this.y(low) - this.y(high)));
    }
    pen.globalAlpha = 1;
    pen.lineWidth = index ? 1.8 : 2;
    pen.lineJoin = "round";
    pen.setLineDash(index ? [6, 4] : []);
    pen.beginPath();
    let joined = false;
    for (const { x, sum, count } of columns) {
      if (!count) joined = false;
      else if (joined) pen.lineTo(x, this.y(sum / count));
      else pen.moveTo(x, this.y(sum / count));
      joined = count > 0;
    }
    pen.stroke();
    pen.setLineDash([]);
  }

  /**
   * @param {Scores} scores
   * @param {(number|null)[]} values
   */
  columns(scores, values) {
    /** @type {{x: number, low: number, high: number, sum: number, count: number}[]} */
    const found = [];
    // A dash must stay longer than what is drawn of the noise.
    const wide = scores.frames.length > this.width ? 3 : 1;
    scores.frames.forEach((frame, place) => {
      const middle = this.x(frame + 0.5);
      const value = values[place];
      const last = found.at(-1);
      const shared = last && Math.floor(last.x / wide) === Math.floor(middle / wide);
      const into = shared ? last : { x: middle, low: Infinity, high: -Infinity, sum: 0, count: 0 };
      if (!shared) found.push(into);
      if (value === null || value === undefined) return;
      into.low = Math.min(into.low, value);
      into.high = Math.max(into.high, value);
      into.sum += value;
      into.count += 1;
    });
    return { columns: found, wide };
  }
}
