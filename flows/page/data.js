"use strict";
// What the page knows, and what a selection makes of it. Nothing here touches the document.

/** Unpack the data of the page: base64, gzip, then the lay-out that flows/page/__init__.py (_lay_out) tells. */
async function unpack(packed) {
  const characters = atob(packed);
  const bytes = new Uint8Array(characters.length);
  for (let index = 0; index < bytes.length; index++) bytes[index] = characters.charCodeAt(index);
  const stream = new Blob([bytes]).stream().pipeThrough(new DecompressionStream("gzip"));
  const buffer = await new Response(stream).arrayBuffer();
  const length = new DataView(buffer).getUint32(0, true);
  const data = JSON.parse(new TextDecoder().decode(new Uint8Array(buffer, 4, length)));
  const kinds = { 1: Uint8Array, 2: Uint16Array, 4: Uint32Array };
  for (const table of Object.values(data.tables)) {
    for (const [name, [place, width]] of Object.entries(table.columns)) {
      table.columns[name] = new kinds[width](buffer, 4 + length + place, table.rows);
    }
  }
  return data;
}

/** Days as YYYY-MM-DD, first to last. */
function listDays(first, last) {
  const days = [];
  for (let moment = Date.parse(first); moment <= Date.parse(last); moment += 86_400_000) {
    days.push(new Date(moment).toISOString().slice(0, 10));
  }
  return days;
}

/** Terms of a search: words, all of which must be found, or phrases in double quotes. In lower case. */
function readTerms(search) {
  return [...search.toLowerCase().matchAll(/"([^"]+)"?|[^\s"]+/g)].map((match) => match[1] ?? match[0]);
}

class Warehouse {
  constructor(data) {
    this.data = data;
    this.words = data.words;
    this.texts = data.texts;
    this.days = listDays(data.first_day, data.last_day);
    this.lines = new Map();
    this.searchable = null;
    this.ranks = {};
    this.reasons = null;
  }

  /**
   * The lines that the table can have at most, by table and grouping: the line of each row, and a row of each line.
   * They are the rows of the report: group, recipient domain, cause, class, reply; numbered in the order of these words.
   */
  findLines(what, grouping) {
    const name = `${what} ${grouping}`;
    if (this.lines.has(name)) return this.lines.get(name);
    const { rows, columns } = this.data.tables[what];
    const keys = new Float64Array(rows);
    for (const word of LINE_WORDS) {
      const values = columns[word === "group" ? grouping : word];
      if (!values) continue;
      const size = word === "text" ? this.texts.bounce_text.length : this.words[word === "group" ? grouping : word].length;
      for (let row = 0; row < rows; row++) keys[row] = keys[row] * size + values[row];
    }
    const lineOf = new Uint32Array(rows);
    const rowOf = new Uint32Array(rows);
    let count = 0;
    if (keys.every((key, row) => row === 0 || keys[row - 1] <= key)) {
      // the rows stand in the order of the lines, as those by From domain do
      for (let row = 0; row < rows; row++) {
        if (row === 0 || keys[row] !== keys[row - 1]) rowOf[count++] = row;
        lineOf[row] = count - 1;
      }
    } else {
      const lineOfKey = new Map();
      for (const key of keys.slice().sort()) if (!lineOfKey.has(key)) lineOfKey.set(key, count++);
      for (let row = 0; row < rows; row++) {
        lineOf[row] = lineOfKey.get(keys[row]);
        rowOf[lineOf[row]] = row;
      }
    }
    const found = { lineOf, rowOf: rowOf.slice(0, count) };
    this.lines.set(name, found);
    return found;
  }

  /** For each of a column's values: 1 where the term is in it. */
  match(values, term) {
    return Uint8Array.from(values, (value) => (value.includes(term) ? 1 : 0));
  }

  /** Give for each term of a search the columns and their values that it is found in. */
  findMatches(search, columns) {
    this.searchable ??= Object.fromEntries([
      ...["source_name", "campaign_id", "from_domain", "sending_ip", "recipient_domain", "provider", "cause"].map(
        (name) => [name, this.words[name].map((word) => word.toLowerCase())],
      ),
      [
        "text",
        this.texts.bounce_text.map((text, index) =>
          [text, this.texts.reason[index], this.texts.description[index], this.texts.sample_text[index]]
            .map((part) => part ?? "")
            .join("\n")
            .toLowerCase(),
        ),
      ],
    ]);
    return readTerms(search).map((term) =>
      Object.entries(this.searchable)
        .filter(([name]) => columns[name])
        .map(([name, values]) => [columns[name], this.match(values, term)])
        .filter(([, mask]) => mask.includes(1)),
    );
  }

