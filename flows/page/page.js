"use strict";
// The page itself: what is chosen, kept in the address; what follows from it, shown.

const LISTS = ["campaign_id", "provider", "recipient_domain", "source_name"];
const IN_ADDRESS = { campaign_id: "campaign", provider: "provider", recipient_domain: "domain", source_name: "source" };
const DEFAULT_CLASS = { bounces: "soft", undeliveries: "all" };
const TITLES = { from_domain: "From domain", sending_ip: "Sending IP" };
const SHOWN_OPTIONS = 100;
const SHOWN_CHANGES = 100;
const PRINTED_ROWS = 100;
const PRINTED_WIDTH = 980; // pixels of a landscape sheet between its margins
const SEARCH_DELAY = 120; // milliseconds, while somebody types

const find = (id) => document.getElementById(id);

let warehouse;
let selection;
let seen;
let table;
const lists = {};

start().catch((error) => {
  find("problem").hidden = false;
  find("problem").textContent =
    typeof DecompressionStream === "undefined"
      ? "This browser is too old for the page: Chrome or Edge 123, Firefox 120 or Safari 17.5 are needed."
      : `The page cannot be shown: ${error.message}. If it was copied, copy it again, whole.`;
  throw error;
});

async function start() {
  setTheme(readTheme());
  warehouse = new Warehouse(await unpack(find("data").textContent));
  find("data").remove();
  describeMaking();
  for (const name of LISTS) lists[name] = makeList(name);
  for (const id of ["from", "to"]) [find(id).min, find(id).max] = [warehouse.days[0], warehouse.days.at(-1)];
  selection = readAddress();
  await makeTable();
  listen();
  showSelection();
  update();
  document.documentElement.dataset.ready = "";
  performance.mark("ready"); // bench/page.py reads it
}

// --- the selection, and its address

function chooseDefaults(what = "bounces") {
  return {
    what,
    class: DEFAULT_CLASS[what],
    grouping: "from_domain",
    from: warehouse.days[0],
    to: warehouse.days.at(-1),
    search: "",
    sort: { field: "amount", dir: "desc" },
    ...Object.fromEntries(LISTS.map((name) => [name, new Set()])),
  };
}

/** The selection of the address; of what it does not say, or what cannot be, the default. */
function readAddress() {
  const said = new URLSearchParams(location.hash.slice(1));
  const oneOf = (name, values, otherwise) => (values.includes(said.get(name)) ? said.get(name) : otherwise);
  const result = chooseDefaults(oneOf("count", ["bounces", "undeliveries"], "bounces"));
  result.class = oneOf("class", ["soft", "hard", "all"], result.class);
  result.grouping = oneOf("by", ["from_domain", "sending_ip"], result.grouping);
  result.from = oneOf("from", warehouse.days, result.from);
  result.to = oneOf("to", warehouse.days, result.to);
  if (result.from > result.to) [result.from, result.to] = [result.to, result.from];
  result.search = said.get("search") ?? "";
  for (const name of LISTS) result[name] = new Set(said.getAll(IN_ADDRESS[name]));
  const [field, dir] = (said.get("sort") ?? "").split(" ");
  if (SORTS.includes(field) && ["asc", "desc"].includes(dir)) result.sort = { field, dir };
  return result;
}

function writeAddress() {
  const usual = chooseDefaults(selection.what);
  const said = new URLSearchParams();
  if (selection.what !== "bounces") said.set("count", selection.what);
  if (selection.class !== usual.class) said.set("class", selection.class);
  if (selection.grouping !== usual.grouping) said.set("by", selection.grouping);
  for (const name of ["from", "to", "search"]) if (selection[name] !== usual[name]) said.set(name, selection[name]);
  for (const name of LISTS) for (const word of selection[name]) said.append(IN_ADDRESS[name], word);
  if (selection.sort.field !== "amount" || selection.sort.dir !== "desc") {
    said.set("sort", `${selection.sort.field} ${selection.sort.dir}`);
  }
  const address = String(said);
  if (address !== location.hash.slice(1)) {
    history.replaceState(null, "", address ? `#${address}` : location.href.split("#")[0]);
  }
}

