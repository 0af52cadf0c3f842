// The tables: sorted by a heading at a click or a key, what has no number always last.

/** Compares names as people order them. */
const byName = new Intl.Collator("en", { numeric: true });

class SortedTable {
  /**
   * @param {Grid} grid
   * @param {((letter: string, entry: number) => void)|null} choose puts a row beside the film
   */
  constructor(grid, choose) {
    this.grid = grid;
    this.body = element("tbody");
    this.heads = [
      this.heading(["row"], null, -1),
      ...grid.columns.map((column, index) => this.heading(column.heading, column.better, index)),
    ];
    this.rows = grid.rows.map((row) => ({ row, line: this.line(row, choose) }));
    this.table = element("table", { className: "grid" },
      element("caption", { textContent: grid.caption }),
      element("thead", {}, element("tr", {}, ...this.heads)), this.body);
    this.body.replaceChildren(...this.rows.map(({ line }) => line));
  }

  /**
   * @param {string[]} text
   * @param {string|null} better
   * @param {number} index
   */
  heading(text, better, index) {
    const lines = text.filter(Boolean).map((line) => element("span", { textContent: line }));
    if (better) lines.at(-1).append(` ${arrow(better)}`);
    const button = element("button",
      { type: "button", className: "sort", title: better ? direction(better) : "" }, ...lines);
    const head = element("th", { scope: "col", className: index < 0 ? "" : "number", "aria-sort": "none" }, button);
    button.addEventListener("click", () => this.sort(head, index, better));
    return head;
  }

  /**
   * @param {GridRow} row
   * @param {((letter: string, entry: number) => void)|null} choose
   */
  line(row, choose) {
    const name = element("th", { scope: "row" }, element("span", { className: "row-name", textContent: row.name }));
    const entry = row.entry;
    if (choose && entry !== null) {
      const buttons = ["A", "B"].map((letter) => element("button", {
        type: "button",
        className: "put",
        textContent: letter,
        "data-letter": letter,
        "data-entry": entry,
        "aria-label": `Show ${row.name} as model ${letter}`,
        onclick: () => choose(letter, entry),
      }));
      name.prepend(element("span", { className: "puts" }, ...buttons));
    }
    if (row.note) name.append(element("span", { className: "row-note", textContent: row.note }));
    return element("tr", {}, name, ...row.cells.map((cell) =>
      element("td", { className: cell.best ? "number best" : "number", textContent: cell.text })));
  }

  /**
   * @param {HTMLElement} head
   * @param {number} index
   * @param {string|null} better
   */
  sort(head, index, better) {
    const before = head.getAttribute("aria-sort");
    // At first the best stands first, and names and costs from the smallest on.
    const first = better === "higher" ? "descending" : "ascending";
    const other = first === "ascending" ? "descending" : "ascending";
    const order = before === first ? other : first;
    for (const each of this.heads) each.setAttribute("aria-sort", each === head ? order : "none");
    const sign = order === "ascending" ? 1 : -1;
    const value = (/** @type {GridRow} */ row) => row.cells[index]?.value ?? null;
    this.rows.sort(({ row: one }, { row: two }) => {
      if (index < 0) return sign * byName.compare(one.name, two.name);
      const [a, b] = [value(one), value(two)];
      if (a === null || b === null) return Number(a === null) - Number(b === null);
      return sign * (a - b);
    });
    this.body.replaceChildren(...this.rows.map(({ line }) => line));
  }
}

/**
 * Put tables on the page.
 * @param {Grid[]} grids
 * @param {(letter: string, entry: number) => void} choose
 */
function showTables(grids, choose) {
  byId("tables").replaceChildren(...grids.flatMap((grid) => [
    element("div", { className: "scroller", role: "region", tabIndex: 0, "aria-label": grid.caption },
      new SortedTable(grid, choose).table),
    ...grid.notes.map((text) => element("p", { className: "quiet small", textContent: text })),
  ]));
}

/**
 * Press the buttons of the rows that stand beside the film.
 * @param {number[]} chosen
 */
function pressChosen(chosen) {
  for (const button of document.querySelectorAll("button.put")) {
    const letter = button.getAttribute("data-letter") ?? "";
    const own = chosen["AB".indexOf(letter)] === Number(button.getAttribute("data-entry"));
    button.setAttribute("aria-pressed", String(own));
  }
}
