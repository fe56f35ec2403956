// Downloads: text, JSON, a table, a searchable PDF.

import { asJpeg } from "./pictures.js";
import { searchable } from "./pdf.js";

/** The paragraphs, or the nonempty lines in PaddleOCR's order; pages are separated by an empty line. */
export function text(pages) {
  const each = pages.map(({ text, lines }) => text ?? lines.map((line) => line.text).filter(Boolean).join("\n"));
  return each.filter(Boolean).join("\n\n");
}

/** The server's JSON response without images. */
export function json(pages, last) {
  const ocrResults = pages.map(({ found }) => ({ prunedResult: found }));
  const { logId, errorCode, errorMsg, dataInfo } = last;
  return JSON.stringify({ logId, errorCode, errorMsg, result: { ocrResults, dataInfo } }, null, 2);
}

const FORMULA = /^(?:[\t\r\n]|\s*[=+\-@＝＋－＠])/; // full-width signs: spreadsheets of East Asian locales take them too

/** A text as a cell of a spreadsheet, never a formula; quoted as in RFC 4180. */
function cell(text) {
  const shown = FORMULA.test(text) ? `'${text}` : text;
  return /["\t\r\n]/.test(shown) ? `"${shown.replaceAll('"', '""')}"` : shown;
}

/** A table with one row per text line. */
export function tsv(pages) {
  const rows = pages.flatMap((page) => page.lines.map((line, at) => {
    const [xs, ys] = [0, 1].map((axis) => line.quad.map((point) => point[axis]));
    const [left, top] = [Math.min(...xs), Math.min(...ys)];
    const size = [Math.max(...xs) - left, Math.max(...ys) - top];
    return [page.number, at + 1, left, top, ...size, line.score, cell(line.text)];
  }));
  const head = ["page", "line", "left", "top", "width", "height", "score", "text"];
  return [head, ...rows].map((row) => `${row.join("\t")}\n`).join("");
}

/** A PDF with the images and an invisible text layer. */
export async function pdf(pages) {
  const made = [];
  for (const { image, jpeg, width, height, lines } of pages) {
    const bytes = new Uint8Array(await (jpeg ?? (await asJpeg(image))).arrayBuffer());
    made.push({ jpeg: bytes, width, height, lines });
  }
  return searchable(made);
}

export function download(content, type, name) {
  const link = document.createElement("a");
  link.href = URL.createObjectURL(new Blob([content], { type }));
  link.download = name;
  link.click();
  setTimeout(() => URL.revokeObjectURL(link.href), 60_000);
}