/** Set the fields to the selection, as when an address or a button has changed it. */
function showSelection() {
  for (const name of ["what", "class", "grouping"]) {
    document.querySelector(`input[name="${name}"][value="${selection[name]}"]`).checked = true;
  }
  find("from").value = selection.from;
  find("to").value = selection.to;
  find("search").value = selection.search;
  for (const name of LISTS) {
    for (const word of selection[name]) lists[name].addOption(makeOption(name, word));
    lists[name].setValue([...selection[name]].map((word) => makeOption(name, word).value), true);
  }
}

function change(changes) {
  Object.assign(selection, changes);
  showSelection();
  update();
}

function listen() {
  find("selection").addEventListener("submit", (event) => event.preventDefault());
  for (const input of document.querySelectorAll("#selection input[type=radio]")) {
    input.addEventListener("change", () =>
      change(
        input.name === "what" ? { what: input.value, class: DEFAULT_CLASS[input.value] } : { [input.name]: input.value },
      ),
    );
  }
  for (const [id, other] of [["from", "to"], ["to", "from"]]) {
    find(id).addEventListener("change", () => {
      const day = find(id).value;
      if (!warehouse.days.includes(day)) return; // half typed, or not in the page
      const isPast = id === "from" ? day > selection.to : day < selection.from;
      change(isPast ? { [id]: day, [other]: day } : { [id]: day });
    });
    find(id).addEventListener("blur", () => (find(id).value = selection[id]));
  }
  for (const button of document.querySelectorAll("[data-days]")) {
    button.addEventListener("click", () => {
      const count = button.dataset.days === "all" ? warehouse.days.length : Number(button.dataset.days);
      change({ from: warehouse.days.at(-Math.min(count, warehouse.days.length)), to: warehouse.days.at(-1) });
    });
  }
  let waiting;
  find("search").addEventListener("input", () => {
    clearTimeout(waiting);
    waiting = setTimeout(() => {
      selection.search = find("search").value;
      update();
    }, SEARCH_DELAY);
  });
  find("reset").addEventListener("click", reset);
  find("skip").addEventListener("click", () => find("table-title").focus());
  find("copy").addEventListener("click", copyLink);
  find("print").addEventListener("click", () => window.print());
  find("theme").addEventListener("click", () => {
    setTheme(isDark() ? "light" : "dark");
    drawCharts();
  });
  matchMedia("(prefers-color-scheme: dark)").addEventListener("change", () => {
    setTheme(readTheme());
    drawCharts();
  });
  find("csv").addEventListener("click", downloadCsv);
  find("xlsx").addEventListener("click", downloadXlsx);
  window.addEventListener("hashchange", () => {
    selection = readAddress();
    showSelection();
    update();
  });
  window.addEventListener("beforeprint", () => {
    document.documentElement.dataset.print = ""; // paper is light
    drawCharts();
    fitCharts(PRINTED_WIDTH);
  });
  window.addEventListener("afterprint", () => {
    delete document.documentElement.dataset.print;
    drawCharts();
  });
  listenForReplies(document);
}

function reset() {
  selection = chooseDefaults();
  showSelection();
  update();
}

async function copyLink() {
  writeAddress();
  const button = find("copy");
  try {
    await navigator.clipboard.writeText(location.href);
    button.textContent = "Link copied";
  } catch {
    // no permission, or served without TLS: the address bar has it
    button.textContent = "Copy it from the address bar";
  }
  setTimeout(() => (button.textContent = "Copy link"), 3000);
}

// --- lists to choose several from

/** An option's value is a number, as it comes to stand in attributes and selectors; the word is only ever text. */
function makeOption(name, word) {
  const words = warehouse.words[name];
  let index = words.indexOf(word);
  if (index < 0) {
    // of an address that was copied elsewhere: it is shown, and selects nothing
    unknownWords[name] ??= [];
    if (!unknownWords[name].includes(word)) unknownWords[name].push(word);
    index = words.length + unknownWords[name].indexOf(word);
  }
  return { value: String(index), text: showPlainly(word) };
}
const unknownWords = {};

