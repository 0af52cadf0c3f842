// The page as a whole: which film, which two models, which frame.

const state = {
  film: content.films[0],
  /** @type {number[]} Entries that stand as A and B. */
  chosen: [0, 1],
  /** @type {Scores|null} */
  scores: null,
  metric: 0,
};

const clock = new Clock((frame, playing) => showFrame(frame, playing));
const stage = new Stage(byId("stage"), clock, choose);
const timeline = new Timeline((frame) => clock.seek(frame), hover);
let announcing = 0;

/**
 * Everything that follows the frame.
 * @param {number} frame
 * @param {boolean} playing
 */
function showFrame(frame, playing) {
  const { film, scores } = state;
  stage.update(frame);
  timeline.show(frame);
  say("play", playing ? "Pause" : "Play");
  say("frame-number", grouped(frame));
  const time = timeCode(secondsOf(film, scores, frame));
  const shot = film.shots.length > 1 ? `, shot ${shotOf(film, frame) + 1} of ${film.shots.length}` : "";
  const held = isHeldOut(film, frame) ? ", held out" : "";
  say("frame-place", ` of ${grouped(film.frames - 1)} at ${time}${shot}${held}`);
  byId("scrubber").setAttribute("aria-valuetext", `frame ${frame}, ${time}${held}`);
  readOut(film, scores, state.chosen, frame, false);
  showScores(frame);
  clearTimeout(announcing);
  // While it plays nobody wants every number read out.
  if (!playing) {
    announcing = setTimeout(() => {
      say("announced", `Frame ${frame} at ${time}${shot}${held}`);
    }, 250);
  }
  notice(frame);
}

/** The chosen metric under each model. @param {number} frame */
function showScores(frame) {
  const metric = content.metrics[state.metric];
  stage.models.forEach((panel, index) => {
    const values = state.scores?.entries[state.chosen[index]]?.[metric?.name];
    const value = values && state.scores ? values[placeOf(state.scores, frame)] : null;
    panel.score.textContent = values ? `${metric.label} ${written(value, metric)}` : "";
  });
}

/** What a reader must know of what is shown. @param {number} frame */
function notice(frame) {
  const { film } = state;
  const words = [];
  const kept = film.moments.length
    ? "the frames that pictures were kept of are shown instead" : "and no pictures were kept either";
  if (!stage.playable) {
    words.push(`There is no video of this film; ${kept}.`);
  } else if (stage.pictured) {
    const [first, last] = [clock.start, clock.end(stage.original.video) - 1].map(grouped);
    words.push(`The videos have frames ${first} to ${last}; ${kept}.`);
  }
  if (film.scores && state.missing) words.push("The scores per frame could not be read.");
  if (film.problem) words.push(film.problem);
  for (const entry of stage.entries) {
    if (entry?.failed) words.push(`${entry.name} failed: ${entry.failed}`);
  }
  say("notice", words.join(" "));
  byId("notice").hidden = !words.length;
  byId("play").disabled = !stage.playable;
}

/** @param {number|null} frame */
function hover(frame) {
  const { film, scores, chosen } = state;
  readOut(film, scores, chosen, frame ?? clock.frame, frame !== null);
}

/** Draw what depends on the film, the models and the metric. */
function redraw() {
  const { film, scores, chosen } = state;
  timeline.draw(film, scores, chosen, content.metrics[state.metric]);
  pressChosen(chosen);
  showFrame(clock.frame, clock.playing);
}

/**
 * Put an entry beside the film.
 * @param {string} letter
 * @param {number} entry
 */
function choose(letter, entry) {
  state.chosen["AB".indexOf(letter)] = entry;
  stage.set(state.film, state.chosen);
  redraw();
}

/** The video of the film beside its models, and its contact sheet. @param {Film} film */
function showWhole(film) {
  const figures = [
    figure("video", film.side_by_side, { controls: true, preload: "metadata" }),
    figure("img", film.sheet, { alt: "", loading: "lazy" }),
  ].filter(Boolean);
  byId("whole").replaceChildren(...figures);
  byId("whole").hidden = !figures.length;
}

