// What the page is given: typed as in zoo/report/viewer/content.py.

/**
 * @typedef {{name: string, label: string, unit: string, better: string, digits: number}} Measure
 * @typedef {{name: string, role: string, summary: string, seed: number, failed: string|null,
 *   note: string|null, video: string|null, pictures: Object<string, string>}} Entry
 * @typedef {{frame: number, label: string, original: string|null}} Moment
 * @typedef {{address: string, caption: string}} Captioned
 * @typedef {{text: string, value: number|null, best: boolean}} GridCell
 * @typedef {{name: string, note: string, entry: number|null, cells: GridCell[]}} GridRow
 * @typedef {{caption: string, columns: {heading: string[], better: string|null}[],
 *   rows: GridRow[], notes: string[]}} Grid
 * @typedef {{name: string, title: string, licence: string|null, size: string, frames: number,
 *   rate: number|null, begins: number, shots: number[], held_out: [number, number][], barcode: string|null,
 *   video: string|null, video_start: number, sheet: Captioned|null, side_by_side: Captioned|null, scores: string|null, problem: string|null, entries: Entry[],
 *   moments: Moment[], tables: Grid[]}} Film
 * @typedef {{frames: number[], seconds: number[],
 *   entries: Object<string, (number|null)[]>[]}} Scores
 * @typedef {{metrics: Measure[], films: Film[], across: Grid|null}} Content
 */

/** @type {Content} */
const content = JSON.parse(byId("content").textContent);

/** @type {Map<string, Scores>} */
const received = new Map();

// A page of a file's address may not fetch; a script that it adds itself may call back.
globalThis.zooScores = (/** @type {string} */ _film, /** @type {Scores} */ scores) => {
  received.set(document.currentScript.getAttribute("src"), scores);
};

/**
 * The scores of a film, frame by frame; null where there are none or their file is gone.
 * @param {Film} film
 * @returns {Promise<Scores|null>}
 */
function loadScores(film) {
  const address = film.scores;
  if (!address) return Promise.resolve(null);
  if (received.has(address)) return Promise.resolve(received.get(address));
  return new Promise((resolve) => {
    const script = element("script", {
      onload: () => resolve(received.get(address) ?? null),
      onerror: () => resolve(null),
    });
    script.setAttribute("src", address);
    document.head.append(script);
  });
}

/**
 * Where in the scores a frame stands, or the last one before it that was scored.
 * @param {Scores} scores
 * @param {number} frame
 */
function placeOf(scores, frame) {
  let [low, high] = [0, scores.frames.length - 1];
  while (low < high) {
    const middle = Math.ceil((low + high) / 2);
    if (scores.frames[middle] <= frame) low = middle;
    else high = middle - 1;
  }
  return low;
}

/** @type {WeakMap<Object, {frames: number[], seconds: number[]}>} */
const timesBy = new WeakMap();

/**
 * Frames whose times are known, ascending, and their times; the last is the end of the film.
 * @param {Film} film
 * @param {Scores|null} scores
 */
function knownTimes(film, scores) {
  const key = scores ?? film;
  if (!timesBy.has(key)) timesBy.set(key, foundTimes(film, scores));
  return timesBy.get(key);
}

/**
 * @param {Film} film
 * @param {Scores|null} scores
 */
function foundTimes(film, scores) {
  const period = 1 / (film.rate ?? 25);
  if (!scores || scores.frames.length < 2) {
    return { frames: [0, film.frames], seconds: [film.begins, film.begins + film.frames * period] };
  }
  const { frames, seconds } = scores;
  const steps = frames.slice(1).map((frame, i) => (seconds[i + 1] - seconds[i]) / (frame - frames[i]));
  const usual = steps.sort((one, other) => one - other)[Math.floor(steps.length / 2)];
  const end = seconds.at(-1) + usual * (film.frames - frames.at(-1));
  return { frames: [...frames, film.frames], seconds: [...seconds, end] };
}

/**
 * A value between known ones: `from` and `to` are both ascending, and equally long.
 * @param {number[]} from
 * @param {number[]} to
 * @param {number} value
 */
function between(from, to, value) {
  let [low, high] = [0, from.length - 2];
  while (low < high) {
    const middle = Math.ceil((low + high) / 2);
    if (from[middle] <= value) low = middle;
    else high = middle - 1;
  }
  const share = (value - from[low]) / (from[low + 1] - from[low]);
  return to[low] + share * (to[low + 1] - to[low]);
}

/**
 * When a frame is shown, in seconds of the film; that after the last one is its end.
 * @param {Film} film
 * @param {Scores|null} scores
 * @param {number} frame
 */
function secondsOf(film, scores, frame) {
  const { frames, seconds } = knownTimes(film, scores);
  return between(frames, seconds, frame);
}

/**
 * The number of the shot that a frame is in, from 0.
 * @param {Film} film
 * @param {number} frame
 */
const shotOf = (film, frame) => film.shots.filter((start) => start <= frame).length - 1;

/**
 * @param {Film} film
 * @param {number} frame
 */
const isHeldOut = (film, frame) =>
  film.held_out.some(([start, stop]) => start <= frame && frame < stop);

/**
 * Whether the first of two scores is better.
 * @param {number} one
 * @param {number} other
 * @param {string} better
 */
function beats(one, other, better) {
  if (better === "higher") return one > other;
  if (better === "lower") return one < other;
  const off = (/** @type {number} */ value) => Math.abs(Math.log(Math.max(value, 1e-12)));
  return off(one) < off(other);
}
