"use strict";
// The charts, each with its figures as a table, for who cannot see or wants to copy them.

const SHOWN_REASONS = 8;
const SHOWN_BARS = 12;

// Of Okabe and Ito, Color Universal Design (2008), and Tableau: told apart by who confuses red and green, on light and dark
const COLOURS = ["#0072b2", "#e69f00", "#009e73", "#cc79a7", "#56b4e9", "#d55e00", "#b5a800", "#8a6fc0"];
const OTHER_COLOUR = "#8c8c8c";
const BAR_COLOUR = "#2f84c4";

const drawn = {};

/** Make or change the chart in a canvas: `describe` is what a screen reader says of it. */
function draw(id, { type, data, options }, describe) {
  const canvas = document.getElementById(id);
  canvas.setAttribute("aria-label", describe);
  const styles = getComputedStyle(canvas);
  Chart.defaults.color = styles.color;
  Chart.defaults.borderColor = styles.borderTopColor;
  Chart.defaults.font.family = styles.fontFamily;
  drawn[id]?.destroy();
  drawn[id] = new Chart(canvas, {
    type,
    data,
    options: { animation: false, maintainAspectRatio: false, responsive: true, ...options },
  });
}

/** Make the charts as wide as paper is, in place of as the window is: two of them stand side by side. */
function fitCharts(width) {
  for (const [id, chart] of Object.entries(drawn)) chart.resize(id === "reasons" ? width : width / 2 - 10, chart.height);
}

/** Fill a table of figures, or once it is opened: cells are text only. */
function offerFigures(id, headers, makeRows) {
  const details = document.getElementById(id).closest("details");
  details.ontoggle = () => details.open && fillFigures(id, headers, makeRows());
  details.ontoggle();
}

function fillFigures(id, headers, rows) {
  const table = document.getElementById(id);
  const make = (kind, value) => {
    const cell = document.createElement(kind);
    cell.textContent = typeof value === "number" ? formatNumber(value) : value;
    if (typeof value === "number") cell.className = "number";
    return cell;
  };
  const head = document.createElement("tr");
  for (const header of headers) {
    const cell = make("th", header);
    cell.scope = "col";
    head.append(cell);
  }
  const lines = rows.map((row) => {
    const line = document.createElement("tr");
    line.append(...row.map((value, index) => make(index ? "td" : "th", value)));
    line.firstChild.scope = "row";
    return line;
  });
  table.tHead.replaceChildren(head);
  table.tBodies[0].replaceChildren(...lines);
}

/** Amounts by day, in bars of the reasons with most, the others in one. */
function drawReasons(seen, days, from, to, subject) {
  const first = days.indexOf(from);
  const shownDays = days.slice(first, days.indexOf(to) + 1);
  const ranked = seen.reasons
    .map(({ name, byDay }) => ({ name, byDay, total: byDay.reduce((sum, amount) => sum + amount, 0) }))
    .sort((one, other) => other.total - one.total || (one.name < other.name ? -1 : 1));
  const shown = ranked.slice(0, ranked.length > SHOWN_REASONS + 1 ? SHOWN_REASONS : SHOWN_REASONS + 1);
  const others = ranked.slice(shown.length);
  if (others.length) {
    const byDay = days.map((_, day) => others.reduce((sum, other) => sum + other.byDay[day], 0));
    shown.push({ name: `${others.length} other reasons`, byDay, total: others.reduce((sum, other) => sum + other.total, 0) });
  }
  const nameReason = (name) => showPlainly(name.replaceAll("_", " "));
  draw(
    "reasons",
    {
      type: "bar",
      data: {
        labels: shownDays,
        datasets: shown.map(({ name, byDay }, index) => ({
          label: nameReason(name),
          data: Array.from(byDay.slice(first, first + shownDays.length)),
          backgroundColor: COLOURS[index] ?? OTHER_COLOUR,
          stack: "all",
          categoryPercentage: 0.9,
          barPercentage: 1,
        })),
      },
      options: {
        interaction: { mode: "index", intersect: false },
        scales: {
          x: { stacked: true, grid: { display: false }, ticks: { maxRotation: 0, autoSkipPadding: 12 } },
          y: { stacked: true, beginAtZero: true, ticks: { precision: 0, callback: (value) => formatNumber(value) } },
        },
        plugins: {
          legend: { position: "bottom", labels: { boxWidth: 12, boxHeight: 12 } },
          tooltip: { filter: (item) => item.raw > 0, itemSort: (one, other) => other.raw - one.raw },
        },
      },
    },
    ranked.length
      ? `Bar chart: ${subject} by day and reason, ${from} to ${to}. Most: ${shown
          .slice(0, 3)
          .map(({ name, total }) => `${nameReason(name)} ${formatNumber(total)}`)
          .join(", ")}. The figures are in the table below.`
      : "Bar chart without bars: the selection is empty.",
  );
  offerFigures("reasons-figures", ["Day", ...shown.map(({ name }) => nameReason(name)), "All"], () =>
    shownDays.map((day, index) => {
      const amounts = shown.map(({ byDay }) => byDay[first + index]);
      return [day, ...amounts, amounts.reduce((sum, amount) => sum + amount, 0)];
    }),
  );
}