/**
 * A picture or a video above its caption; null where there is none.
 * @param {string} tag
 * @param {Captioned|null} captioned
 * @param {Object<string, any>} given
 */
function figure(tag, captioned, given) {
  if (!captioned) return null;
  const { address, caption } = captioned;
  const words = element("figcaption", { className: "quiet small" }, caption);
  return element("figure", {}, element(tag, { src: address, ...given }), words);
}

/** @param {number} index */
async function openFilm(index) {
  const film = content.films[index];
  state.film = film;
  const good = film.entries.flatMap((entry, place) => (entry.failed ? [] : [place]));
  const bad = film.entries.flatMap((entry, place) => (entry.failed ? [place] : []));
  state.chosen = [...good, ...bad, 0, 0].slice(0, 2);
  state.scores = null;
  state.missing = false;
  say("film-title", film.title);
  const facts = [
    film.name, film.size, `${grouped(film.frames)} frames`,
    film.rate ? `${Number(film.rate.toFixed(3))} frames/s` : "",
    film.shots.length > 1 ? `${grouped(film.shots.length)} shots` : "one shot",
    film.licence ?? "no licence is stated: keep its pictures to yourself",
  ];
  say("film-facts", facts.filter(Boolean).join(" · "));
  clock.begin(film.rate ?? 25, film.frames, film.video_start);
  stage.set(film, state.chosen);
  byId("moments").replaceChildren(...film.moments.map((moment) => element("li", {},
    element("button", { type: "button", onclick: () => clock.seek(moment.frame) },
      moment.label, element("span", { className: "quiet", textContent: ` ${grouped(moment.frame)}` })))));
  byId("moments-title").hidden = !film.moments.length;
  showWhole(film);
  showTables(content.across ? [...film.tables, content.across] : film.tables, choose);
  redraw();
  const scores = await loadScores(film);
  if (state.film !== film) return;
  state.scores = scores;
  state.missing = Boolean(film.scores) && !scores;
  redraw();
}

/** @param {number} frames */
const step = (frames) => clock.seek(clock.frame + frames);

/** The shot before or after. @param {number} by */
function leap(by) {
  const { shots } = state.film;
  const at = shotOf(state.film, clock.frame);
  const from = by < 0 && clock.frame > shots[at] ? at + 1 : at;
  clock.seek(shots[Math.max(0, Math.min(shots.length - 1, from + by))]);
}

function toggleDifference() {
  stage.difference = !stage.difference;
  byId("difference").setAttribute("aria-pressed", String(stage.difference));
  stage.update(clock.frame);
}

const help = () => byId("keys").showModal();

listen({
  " ": () => clock.toggle(),
  ",": () => step(-1),
  ".": () => step(1),
  ArrowLeft: (event) => step(event.shiftKey ? -10 : -1),
  ArrowRight: (event) => step(event.shiftKey ? 10 : 1),
  "[": () => leap(-1),
  "]": () => leap(1),
  Home: () => clock.seek(0),
  End: () => clock.seek(state.film.frames - 1),
  d: toggleDifference,
  "?": help,
});
for (const [id, action] of Object.entries({
  play: () => clock.toggle(),
  back: () => step(-1),
  on: () => step(1),
  first: () => clock.seek(0),
  last: () => clock.seek(state.film.frames - 1),
  difference: toggleDifference,
  help,
  "keys-close": () => byId("keys").close(),
})) byId(id).addEventListener("click", action);

fillChoices(byId("film"), content.films.map((film) => film.name), 0);
byId("film").addEventListener("change", () => openFilm(byId("film").selectedIndex));
fillChoices(byId("metric"), content.metrics.map((metric) => metric.label), 0);
byId("metric").addEventListener("change", () => {
  state.metric = byId("metric").selectedIndex;
  redraw();
});
new ResizeObserver(() => redraw()).observe(byId("plot"));
matchMedia("(prefers-color-scheme: dark)").addEventListener("change", () => redraw());
if (content.films.length) openFilm(0);
