// Keys: those that a focused control has a use for stay its own.

/**
 * @param {Object<string, (event: KeyboardEvent) => void>} actions by key
 */
function listen(actions) {
  document.addEventListener("keydown", (event) => {
    if (event.ctrlKey || event.metaKey || event.altKey || byId("keys").open) return;
    const target = /** @type {HTMLElement} */ (event.target);
    if (target.tagName === "SELECT") return;
    if (target.closest("button, a") && (event.key === " " || event.key === "Enter")) return;
    // A table that is wider than its place is scrolled by arrows.
    if (target.closest(".scroller") && /^Arrow|^Home$|^End$/.test(event.key)) return;
    const action = actions[event.key.length === 1 ? event.key.toLowerCase() : event.key];
    if (!action) return;
    event.preventDefault();
    action(event);
  });
}
