// The view of one page: its image with boxes, and the list of its lines, linked with each other.

import { piece } from "./pictures.js";

const SVG = "http://www.w3.org/2000/svg";
/** As in page.css. */
const WIDE = matchMedia("(min-width: 48.01rem)");

/** The lines of the server's result as records. */
export function linesOf(found) {
  const boxes = found.dt_polys.map((quad) => JSON.stringify(quad));
  let from = 0;
  return found.rec_texts.map((text, at) => {
    // Both lists are in reading order; lines below the score threshold are only in the first.
    const box = boxes.indexOf(JSON.stringify(found.rec_polys[at]), from);
    from = box + 1;
    const turned = found.textline_orientation_angles?.[box] === 1;
    return { text, score: found.rec_scores[at], quad: found.rec_polys[at], box, boxScore: found.dt_scores?.[box], turned };
  });
}

/** Create an element with properties and children; strings become text nodes. */
export function element(name, properties = {}, ...children) {
  const made = Object.assign(document.createElement(name), properties);
  made.append(...children);
  return made;
}

function polygon(quad, properties) {
  const made = document.createElementNS(SVG, "polygon");
  made.setAttribute("points", quad.map((point) => point.join(",")).join(" "));
  made.classList.add(...properties);
  return made;
}

/** The lines, the picture and the size of a page: `page` is {number, found, lines, image, width, height, note}. */
export class PageView {
  constructor(page) {
    this.page = page;
    const id = `page-${page.number}`;
    this.svg = document.createElementNS(SVG, "svg");
    this.svg.setAttribute("aria-hidden", "true");
    this.svg.setAttribute("preserveAspectRatio", "none");
    this.tip = element("p", { className: "tip", hidden: true });
    this.list = element("ul", { className: "lines" });
    this.list.setAttribute("role", "listbox");
    this.list.setAttribute("aria-label", `Lines of page ${page.number}; arrow keys go from one to the next`);

    page.image.alt = `Page ${page.number}`;
    const read = new Set(page.lines.map((line) => line.box));
    this.svg.append(...page.found.dt_polys.filter((_, box) => !read.has(box)).map((quad) => polygon(quad, ["left"])));
    page.lines.forEach((line, at) => this.#add(line, at));

    const heading = element("h2", { id, textContent: `Page ${page.number}` });
    const note = element("p", { className: "note", textContent: this.#note() });
    this.section = element("section", { className: "page" },
      element("header", {}, heading, note),
      element("div", { className: "both" }, element("figure", {}, page.image, this.svg, this.tip), this.list));
    this.section.setAttribute("aria-labelledby", id);
    this.list.hidden = !page.lines.length;
    this.list.addEventListener("keydown", (event) => this.#key(event));
    this.resize(page.width, page.height);
  }

  /** Set the extent of the coordinates, which is known only after the last page has arrived. */
  resize(width, height) {
    Object.assign(this.page, { width, height });
    this.svg.setAttribute("viewBox", `0 0 ${width} ${height}`);
  }

  /** Mark the lines with a score below a limit. */
  mark(limit) {
    this.page.lines.forEach((line, at) => {
      for (const mark of [this.list.children[at], line.polygon]) mark.classList.toggle("low", line.score < limit);
    });
  }

  #note() {
    const { lines, found, note } = this.page;
    const left = found.dt_polys.length - lines.length;
    const count = lines.length === 1 ? "1 line" : `${lines.length || "no"} lines`;
    const dropped = left ? `${left} more detected, dropped because of their score` : "";
    return [count, dropped, note].filter(Boolean).join("; ");
  }

  #add(line, at) {
    line.polygon = polygon(line.quad, ["box"]);
    line.item = element("li", { tabIndex: at ? -1 : 0 },
      element("span", { className: "text", textContent: line.text, dir: "auto" }),
      element("span", { className: "score", textContent: line.score.toFixed(3) }));
    line.item.setAttribute("role", "option");
    line.item.setAttribute("aria-selected", "false");
    this.svg.append(line.polygon);
    this.list.append(line.item);
    for (const part of [line.polygon, line.item]) {
      part.addEventListener("pointerenter", () => this.#show(line));
      part.addEventListener("pointerleave", () => this.#show(this.focused));
    }
    line.polygon.addEventListener("click", () => line.item.focus({ preventScroll: true }));
    line.item.addEventListener("focus", () => this.#focus(line));
    line.item.addEventListener("blur", () => this.#blur(line));
  }

  #focus(line) {
    this.focused = line;
    for (const item of this.list.children) item.tabIndex = item === line.item ? 0 : -1;
    line.item.setAttribute("aria-selected", "true");
    this.#show(line);
    const { image, width } = this.page;
    const canvas = piece(image, line.quad, image.naturalWidth / width);
    canvas.setAttribute("aria-hidden", "true");
    line.item.append(canvas);
    // Scroll only if both are side by side; otherwise the pointed-at element would move.
    if (WIDE.matches) for (const part of [line.polygon, line.item]) part.scrollIntoView({ block: "nearest" });
  }

  #blur(line) {
    this.focused = null;
    line.item.setAttribute("aria-selected", "false");
    line.item.querySelector("canvas").remove();
    this.#show(null);
  }

  /** Highlight a line in the image and the list, and show its tooltip; null: none. */
  #show(line) {
    for (const part of this.section.querySelectorAll(".chosen")) part.classList.remove("chosen");
    this.tip.hidden = !line;
    if (!line) return;
    line.polygon.classList.add("chosen");
    line.item.classList.add("chosen");
    const facts = [`score ${line.score.toFixed(3)}`];
    if (line.boxScore !== undefined) facts.push(`box ${line.boxScore.toFixed(3)}`);
    if (line.turned) facts.push("read upside down");
    this.tip.replaceChildren(line.text || "nothing read", element("small", { textContent: facts.join(", ") }));
    this.#place(line.quad);
  }

  /** Place the tooltip below its box, or above if there is no space, within the image. */
  #place(quad) {
    const { width, height } = this.page;
    const [w, h] = [this.svg.clientWidth, this.svg.clientHeight];
    const [xs, ys] = [quad.map(([x]) => (x / width) * w), quad.map(([, y]) => (y / height) * h)];
    const below = Math.max(...ys) + 6;
    const above = Math.min(...ys) - 6 - this.tip.offsetHeight;
    this.tip.style.top = `${below + this.tip.offsetHeight > h && above >= 0 ? above : below}px`;
    this.tip.style.left = "0";
    this.tip.style.left = `${Math.max(0, Math.min(Math.min(...xs), w - this.tip.offsetWidth))}px`;
  }

  #key(event) {
    const items = [...this.list.children];
    const at = items.indexOf(document.activeElement);
    const to = { ArrowDown: at + 1, ArrowUp: at - 1, Home: 0, End: items.length - 1 }[event.key];
    if (items[to]) {
      event.preventDefault();
      items[to].focus();
    }
  }
}
