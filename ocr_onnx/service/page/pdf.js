// A searchable PDF: each page is its image with an invisible text layer in position.
//
// The text uses a font with one glyph, a square, which defines the extent of characters. The font's ToUnicode map defines the
// characters for search and copy. PDF requires that a font with such codes is embedded (ISO 32000-1, 9.7.5.2).

/** Points for a pixel: 144 pixels an inch, as the server renders PDFs by default. */
const POINTS = 0.5;
/** The longest side of a page that viewers agree on, in points. */
const LONGEST = 14_400;
/** A box this many times as high as wide holds a line that runs from top to bottom; recognition turns it by this too. */
const VERTICAL = 1.5;
/** Units of the font's square; every character is this wide and high. */
const EM = 1000;
/** How far the square reaches below the line that characters stand on. */
const DESCENT = 200;
const TOP = EM - DESCENT;
/** Entries that a CMap takes in one block. */
const BLOCK = 100;

const fixed = (number) => +number.toFixed(4);
const hex = (number, digits = 4) => number.toString(16).toUpperCase().padStart(digits, "0");
const utf16 = (text) => [...Array(text.length).keys()].map((at) => hex(text.charCodeAt(at))).join("");

/** A PDF, as a Blob, of pages {jpeg: Uint8Array, width, height, lines: [{text, quad, turned}]}; quads are in pixels. */
export function searchable(pages) {
  const file = new Writer();
  const codes = new Map();
  const kids = pages.map((page) => addPage(file, page, codes));
  addFont(file, codes);
  file.object(CATALOG, `<< /Type /Catalog /Pages ${PAGES} 0 R >>`);
  file.object(PAGES, `<< /Type /Pages /Count ${kids.length} /Kids [${kids.map((id) => `${id} 0 R`).join(" ")}] >>`);
  return file.end();
}

const [CATALOG, PAGES, FONT, DESCENDANT, DESCRIPTOR, PROGRAM, UNICODE, GLYPHS] = [1, 2, 3, 4, 5, 6, 7, 8];

class Writer {
  #parts = [];
  #length = 0;
  #places = [];
  #last = GLYPHS;

  constructor() {
    this.#write("%PDF-1.7\n%\u00e2\u00e3\u00cf\u00d3\n");
  }

  next() {
    this.#last += 1;
    return this.#last;
  }

  object(id, content) {
    this.#places[id] = this.#length;
    this.#write(`${id} 0 obj\n`, content, "\nendobj\n");
  }

  stream(id, content, entries = "") {
    this.#places[id] = this.#length;
    this.#write(`${id} 0 obj\n<< ${entries} /Length ${content.length} >>\nstream\n`, content, "\nendstream\nendobj\n");
  }

  end() {
    const start = this.#length;
    const rows = this.#places.slice(1).map((place) => `${String(place).padStart(10, "0")} 00000 n \n`);
    const count = rows.length + 1;
    this.#write(`xref\n0 ${count}\n0000000000 65535 f \n`, ...rows);
    this.#write(`trailer\n<< /Size ${count} /Root ${CATALOG} 0 R >>\nstartxref\n${start}\n%%EOF\n`);
    return new Blob(this.#parts, { type: "application/pdf" });
  }

  /** Bytes, or text of which each character is a byte. */
  #write(...contents) {
    for (const content of contents) {
      const bytes = typeof content === "string" ? Uint8Array.from(content, (c) => c.charCodeAt(0)) : content;
      this.#parts.push(bytes);
      this.#length += bytes.length;
    }
  }
}

function addPage(file, { jpeg, width, height, lines }, codes) {
  const points = Math.min(POINTS, LONGEST / Math.max(width, height));
  const [w, h] = [fixed(width * points), fixed(height * points)];
  const [page, content, picture] = [file.next(), file.next(), file.next()];
  const texts = lines.filter((line) => line.text).map((line) => set(line, points, h, codes));
  const [across, down] = jpegSize(jpeg);
  file.object(page, `<< /Type /Page /Parent ${PAGES} 0 R /MediaBox [0 0 ${w} ${h}] /Contents ${content} 0 R
/Resources << /XObject << /P ${picture} 0 R >> /Font << /F ${FONT} 0 R >> >> >>`);
  file.stream(content, `q ${w} 0 0 ${h} 0 0 cm /P Do Q\nBT 3 Tr\n${texts.join("\n")}\nET`);
  file.stream(picture, jpeg, `/Type /XObject /Subtype /Image /Width ${across} /Height ${down}
/ColorSpace /DeviceRGB /BitsPerComponent 8 /Filter /DCTDecode`);
  return page;
}

/** One line of text, stretched along its box. */
function set({ text, quad, turned }, points, height, codes) {
  const [start, end, foot] = corners(quad, turned);
  const along = [end[0] - start[0], end[1] - start[1]];
  const length = Math.hypot(...along) || 1;
  const size = Math.hypot(foot[0] - start[0], foot[1] - start[1]) || 1;
  const [cosine, sine] = along.map((part) => part / length);
  const [x, y] = foot.map((part, axis) => part + ((start[axis] - part) * DESCENT) / EM);
  const characters = [...text];
  const shown = characters.map((character) => hex(code(codes, character))).join("");
  const matrix = [cosine, -sine, sine, cosine, x * points, height - y * points].map(fixed).join(" ");
  const stretch = fixed((100 * length) / (characters.length * size));
  return `/F ${fixed(size * points)} Tf ${stretch} Tz ${matrix} Tm <${shown}> Tj`;
}