function makeList(name) {
  const words = warehouse.words[name];
  const amounts = new Float64Array(words.length);
  for (const what of ["bounces", "undeliveries"]) {
    const { columns, rows } = warehouse.data.tables[what];
    for (let row = 0; row < rows; row++) amounts[columns[name][row]] += columns.amount[row];
  }
  const ranked = Array.from(words.keys()).sort((one, other) => amounts[other] - amounts[one] || one - other);
  const lower = words.map((word) => word.toLowerCase());
  const render = (option) => {
    const element = document.createElement("div");
    element.textContent = option.text;
    return element;
  };
  find(name).ariaHidden = "true"; // what takes its place has the label
  return new TomSelect(find(name), {
    options: ranked.slice(0, SHOWN_OPTIONS).map((index) => makeOption(name, words[index])),
    plugins: ["remove_button"],
    maxOptions: SHOWN_OPTIONS,
    placeholder: "All",
    hidePlaceholder: true,
    closeAfterSelect: false,
    highlight: false,
    refreshThrottle: 50,
    loadThrottle: 50,
    shouldLoad: (query) => words.length > SHOWN_OPTIONS && query.length > 0,
    load(query, give) {
      const sought = query.toLowerCase();
      const found = ranked.filter((index) => lower[index].includes(sought)).slice(0, SHOWN_OPTIONS);
      give(found.map((index) => makeOption(name, words[index])));
    },
    render: {
      option: render,
      item: render,
      no_results: () => render({ text: "Nothing of that name" }),
      loading: () => render({ text: "…" }),
    },
    onChange(values) {
      const all = [...words, ...(unknownWords[name] ?? [])];
      selection[name] = new Set(values.map((value) => all[Number(value)]));
      update();
    },
  });
}

// --- what is shown

function update() {
  seen = warehouse.look(selection);
  writeAddress();
  showTotals();
  showTable();
  showAlerts();
  showChanges();
  drawCharts();
}

function nameSubject() {
  return selection.class === "all" ? selection.what : `${selection.class} ${selection.what}`;
}

function describePeriod() {
  return selection.from === selection.to ? `on ${selection.from}` : `from ${selection.from} to ${selection.to}`;
}

function describeLists() {
  return LISTS.filter((name) => selection[name].size).map((name) => {
    const words = [...selection[name]].map((word) => showPlainly(word));
    const label = { campaign_id: "campaign", source_name: "source", provider: "provider", recipient_domain: "receiving domain" }[name];
    return words.length > 3 ? `${words.length} ${label}s` : `${label} ${words.join(" or ")}`;
  });
}

function showTotals() {
  const amount = document.createElement("strong");
  amount.textContent = formatNumber(seen.total);
  const { deferred, attempts } = seen.delivery.all;
  const rate = attempts ? ` ${formatShare(deferred / attempts)} of first attempts were deferred.` : "";
  const search = selection.search.trim() ? [`with ${showPlainly(selection.search.trim())}`] : [];
  const where = [...describeLists(), ...search];
  find("totals").replaceChildren(
    amount,
    `${nameSubject()} ${describePeriod()}, ${where.length ? where.join(", ") : "all campaigns"}, in ${formatNumber(seen.lines.length)} rows.${rate}`,
  );
}

function describeMaking() {
  const { publication, first_day, last_day } = warehouse.data;
  const parts = [
    `Data through ${publication.data_through_at_utc ? `${publication.data_through_at_utc.slice(0, 19)} UTC` : "– (no data yet)"}`,
    `${first_day} to ${last_day}`,
    `rules ${publication.rule_set_version ?? "–"}`,
    `policy ${publication.suppression_policy ?? "–"}`,
    `bouncehouse ${publication.bouncehouse_version}`,
  ];
  find("made").replaceChildren(
    ...parts.map((part) => {
      const span = document.createElement("span");
      span.textContent = showPlainly(part);
      return span;
    }),
  );
}

