"use strict";
// Files of what the table shows: CSV and XLSX. The rules of what is safe are those of flows/exports/csv_file.py.

const SPACES = "[\\s\\p{Z}\\p{C}]*";
const SIGNS = "[=+@\\uFF1D\\uFF0B\\uFF0D\\uFF20-]";
const ACTS_AT_START = new RegExp(`^(${SPACES}${SIGNS}|[ \\n\\p{Z}\\p{Cf}]*[\\t\\r])`, "u");
const ACTS_INSIDE = new RegExp(`([;\\t\\r\\n]${SPACES})(${SIGNS})`, "gu");

const CELL_UNITS = 32_767;
const SHEET_ROWS = 1_048_575;
const CUT_MARK = " … [cut]";

/** Text that a spreadsheet does not take for a formula. */
function disarm(value) {
  return typeof value === "string" ? value.replace(ACTS_INSIDE, "$1'$2").replace(ACTS_AT_START, "'$1") : value;
}

function writeField(value) {
  const text = value === null ? "" : String(disarm(value));
  return /[",\r\n]/.test(text) ? `"${text.replaceAll('"', '""')}"` : text;
}

/** RFC 4180 for spreadsheets: byte order mark, CRLF, quotes only where needed, nothing for null. */
function writeCsv(names, rows) {
  const lines = [names, ...rows].map((row) => row.map(writeField).join(","));
  return new Blob(["\ufeff", lines.join("\r\n"), "\r\n"], { type: "text/csv;charset=utf-8" });
}

/** Text as a cell holds it: cut where it is too long, with what XML cannot hold written as Excel writes it. */
function makeCellText(text) {
  const cut = text.length <= CELL_UNITS ? text : `${text.slice(0, CELL_UNITS - CUT_MARK.length).toWellFormed()}${CUT_MARK}`;
  return cut
    .replace(/_x[0-9A-Fa-f]{4}_/g, (match) => `_x005F${match}`)
    .replace(/[\x00-\x08\x0B-\x1F\uFFFE\uFFFF]/g, (character) =>
      `_x${character.charCodeAt(0).toString(16).toUpperCase().padStart(4, "0")}_`,
    );
}

function makeCell(value, format) {
  if (value === null) return null;
  if (typeof value === "number") return { type: Number, value, format };
  return { type: String, value: makeCellText(String(value)) };
}

/** A workbook: the rows, on further sheets where one is full, and `Info`. `columns` have name, width and format. */
async function writeXlsx(title, columns, rows, info) {
  const bold = (value) => ({ type: String, value, fontWeight: "bold" });
  const sheets = [];
  for (let start = 0; start === 0 || start < rows.length; start += SHEET_ROWS) {
    sheets.push({
      sheet: start ? `${title} ${start / SHEET_ROWS + 1}` : title,
      columns: columns.map(({ width }) => ({ width })),
      stickyRowsCount: 1,
      data: [
        columns.map(({ name }) => bold(name)),
        ...rows
          .slice(start, start + SHEET_ROWS)
          .map((row) => row.map((value, index) => makeCell(value, columns[index].format))),
      ],
    });
  }
  sheets.push({
    sheet: "Info",
    columns: [{ width: 24 }, { width: 60 }],
    data: info.map(([name, value]) => [bold(name), makeCell(value, "#,##0")]),
  });
  return writeXlsxFile(sheets).toBlob();
}

function save(blob, name) {
  const link = document.createElement("a");
  link.href = URL.createObjectURL(blob);
  link.download = name;
  link.click();
  setTimeout(() => URL.revokeObjectURL(link.href), 60_000);
}