  /** Give the rows of a table that the selection covers, as a list of their numbers. */
  choose(table, selection) {
    const { rows, columns } = this.data.tables[table];
    const first = this.days.indexOf(selection.from);
    const last = this.days.indexOf(selection.to);
    const masks = [];
    for (const name of ["campaign_id", "source_name", "recipient_domain", "provider"]) {
      if (selection[name].size) masks.push([columns[name], this.mask(name, selection[name])]);
    }
    if (columns.bounce_class && selection.class !== "all") {
      masks.push([columns.bounce_class, this.mask("bounce_class", new Set([selection.class]))]);
    }
    const matches = columns.text ? this.findMatches(selection.search, columns) : [];
    const chosen = new Uint32Array(rows);
    let count = 0;
    eachRow: for (let row = 0; row < rows; row++) {
      const day = columns.day[row];
      if (day < first || day > last) continue;
      for (let part = 0; part < masks.length; part++) if (!masks[part][1][masks[part][0][row]]) continue eachRow;
      eachTerm: for (let term = 0; term < matches.length; term++) {
        const places = matches[term];
        for (let place = 0; place < places.length; place++) if (places[place][1][places[place][0][row]]) continue eachTerm;
        continue eachRow;
      }
      chosen[count++] = row;
    }
    return chosen.subarray(0, count);
  }

  mask(name, wanted) {
    return Uint8Array.from(this.words[name], (word) => (wanted.has(word) ? 1 : 0));
  }

  /** All that the page shows of a selection. */
  look(selection) {
    const { columns } = this.data.tables[selection.what];
    const rows = this.choose(selection.what, selection);
    const { lineOf, rowOf } = this.findLines(selection.what, selection.grouping);
    const amounts = new Float64Array(rowOf.length);
    const reasonOf = this.findReasons();
    const byReason = reasonOf.names.map(() => null);
    const perText = new Float64Array(this.texts.bounce_text.length);
    const domains = new Uint8Array(this.words.recipient_domain.length);
    let total = 0;
    for (const row of rows) {
      const amount = columns.amount[row];
      amounts[lineOf[row]] += amount;
      perText[columns.text[row]] += amount;
      domains[columns.recipient_domain[row]] = 1;
      const byDay = (byReason[reasonOf.places[columns.text[row]]] ??= new Float64Array(this.days.length));
      byDay[columns.day[row]] += amount;
      total += amount;
    }
    return {
      total,
      largest: amounts.reduce((largest, amount) => Math.max(largest, amount), 0),
      amounts,
      lines: this.sort(selection, amounts),
      reasons: reasonOf.names.map((name, place) => ({ name, byDay: byReason[place] })).filter(({ byDay }) => byDay),
      perText,
      delivery: this.countDelivery(selection, domains),
      changes: this.findChanges(selection, perText),
      alerts: this.findAlerts(selection),
    };
  }

  /** The reasons, and for each reply which of them it has. */
  findReasons() {
    this.reasons ??= (() => {
      const names = [...new Set(this.texts.reason)];
      const places = new Map(names.map((name, place) => [name, place]));
      return {
        names: names.map((name) => name ?? NO_REASON),
        places: Uint16Array.from(this.texts.reason, (name) => places.get(name)),
      };
    })();
    return this.reasons;
  }

  /** A line of what was seen, for the table; words as numbers, the places in their lists. */
  describe(selection, { amounts, total }, line) {
    const { columns } = this.data.tables[selection.what];
    const row = this.findLines(selection.what, selection.grouping).rowOf[line];
    return {
      group: columns[selection.grouping][row],
      recipient_domain: columns.recipient_domain[row],
      cause: columns.cause?.[row],
      bounce_class: columns.bounce_class[row],
      text: columns.text[row],
      amount: amounts[line],
      share: amounts[line] / total,
    };
  }