function drawCharts() {
  drawReasons(seen, warehouse.days, selection.from, selection.to, nameSubject());
  drawRates("provider-rate", seen.delivery.provider, "Provider");
  drawRates("ip-rate", seen.delivery.sending_ip, "Sending IP");
  find("reasons-title").textContent = `${nameSubject()[0].toUpperCase()}${nameSubject().slice(1)} by day and reason`;
  find("delivery-hint").textContent =
    `Deferred, of all first attempts${
      selection.search.trim() ? " at the receiving domains that the search finds" : ""
    }; whatever class is chosen.`;
}

const METRICS = {
  hard_bounce_rate: "Hard bounces, of what was accepted or refused",
  complaint_rate: "Complaints, of what was accepted",
  deferral_growth: "Deferred first attempts, at several times the usual",
  reply_growth: "A reply, at several times its usual",
};
const DIMENSIONS = { from_domain: "From domain", sending_ip: "Sending IP", provider: "Provider", bounce_text: "Reply" };

function showAlerts() {
  find("alerts-panel").hidden = !warehouse.data.alerts;
  fillRows("alerts", seen.alerts, [4, 5, 6], (each) => [
    each.day,
    makeBadge(each.level),
    METRICS[each.metric] ?? showPlainly(each.metric),
    `${DIMENSIONS[each.dimension] ?? each.dimension} ${showPlainly(each.name)}`,
    `${formatNumber(each.amount)} of ${formatNumber(each.volume)}`,
    formatShare(each.rate),
    each.usual === null ? "–" : formatShare(each.usual),
  ]);
  const left = seen.alerts.length - SHOWN_CHANGES;
  find("alerts-hint").textContent = seen.alerts.length
    ? `${left > 0 ? `${formatNumber(left)} more before. ` : ""}Judged by day and over all mail, whatever class, campaign, domain, source or search is chosen.`
    : "No threshold was crossed on these days.";
}

function makeBadge(word) {
  const badge = document.createElement("span");
  badge.className = `badge ${["new", "grown", "critical", "warning", "notice"].includes(word) ? word : ""}`;
  badge.textContent = showPlainly(word);
  return badge;
}

/** Fill a table of the page with the first of the rows: `make` gives a row's cells, as text or elements. */
function fillRows(id, all, numbers, make) {
  const rows = all.slice(0, SHOWN_CHANGES).map((each) => {
    const row = document.createElement("tr");
    row.append(
      ...make(each).map((content, index) => {
        const cell = document.createElement("td");
        if (numbers.includes(index)) cell.className = "number";
        cell.append(content);
        return cell;
      }),
    );
    return row;
  });
  find(id).hidden = rows.length === 0;
  find(id).tBodies[0].replaceChildren(...rows);
}

function showChanges() {
  fillRows("changes", seen.changes, [3, 4], (each) => {
    const look = document.createElement("button");
    look.type = "button";
    look.textContent = "Look";
    look.setAttribute("aria-label", `Search for ${nameReply(each.text)}`);
    look.addEventListener("click", () => {
      change({ search: `"${(warehouse.texts.bounce_text[each.text] ?? "").replaceAll('"', "")}"` });
      find("table-title").focus();
    });
    return [
      each.day,
      makeBadge(each.change),
      makeReply(each.text),
      formatNumber(each.amount),
      each.change === "new" ? "–" : formatUsual(each.usual),
      each.previous_day ?? "never",
      look,
    ];
  });
  const left = seen.changes.length - SHOWN_CHANGES;
  find("changes-hint").textContent = seen.changes.length
    ? `${left > 0 ? `${formatNumber(left)} more before. ` : ""}Counted over all bounces with the reply, hard and soft, of every campaign.`
    : "No reply of this selection was new, or at ten times its usual.";
}

function formatUsual(usual) {
  return usual >= 10 ? formatNumber(Math.round(usual)) : usual.toFixed(1);
}

// --- the table

const SORTS = ["group", "recipient_domain", "cause", "bounce_class", "text", "reason", "description", "amount", "share"];
const BLOCK_ROWS = 500;

function nameReply(text) {
  const reply = warehouse.texts.bounce_text[text];
  return reply === null ? "(no reply)" : showPlainly(reply);
}

/** A reply that shows its whole original to whoever points at it or reaches it by keyboard. */
function makeReply(text) {
  const span = document.createElement("span");
  span.className = "reply clamp";
  span.textContent = nameReply(text);
  if (warehouse.texts.bounce_text[text] !== null) {
    span.tabIndex = 0;
    span.dataset.text = text;
  }
  return span;
}