/** A box's corners at the start of its text, at its end, and below its start. */
function corners(quad, turned) {
  const [p, q] = [quad[1], quad.at(-1)].map((to) => Math.hypot(to[0] - quad[0][0], to[1] - quad[0][1]));
  const first = (q >= VERTICAL * p ? 1 : 0) + (turned ? 2 : 0);
  return [0, 1, 3].map((step) => quad[(first + step) % quad.length]);
}

function code(codes, character) {
  if (!codes.has(character)) codes.set(character, codes.size + 1);
  return codes.get(character);
}

function addFont(file, codes) {
  file.object(FONT, `<< /Type /Font /Subtype /Type0 /BaseFont /Square /Encoding /Identity-H
/DescendantFonts [${DESCENDANT} 0 R] /ToUnicode ${UNICODE} 0 R >>`);
  file.object(DESCENDANT, `<< /Type /Font /Subtype /CIDFontType2 /BaseFont /Square /DW ${EM} /FontDescriptor ${DESCRIPTOR} 0 R
/CIDSystemInfo << /Registry (Adobe) /Ordering (Identity) /Supplement 0 >> /CIDToGIDMap ${GLYPHS} 0 R >>`);
  file.object(DESCRIPTOR, `<< /Type /FontDescriptor /FontName /Square /Flags 4 /FontBBox [0 ${-DESCENT} ${EM} ${TOP}] /ItalicAngle 0
/Ascent ${TOP} /Descent ${-DESCENT} /CapHeight ${TOP} /StemV 80 /FontFile2 ${PROGRAM} 0 R >>`);
  const font = squareFont();
  file.stream(PROGRAM, font, `/Length1 ${font.length}`);
  file.stream(UNICODE, unicodeMap([...codes]));
  file.stream(GLYPHS, new Uint8Array(2 * (codes.size + 1)));
}

function unicodeMap(entries) {
  const blocks = [];
  for (let at = 0; at < entries.length; at += BLOCK) {
    const rows = entries.slice(at, at + BLOCK).map(([character, number]) => `<${hex(number)}> <${utf16(character)}>`);
    blocks.push(`${rows.length} beginbfchar\n${rows.join("\n")}\nendbfchar`);
  }
  return `/CIDInit /ProcSet findresource begin
12 dict begin
begincmap
/CIDSystemInfo << /Registry (Adobe) /Ordering (UCS) /Supplement 0 >> def
/CMapName /Adobe-Identity-UCS def
/CMapType 2 def
1 begincodespacerange
<0000> <FFFF>
endcodespacerange
${blocks.join("\n")}
endcmap
CMapName currentdict /CMap defineresource pop
end
end`;
}

/** A TrueType font of one square, written as 16-bit words; the layout is that of the OpenType specification. */
function squareFont() {
  const tables = {
    glyf: [1, 0, -DESCENT, EM, TOP, 3, 0, 0x0101, 0x0101, 0, EM, 0, -EM, -DESCENT, 0, EM, 0],
    head: [1, 0, 1, 0, 0, 0, 0x5f0f, 0x3cf5, 0, EM, 0, 0, 0, 0, 0, 0, 0, 0, 0, -DESCENT, EM, TOP, 0, 8, 2, 0, 0],
    hhea: [1, 0, TOP, -DESCENT, 0, EM, 0, 0, EM, 1, 0, 0, 0, 0, 0, 0, 0, 1],
    hmtx: [EM, 0],
    loca: [0, 17],
    maxp: [1, 0, 1, 4, 1, 0, 0, 1, 0, 0, 0, 0, 0, 0, 0, 0],
  };
  const names = Object.keys(tables);
  const header = [1, 0, names.length, 64, 2, 32];
  let place = 12 + 16 * names.length;
  const body = [];
  for (const name of names) {
    const words = tables[name];
    const length = 2 * words.length;
    if (words.length % 2) words.push(0);
    const sum = words.reduce((total, word, at) => (total + (word & 0xffff) * (at % 2 ? 1 : 0x10000)) % 2 ** 32, 0);
    header.push(...[0, 2].map((at) => name.charCodeAt(at) * 256 + name.charCodeAt(at + 1)));
    header.push(...[sum, place, length].flatMap((number) => [Math.floor(number / 0x10000), number % 0x10000]));
    body.push(...words);
    place += 2 * words.length;
  }
  return Uint8Array.from([...header, ...body].flatMap((word) => [word >> 8, word & 255]));
}

/** Width and height in the frame header of a JPEG. */
function jpegSize(bytes) {
  let at = 2;
  while (at + 9 < bytes.length) {
    const marker = bytes[at + 1];
    // Frame headers are C0 to CF, less tables (C4, CC) and C8.
    if (marker >= 0xc0 && marker <= 0xcf && ![0xc4, 0xc8, 0xcc].includes(marker)) {
      return [bytes[at + 7] * 256 + bytes[at + 8], bytes[at + 5] * 256 + bytes[at + 6]];
    }
    at += 2 + bytes[at + 2] * 256 + bytes[at + 3];
  }
  throw new Error("no frame header in a JPEG");
}