  /** The lines with any amount, in the order that is asked for; where that leaves it open, in the order of the words. */
  sort({ what, grouping, sort: { field, dir } }, amounts) {
    const { columns } = this.data.tables[what];
    const { rowOf } = this.findLines(what, grouping);
    const values = columns[field === "group" ? grouping : field];
    const ranks = field === "reason" || field === "description" ? this.rankTexts(field) : null;
    const read = (line) => {
      if (ranks) return ranks[columns.text[rowOf[line]]];
      return field === "amount" || field === "share" ? amounts[line] : values[rowOf[line]];
    };
    // one number says it all, and numbers are sorted without asking back: the value, then the line. Exact up to 2 ** 53
    const count = amounts.length;
    const sign = dir === "asc" ? 1 : -1;
    const keys = new Float64Array(count);
    let found = 0;
    for (let line = 0; line < count; line++) if (amounts[line]) keys[found++] = sign * read(line) * count + line;
    const lines = new Uint32Array(found);
    const sorted = keys.subarray(0, found).sort();
    for (let place = 0; place < found; place++) lines[place] = ((sorted[place] % count) + count) % count;
    return lines;
  }

  /** For each reply the place of its reason or description among those of all, in the order of the alphabet. */
  rankTexts(name) {
    this.ranks[name] ??= (() => {
      const values = this.texts[name].map((value) => value ?? "");
      const collator = new Intl.Collator("en");
      const sorted = [...new Set(values)].sort(collator.compare);
      const places = new Map(sorted.map((value, place) => [value, place]));
      return Uint32Array.from(values, (value) => places.get(value));
    })();
    return this.ranks[name];
  }

  /** First attempts by provider, sending IP and day; a search leaves those at the recipient domains that it found. */
  countDelivery(selection, domains) {
    const { columns } = this.data.tables.delivery;
    const isSearch = readTerms(selection.search).length > 0;
    const count = () => ({ deferred: 0, attempts: 0 });
    const byProvider = this.words.provider.map(count);
    const byAddress = this.words.sending_ip.map(count);
    const all = count();
    for (const row of this.choose("delivery", selection)) {
      if (isSearch && !domains[columns.recipient_domain[row]]) continue;
      for (const each of [byProvider[columns.provider[row]], byAddress[columns.sending_ip[row]], all]) {
        each.deferred += columns.deferred[row];
        each.attempts += columns.attempts[row];
      }
    }
    return { provider: rank(this.words.provider, byProvider), sending_ip: rank(this.words.sending_ip, byAddress), all };
  }

  /** New and grown replies of the days, as far as the selection has any of them. */
  findChanges(selection, perText) {
    return this.findOfDays(this.data.changes, selection).filter((change) => perText[change.text]);
  }

  /** Alerts of the days; of providers those that are chosen. They are about all mail, whatever else is chosen. */
  findAlerts(selection) {
    return this.findOfDays(this.data.alerts ?? { day: [] }, selection).filter(
      ({ dimension, name }) => dimension !== "provider" || !selection.provider.size || selection.provider.has(name),
    );
  }

  /** The rows of a table of columns whose `day` is within the selection's, with that day spelled out. */
  findOfDays(table, selection) {
    const first = this.days.indexOf(selection.from);
    const last = this.days.indexOf(selection.to);
    const names = Object.keys(table);
    const found = [];
    for (let row = 0; row < table.day.length; row++) {
      if (table.day[row] < first || table.day[row] > last) continue;
      found.push(Object.fromEntries(names.map((name) => [name, name === "day" ? this.days[table.day[row]] : table[name][row]])));
    }
    return found;
  }
}

const NO_REASON = "no reply";
const LINE_WORDS = ["group", "recipient_domain", "cause", "bounce_class", "text"];

function rank(names, counts) {
  return names
    .map((name, index) => ({ name, ...counts[index] }))
    .filter((each) => each.attempts)
    .sort((one, other) => other.attempts - one.attempts || (one.name < other.name ? -1 : 1));
}

/** What is not seen but acts, spelled out, as flows/tables.py (show_plainly) does it. */
function showPlainly(text, keepsLines = false) {
  return text.replace(/[\p{Cc}\p{Cf}\p{Cn}\p{Co}\p{Cs}\p{Zl}\p{Zp}]/gu, (character) => {
    if (keepsLines && character === "\n") return character;
    const named = { "\t": "\\t", "\n": "\\n", "\r": "\\r" }[character];
    if (named) return named;
    const code = character.codePointAt(0).toString(16);
    if (code.length <= 2) return `\\x${code.padStart(2, "0")}`;
    return code.length <= 4 ? `\\u${code.padStart(4, "0")}` : `\\U${code.padStart(8, "0")}`;
  });
}