function makeText(content, className = "clamp") {
  const span = document.createElement("span");
  span.className = className;
  span.textContent = showPlainly(content ?? "");
  return span;
}

function makeColumns() {
  const word = (name) => (cell) => makeText(warehouse.words[name][cell.getValue()]);
  const ofText = (name) => (cell) => makeText(warehouse.texts[name][cell.getData().text]);
  const common = { headerSortStartingDir: "asc", resizable: true, headerSortTristate: false };
  const columns = [
    { field: "group", title: TITLES[selection.grouping], formatter: word(selection.grouping), minWidth: 120, widthGrow: 1.3 },
    { field: "recipient_domain", title: "Receiving domain", formatter: word("recipient_domain"), minWidth: 130, widthGrow: 1.3 },
  ];
  if (selection.what === "undeliveries") {
    columns.push({ field: "cause", title: "Cause", formatter: word("cause"), minWidth: 110, widthGrow: 1 });
  }
  if (selection.class === "all") {
    columns.push({ field: "bounce_class", title: "Class", formatter: word("bounce_class"), width: 80 });
  }
  columns.push(
    { field: "text", title: "Reply (masked)", formatter: (cell) => makeReply(cell.getValue()), minWidth: 240, widthGrow: 4 },
    { field: "reason", title: "Reason", formatter: ofText("reason"), minWidth: 120, widthGrow: 1 },
    { field: "description", title: "Description", formatter: ofText("description"), minWidth: 200, widthGrow: 3 },
    { field: "amount", title: "Amount", formatter: (cell) => makeText(formatNumber(cell.getValue()), "amount"), hozAlign: "right", headerHozAlign: "right", headerSortStartingDir: "desc", width: 100 },
    { field: "share", title: "Share", formatter: showShare, hozAlign: "right", headerHozAlign: "right", headerSortStartingDir: "desc", width: 90 },
  );
  return columns.map((column) => ({ ...common, ...column }));
}

function showShare(cell) {
  const span = makeText(formatShare(cell.getValue()), "share");
  span.style.setProperty("--filled", `${(cell.getValue() * seen.total * 100) / seen.largest}%`);
  return span;
}

/** What decides which columns there are. */
let columnsShown = "";
const describeColumns = () => [selection.what, selection.grouping, selection.class === "all"].join();

/** The table asks for its rows in blocks, as it is scrolled, and for another order: both are given from memory. */
function makeTable() {
  columnsShown = describeColumns();
  return new Promise((resolve) => {
    table = new Tabulator("#table", {
      columns: makeColumns(),
      layout: "fitColumns",
      maxHeight: "75vh",
      rowHeight: 48,
      sortMode: "remote",
      progressiveLoad: "scroll",
      paginationSize: BLOCK_ROWS,
      dataLoader: false,
      ajaxURL: "memory",
      ajaxRequestFunc: giveRows,
      placeholder: makePlaceholder,
      printAsHtml: true,
      printRowRange: () => table.getRows("active").slice(0, PRINTED_ROWS),
      printStyled: false,
      rowFormatter: (row) => row.getElement().setAttribute("aria-rowindex", row.getPosition() + 1),
    });
    table.on("tableBuilt", () => {
      find("table").setAttribute("aria-labelledby", "table-title");
      resolve();
    });
  });
}

async function giveRows(_, __, { page, size }) {
  if (!seen) return { data: [], last_page: 1 };
  const [sorter] = table.getSorters();
  if (sorter && (sorter.field !== selection.sort.field || sorter.dir !== selection.sort.dir)) {
    selection.sort = { field: sorter.field, dir: sorter.dir };
    seen.lines = warehouse.sort(selection, seen.amounts);
    writeAddress();
  }
  const block = Array.from(seen.lines.subarray((page - 1) * size, page * size));
  return {
    data: block.map((line) => warehouse.describe(selection, seen, line)),
    last_page: Math.ceil(seen.lines.length / size) || 1,
  };
}

