// What the page is given: typed as in zoo/report/viewer/typed.py.

/**
 * @typedef {{name: string, label: string, unit: string, better: string, digits: number}} Measure
 * @typedef {{name: string, role: string, summary: string, seed: number, failed: string|null,
 *   note: string|null, video: string|null, pictures: Object<string, string>}} Entry
 * @typedef {{frame: number, label: string, original: string|null}} Moment
 * @typedef {{text: string, value: number|null, best: boolean}} GridCell
 * @typedef {{name: string, note: string, entry: number|null, cells: GridCell[]}} GridRow
 * @typedef {{caption: string, columns: {heading: string[], better: string|null}[],
 *   rows: GridRow[], notes: string[]}} Grid
 * @typedef {{name: string, title: string, licence: string|null, size: string, frames: number,
 *   rate: number|null, shots: number[], held_out: [number, number][], barcode: string|null,
 *   video: string|null, scores: string|null, problem: string|null, entries: Entry[],
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

/**
 * When a frame is shown, in seconds of the film.
 * @param {Film} film
 * @param {Scores|null} scores
 * @param {number} frame
 */
function secondsOf(film, scores, frame) {
  if (!scores) return film.rate ? frame / film.rate : 0;
  const place = placeOf(scores, frame);
  return scores.seconds[place] + (frame - scores.frames[place]) / (film.rate ?? 25);
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
