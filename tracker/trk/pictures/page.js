"use strict";
// Sorting of tables, one run's lines alone, and what the lines say under the pointer or by the arrow keys.
(() => {
  const each = (where, what, how) => where.querySelectorAll(what).forEach(how);

  // ---- tables whose heads have buttons
  const value = (row, column) => {
    const cell = row.cells[column];
    if (cell.dataset.v === "") return null;
    return cell.dataset.v === undefined ? cell.textContent.trim().toLowerCase() : Number(cell.dataset.v);
  };
  const sort = (head) => {
    const down = head.getAttribute("aria-sort") === (head.dataset.first === "descending" ? "ascending" : "descending")
      ? head.dataset.first === "descending" : head.getAttribute("aria-sort") ? head.getAttribute("aria-sort") === "ascending"
      : head.dataset.first === "descending";
    const body = head.closest("table").tBodies[0];
    const rows = [...body.rows].map((row) => [value(row, head.cellIndex), row]);
    rows.sort(([a], [b]) => {
      if (a === null || b === null) return (a === null) - (b === null); // what is missing is last, either way
      const order = typeof a === "number" && typeof b === "number" ? a - b : String(a).localeCompare(String(b));
      return down ? -order : order;
    });
    each(head.parentNode, "th", (other) => other.removeAttribute("aria-sort"));
    head.setAttribute("aria-sort", down ? "descending" : "ascending");
    body.append(...rows.map(([, row]) => row));
  };
  each(document, "th button", (button) => button.addEventListener("click", () => sort(button.closest("th"))));

  // ---- one run alone
  let pressed = null;
  const alone = (run) => {
    document.body.classList.toggle("alone", run !== null);
    each(document, ".on", (part) => part.classList.remove("on"));
    if (run !== null) each(document, `svg [data-run="${run}"]`, (part) => part.classList.add("on"));
  };
  each(document, ".legend button", (button) => {
    const run = button.dataset.run;
    button.addEventListener("click", () => {
      pressed = pressed === run ? null : run;
      each(document, ".legend button", (other) => other.setAttribute("aria-pressed", String(other.dataset.run === pressed)));
      alone(pressed);
    });
    button.addEventListener("pointerenter", (event) => event.pointerType === "mouse" && alone(run));
    button.addEventListener("pointerleave", () => alone(pressed));
  });

  // ---- what lines say
  const tip = document.createElement("div");
  tip.className = "tip";
  tip.hidden = true;
  tip.setAttribute("role", "status");
  document.body.append(tip);

  const scale = (words) => {
    const [from, to, low, high, log] = words.split(" ").map(Number);
    const at = (place) => {
      const share = (place - from) / (to - from);
      return log ? Math.pow(10, Math.log10(low) + share * Math.log10(high / low)) : low + share * (high - low);
    };
    // A place is known to a tenth of a unit: no more digits than that are told.
    const tell = (place) => {
      const number = at(place);
      const grain = Math.abs(at(place + 0.1) - number);
      const digits = Math.ceil(Math.log10(Math.abs(number) / grain || 1));
      return Number(number.toPrecision(Math.min(9, Math.max(2, digits)))).toString();
    };
    return { at, tell, grain: Math.abs(high - low) / Math.abs(to - from) / 10 };
  };
  const across = {
    step: (x, place) => {
      const step = x.at(place);
      return `step ${x.grain < 0.5 ? Math.round(step) : x.tell(place)}`;
    },
    time: (x, place) => new Date(x.at(place)).toISOString().slice(0, 19).replace("T", " ") + " UTC",
    relative: (x, place) => `${x.tell(place)} s`,
  };
  const points = (path) =>
    (path.dataset.points ??= (path.getAttribute("d").match(/-?[\d.]+ -?[\d.]+/g) || []).join(";"))
      .split(";").filter(Boolean).map((pair) => pair.split(" ").map(Number));

  each(document, "svg.chart[data-x]", (chart) => {
    const x = scale(chart.dataset.x), y = scale(chart.dataset.y);
    let lines = null, cursor = null, places = [], at = -1;
    const load = () => {
      if (lines) return;
      lines = [...chart.querySelectorAll("path[data-run]")].map((path) => [path, points(path)]);
      places = [...new Set(lines.flatMap(([, some]) => some.map(([px]) => px)))].sort((a, b) => a - b);
      cursor = document.createElementNS("http://www.w3.org/2000/svg", "line");
      cursor.setAttribute("class", "cursor");
      chart.append(cursor);
    };
    const nearest = (some, place) => some.reduce((best, one) =>
      (best === null || Math.abs(one[0] - place) < Math.abs(best[0] - place) ? one : best), null);
    const show = (place, left, top) => {
      const near = nearest(places.map((one) => [one]), place);
      if (!near) return;
      const [px] = near;
      at = places.indexOf(px);
      for (const [name, end] of [["x1", px], ["x2", px], ["y1", chart.dataset.y.split(" ")[1]], ["y2", chart.dataset.y.split(" ")[0]]])
        cursor.setAttribute(name, end);
      const reach = Math.max(2, (places.at(-1) - places[0]) / 100);
      const said = lines.map(([path, some]) => [path, nearest(some, px)])
        .filter(([path, one]) => one && Math.abs(one[0] - px) <= reach && (pressed === null || path.dataset.run === pressed))
        .sort((a, b) => a[1][1] - b[1][1]).slice(0, 12).map(([path, one]) => `${path.dataset.label}: ${y.tell(one[1])}`);
      tip.textContent = [across[chart.dataset.kind](x, px), ...said].join("\n");
      tip.hidden = false;
      const box = tip.getBoundingClientRect();
      tip.style.left = `${Math.max(4, Math.min(left + 14, innerWidth - box.width - 4))}px`;
      tip.style.top = `${Math.max(4, Math.min(top + 14, innerHeight - box.height - 4))}px`;
      cursor.style.display = "";
    };
    const hide = () => {
      tip.hidden = true;
      if (cursor) cursor.style.display = "none";
    };
    const point = (event) => {
      load();
      const box = chart.getBoundingClientRect();
      show((event.clientX - box.left) * chart.viewBox.baseVal.width / box.width, event.clientX, event.clientY);
    };
    chart.addEventListener("pointermove", point);
    chart.addEventListener("pointerdown", point);
    chart.addEventListener("pointerleave", hide);
    chart.addEventListener("blur", hide);
    chart.addEventListener("keydown", (event) => {
      const by = { ArrowLeft: -1, ArrowRight: 1 }[event.key];
      if (event.key === "Escape") hide();
      if (!by) return;
      event.preventDefault();
      load();
      if (!places.length) return;
      at = at < 0 ? (by > 0 ? 0 : places.length - 1) : Math.max(0, Math.min(places.length - 1, at + by));
      const box = chart.getBoundingClientRect();
      show(places[at], box.left + places[at] * box.width / chart.viewBox.baseVal.width, box.top + box.height / 2);
    });
  });
})();