function makePlaceholder() {
  const said = document.createElement("span");
  said.textContent = warehouse.data.tables[selection.what].rows
    ? `No ${nameSubject()} ${describePeriod()} with this selection. Choose less, or press Reset.`
    : `No ${selection.what} at all from ${warehouse.data.first_day} to ${warehouse.data.last_day}.`;
  return said;
}

function showTable() {
  if (columnsShown !== describeColumns()) {
    columnsShown = describeColumns();
    table.setColumns(makeColumns());
    if (!table.getColumn(selection.sort.field)) selection.sort = chooseDefaults().sort;
  }
  const [current] = table.getSorters();
  if (current?.field === selection.sort.field && current.dir === selection.sort.dir) table.setData();
  else table.setSort(selection.sort.field, selection.sort.dir);
  find("table").setAttribute("aria-rowcount", seen.lines.length + 1);
  for (const header of document.querySelectorAll("#table .tabulator-col.tabulator-sortable")) header.tabIndex = 0;
  const left = seen.lines.length - PRINTED_ROWS;
  find("printed").textContent = left > 0 ? `The first ${PRINTED_ROWS} rows; ${formatNumber(left)} more are in the downloads.` : "";
  hideWhole();
}

// --- the whole original, for pointer and keyboard

let hiding;

function listenForReplies(within) {
  const reply = (event) => (event.target instanceof Element ? event.target.closest(".reply[data-text]") : null);
  const isWhole = (event) => event.target instanceof Element && event.target.closest("#whole");
  within.addEventListener("mouseover", (event) => {
    if (isWhole(event)) clearTimeout(hiding);
    else if (reply(event)) showWhole(reply(event));
  });
  within.addEventListener("mouseout", (event) => {
    // a moment to move the pointer over what it shows
    if (reply(event) || isWhole(event)) hiding = setTimeout(hideWhole, 150);
  });
  within.addEventListener("focusin", (event) => (reply(event) ? showWhole(reply(event)) : hideWhole()));
  within.addEventListener("focusout", (event) => {
    if (reply(event)) hideWhole();
  });
  window.addEventListener(
    "scroll",
    (event) => {
      if (event.target === find("whole") || find("whole").hidden) return;
      const shown = document.querySelector("[aria-describedby=whole]");
      // what has the focus was perhaps scrolled to for it; what was only pointed at is gone from under the pointer
      if (shown && shown === document.activeElement) placeWhole(shown);
      else hideWhole();
    },
    true,
  );
  within.addEventListener("keydown", (event) => {
    if (event.key === "Escape") hideWhole();
    if (event.target instanceof Element && event.target.matches("#table .tabulator-col") && [" ", "Enter"].includes(event.key)) {
      event.preventDefault();
      event.target.click();
    }
    if (reply(event) && ["ArrowDown", "ArrowUp"].includes(event.key) && event.target.closest("#table")) {
      event.preventDefault();
      moveFocus(event.target, event.key === "ArrowDown");
    }
  });
}

async function moveFocus(from, isDown) {
  const row = table.getRow(from.closest(".tabulator-row"));
  const next = isDown ? row.getNextRow() : row.getPrevRow();
  if (!next) return;
  await table.scrollToRow(next, "nearest", false);
  next.getElement().querySelector(".reply")?.focus();
}

function showWhole(reply) {
  clearTimeout(hiding);
  const { texts } = warehouse;
  const text = Number(reply.dataset.text);
  find("whole-text").textContent = showPlainly(texts.sample_text[text] ?? texts.bounce_text[text], true);
  find("whole-description").textContent = showPlainly(texts.description[text] ?? "–");
  document.querySelector("[aria-describedby=whole]")?.removeAttribute("aria-describedby");
  reply.setAttribute("aria-describedby", "whole");
  find("whole").hidden = false;
  placeWhole(reply);
}

/** Put the whole original below its reply, or above it where there is no room. */
function placeWhole(reply) {
  const whole = find("whole");
  const at = reply.getBoundingClientRect();
  const size = whole.getBoundingClientRect();
  const isBelow = at.bottom + size.height + 12 < innerHeight || at.top < size.height + 12;
  whole.style.left = `${Math.max(12, Math.min(at.left, innerWidth - size.width - 12))}px`;
  whole.style.top = `${isBelow ? Math.min(at.bottom + 4, innerHeight - size.height - 4) : at.top - size.height - 4}px`;
}

