"use strict";
(function () {
  const table = document.getElementById("keys");
  if (!table) return;
  const body = table.tBodies[0];
  const rows = Array.from(body.rows);
  const words = document.getElementById("words");
  const level = document.getElementById("level");
  const whole = document.getElementById("whole");
  const count = document.getElementById("count");
  const text = rows.map((row) => row.textContent.toLowerCase());
  function filter() {
    const wanted = words.value.toLowerCase().split(/\s+/).filter(Boolean);
    let shown = 0;
    rows.forEach((row, index) => {
      const fits = wanted.every((word) => text[index].includes(word))
        && Number(row.dataset.level) >= Number(level.value)
        && (!whole.checked || row.dataset.whole === "1");
      row.hidden = !fits;
      if (fits) shown += 1;
    });
    count.textContent = shown + " of " + rows.length + " keys";
  }
  function sort(column, head) {
    const down = head.getAttribute("aria-sort") === "ascending";
    const key = (row) => {
      const cell = row.cells[column];
      return cell.dataset.sort === undefined ? cell.textContent : cell.dataset.sort;
    };
    const order = new Intl.Collator(undefined, { numeric: true });
    const sorted = rows.map((row, index) => [key(row), index, row]);
    sorted.sort((a, b) => (order.compare(a[0], b[0]) || a[1] - b[1]) * (down ? -1 : 1));
    for (const other of table.tHead.rows[0].cells) other.removeAttribute("aria-sort");
    head.setAttribute("aria-sort", down ? "descending" : "ascending");
    sorted.forEach((entry) => body.appendChild(entry[2]));
  }
  Array.from(table.tHead.rows[0].cells).forEach((head, column) => {
    const button = document.createElement("button");
    button.type = "button";
    button.textContent = head.textContent;
    head.textContent = "";
    head.appendChild(button);
    button.addEventListener("click", () => sort(column, head));
  });
  [words, level, whole].forEach((input) => input.addEventListener("input", filter));
  document.getElementById("tools").hidden = false;
  filter();
})();