/** Share of first attempts that were deferred, of those with most first attempts. */
function drawRates(id, ranked, label) {
  const shown = ranked.slice(0, SHOWN_BARS);
  const rates = shown.map(({ deferred, attempts }) => deferred / attempts);
  const canvas = document.getElementById(id);
  canvas.parentElement.style.height = `${Math.max(shown.length, 2) * 26 + 44}px`;
  draw(
    id,
    {
      type: "bar",
      data: {
        labels: shown.map(({ name }) => shorten(showPlainly(name), 28)),
        datasets: [{ data: rates, backgroundColor: BAR_COLOUR, maxBarThickness: 18 }],
      },
      options: {
        indexAxis: "y",
        scales: {
          x: { beginAtZero: true, ticks: { callback: (value) => formatShare(value), maxTicksLimit: 6 } },
          y: { grid: { display: false }, ticks: { autoSkip: false } },
        },
        plugins: {
          legend: { display: false },
          tooltip: {
            callbacks: {
              title: ([item]) => showPlainly(shown[item.dataIndex].name),
              label: ({ dataIndex }) => {
                const { deferred, attempts } = shown[dataIndex];
                return `${formatShare(deferred / attempts)}: ${formatNumber(deferred)} of ${formatNumber(attempts)}`;
              },
            },
          },
        },
      },
    },
    shown.length
      ? `Bar chart: first-attempt deferral rate by ${label}. ${shown
          .slice(0, 3)
          .map(({ name }, index) => `${showPlainly(name)} ${formatShare(rates[index])}`)
          .join(", ")}. The figures are in the table below.`
      : "Bar chart without bars: the selection has no first attempts.",
  );
  offerFigures(`${id}-figures`, [label, "First attempts", "Deferred", "Rate"], () =>
    ranked.map(({ name, deferred, attempts }) => [showPlainly(name), attempts, deferred, formatShare(deferred / attempts)]),
  );
  const left = ranked.length - shown.length;
  document.getElementById(`${id}-more`).textContent = left ? `${formatNumber(left)} more with fewer first attempts.` : "";
}

function shorten(text, length) {
  return text.length > length ? `${text.slice(0, length - 1)}…` : text;
}

const numberFormat = new Intl.NumberFormat("en-US");
function formatNumber(value) {
  return numberFormat.format(value);
}

/** Per cent, with a digit behind the point below 10%, and never 0 of what is more than nothing. */
function formatShare(share) {
  if (share > 0 && share < 0.001) return "<0.1%";
  return `${(share * 100).toFixed(share < 0.0995 && share > 0 ? 1 : 0)}%`;
}