function hideWhole() {
  clearTimeout(hiding);
  document.querySelector("[aria-describedby=whole]")?.removeAttribute("aria-describedby");
  find("whole").hidden = true;
}

// --- downloads: all rows of the selection, in the order of the table, named like the columns of `bouncehouse report`

const FILE_COLUMNS = {
  group: { width: 24 },
  recipient_domain: { width: 24 },
  cause: { width: 18 },
  bounce_class: { width: 12 },
  bounce_text: { width: 60 },
  description: { width: 50 },
  reason: { width: 20 },
  amount: { width: 12, format: "#,##0" },
  share: { width: 10, format: "0.0%" },
  sample_message: { width: 60 },
};

function collectFile() {
  const { words, texts } = warehouse;
  const columns = Object.entries(FILE_COLUMNS)
    .filter(([name]) => name !== "cause" || selection.what === "undeliveries")
    .map(([name, column]) => ({ ...column, key: name, name: name === "group" ? selection.grouping : name }));
  const read = {
    group: (line) => words[selection.grouping][line.group],
    recipient_domain: (line) => words.recipient_domain[line.recipient_domain],
    cause: (line) => words.cause[line.cause],
    bounce_class: (line) => {
      const word = words.bounce_class[line.bounce_class];
      return word === warehouse.data.no_class ? null : word;
    },
    bounce_text: (line) => texts.bounce_text[line.text],
    description: (line) => texts.description[line.text],
    reason: (line) => texts.reason[line.text],
    amount: (line) => line.amount,
    share: (line) => line.share,
    sample_message: (line) => texts.sample_text[line.text] ?? texts.bounce_text[line.text],
  };
  const rows = Array.from(seen.lines, (line) => {
    const described = warehouse.describe(selection, seen, line);
    return columns.map(({ key }) => read[key](described));
  });
  const parts = [selection.what, selection.class, "by", selection.grouping, selection.from, selection.to];
  return { columns, rows, name: parts.join("_") };
}

function downloadCsv() {
  const { columns, rows, name } = collectFile();
  save(writeCsv(columns.map((column) => column.name), rows), `${name}.csv`);
}

async function downloadXlsx() {
  const button = find("xlsx");
  button.disabled = true;
  button.textContent = "Writing …";
  try {
    const { columns, rows, name } = collectFile();
    const { publication } = warehouse.data;
    const info = [
      ["report", selection.what],
      ["first_day", selection.from],
      ["last_day", selection.to],
      ["time_zone", "UTC"],
      ...LISTS.map((list) => [IN_ADDRESS[list], selection[list].size ? [...selection[list]].join(", ") : "all"]),
      ["group_by", selection.grouping],
      ["class", selection.class],
      ["search", selection.search || "none"],
      ["amount", seen.total],
      ["rows", seen.lines.length],
      ...Object.entries(publication),
    ];
    save(await writeXlsx(selection.what === "bounces" ? "Bounces" : "Undeliveries", columns, rows, info), `${name}.xlsx`);
  } finally {
    button.disabled = false;
    button.textContent = "Download XLSX";
  }
}

// --- light and dark

function readTheme() {
  try {
    const kept = localStorage.getItem("bouncehouse-theme");
    if (kept === "light" || kept === "dark") return kept;
  } catch {
    // a page from disk may not be allowed to keep anything
  }
  return null;
}

function isDark() {
  return (document.documentElement.dataset.theme ?? (matchMedia("(prefers-color-scheme: dark)").matches ? "dark" : "light")) === "dark";
}

function setTheme(theme) {
  if (theme) {
    document.documentElement.dataset.theme = theme;
    try {
      localStorage.setItem("bouncehouse-theme", theme);
    } catch {
      // it holds until the page is closed
    }
  }
  find("theme").textContent = isDark() ? "Light" : "Dark";
  find("theme").setAttribute("aria-label", isDark() ? "Switch to light" : "Switch to dark");
}
