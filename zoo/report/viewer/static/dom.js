// Elements and text. Text becomes a text node, never markup: names come from strangers.

/**
 * The element of the page with an identifier.
 * @param {string} id
 * @returns {any}
 */
const byId = (id) => document.getElementById(id);

/**
 * A new element with properties, `data` and `aria` attributes, and children.
 * @param {string} tag
 * @param {Object<string, any>} [given]
 * @param {...(Node|string)} children
 * @returns {any}
 */
function element(tag, given = {}, ...children) {
  const made = document.createElement(tag);
  for (const [name, value] of Object.entries(given)) {
    if (/^(aria-|data-|role$|scope$)/.test(name)) made.setAttribute(name, String(value));
    else made[name] = value;
  }
  made.append(...children);
  return made;
}

/**
 * Give an element its text where it has another: a click on text that is replaced meanwhile is lost.
 * @param {string} id
 * @param {string} text
 */
function say(id, text) {
  if (byId(id).textContent !== text) byId(id).textContent = text;
}

/**
 * Fill a list of choices.
 * @param {HTMLSelectElement} select
 * @param {string[]} labels
 * @param {number} chosen
 */
function fillChoices(select, labels, chosen) {
  select.replaceChildren(
    ...labels.map((text, index) => element("option", { value: String(index), text })),
  );
  select.selectedIndex = chosen;
}

/** @param {number} number */
const grouped = (number) => number.toLocaleString("en-US");

/**
 * A time code: `0:07.480`, `1:02:05.000`.
 * @param {number} seconds
 */
function timeCode(seconds) {
  const total = Math.max(0, Math.round(seconds * 1000));
  const two = (/** @type {number} */ n) => String(n).padStart(2, "0");
  const [hours, minutes] = [Math.floor(total / 3600000), Math.floor(total / 60000) % 60];
  const rest = `${two(Math.floor(total / 1000) % 60)}.${String(total % 1000).padStart(3, "0")}`;
  return hours ? `${hours}:${two(minutes)}:${rest}` : `${minutes}:${rest}`;
}

/**
 * A score with its metric's digits and unit; `n/a` where there is none.
 * @param {number|null|undefined} value
 * @param {Measure} metric
 */
function written(value, metric) {
  if (value === null || value === undefined) return "n/a";
  return value.toFixed(metric.digits) + (metric.unit ? `\u00a0${metric.unit}` : "");
}

/** @param {string} better */
const direction = (better) =>
  ({ higher: "higher is better", lower: "lower is better", one: "nearer to 1 is better" })[better];

/** @param {string} better */
const arrow = (better) => ({ higher: "↑", lower: "↓", one: "→1" })[better];

/** @param {string} name */
const themed = (name) => getComputedStyle(document.documentElement).getPropertyValue(name).trim();
