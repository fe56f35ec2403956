// The page: sends a file to the server and shows the result of each page.

import { ServiceError, ask, converted, jpeg } from "./wire.js";
import { load, rightPanel, turned, turnedSize } from "./pictures.js";
import { PageView, linesOf } from "./view.js";
import * as take from "./take.js";

const KEY = "ocr-onnx-key";
const $ = (id) => document.getElementById(id);

/** The file, its pages, and the AbortController of the request. */
const state = { file: null, views: [], last: {}, reading: null };

const pages = () => state.views.map((view) => view.page);
const count = (number, noun) => `${number} ${noun}${number === 1 ? "" : "s"}`;
const say = (text) => { $("status").textContent = text; };
const complain = (text) => { $("error").textContent = text; };

function begin(file) {
  state.file = file;
  $("again").disabled = false;
  read();
}

/** Send the file, and show each page when it arrives. */
async function read() {
  if (!$("ask").reportValidity()) return;
  state.reading?.abort();
  const reading = new AbortController();
  state.reading = reading;
  clear();
  busy(true);
  say(`Reading ${state.file.name}`);
  const start = performance.now();
  try {
    const local = await load(state.file);
    await readWith(local, Boolean(local) && fields().useDocUnwarping !== "true", reading.signal);
    const lines = pages().reduce((sum, page) => sum + page.lines.length, 0);
    const seconds = ((performance.now() - start) / 1000).toFixed(1);
    say(`${state.file.name}: ${count(lines, "line")} on ${count(state.views.length, "page")}, in ${seconds} s`);
  } catch (error) {
    if (state.reading === reading) failed(error);
  } finally {
    done(reading);
  }
}

function done(reading) {
  if (state.reading === reading) {
    state.reading = null;
    busy(false);
  }
}

/** `own`: show the browser's image, so that the server need not send one. */
async function readWith(local, own, signal) {
  const sent = { ...fields(), visualize: String(!own) };
  for await (const answer of ask(state.file, sent, sessionStorage.getItem(KEY), signal)) {
    if (answer.result) {
      if (answer.result.errorCode) {
        complain(answer.result.errorMsg);
        continue;
      }
      const page = await pageOf(answer.result, own ? local : null);
      signal.throwIfAborted();
      if (!page) return retry(signal);
      add(page);
      say(`Reading ${state.file.name}: ${count(state.views.length, "page")} so far`);
    } else {
      state.last = answer;
      if (own && !sameSize(local, answer.dataInfo)) return retry(signal);
      resize(answer.dataInfo);
    }
  }
  return undefined;
}

/** Repeat the request with the server's images, because the browser's image differs from the page that was read. */
function retry(signal) {
  clear();
  return readWith(null, false, signal);
}

const sameSize = (image, info) => image.naturalWidth === info.width && image.naturalHeight === info.height;

/** The result of a page with its image; null if the image must be requested from the server. */
async function pageOf({ prunedResult: found, text, inputImage, docPreprocessingImage }, local) {
  const { angle = 0, model_settings: settings } = found.doc_preprocessor_res ?? {};
  const turn = Math.max(angle, 0);
  const flattened = settings?.use_doc_unwarping;
  if (local && flattened) return null;
  let blob = local ? null : jpeg(inputImage);
  let image = local ?? (await load(blob));
  const source = [image.naturalWidth, image.naturalHeight];
  const [width, height] = turnedSize(...source, turn);
  if (flattened) {
    blob = await rightPanel(await load(jpeg(docPreprocessingImage)), source, [width, height]);
    image = await load(blob);
  } else if (turn) {
    blob = await turned(image, turn);
    image = await load(blob);
  }
  const notes = [turn ? `rotated by ${turn}° counterclockwise` : "", flattened ? "unwarped" : ""];
  const note = notes.filter(Boolean).join(", ");
  return { number: state.views.length + 1, found, text, lines: linesOf(found), image, jpeg: blob, turn, width, height, note };
}

function add(page) {
  const view = new PageView(page);
  view.mark(lowLimit());
  state.views.push(view);
  $("pages").append(view.section);
}

/** Coordinates refer to the original image; the server's images may be smaller. */
function resize(info) {
  const sizes = info.pages?.filter(({ width }) => width); // without the pages that could not be read
  state.views.forEach((view, at) => {
    const { width, height } = sizes?.[at] ?? info;
    view.resize(...turnedSize(width, height, view.page.turn));
  });
}

function clear() {
  Object.assign(state, { views: [], last: {} });
  $("pages").replaceChildren();
  for (const id of ["take", "plain", "unlock"]) $(id).hidden = true;
  complain("");
}

function busy(on) {
  $("progress").hidden = $("cancel").hidden = !on;
  $("pages").setAttribute("aria-busy", String(on));
  $("take").hidden = on || !state.views.length;
}

function failed(error) {
  if (error.name === "AbortError") {
    say(`Cancelled, with ${count(state.views.length, "page")} read`);
    return;
  }
  if (!(error instanceof ServiceError)) console.error(error);
  say("");
  complain(error.message);
  if (error.status === 401) {
    sessionStorage.removeItem(KEY);
    $("unlock").hidden = false;
    $("key").focus();
  }
}

/** The options that are set, by the names of request fields. */
function fields() {
  return Object.fromEntries([...new FormData($("ask"))].filter(([, value]) => value !== ""));
}

const lowLimit = () => ($("low").value === "" ? 0 : $("low").valueAsNumber);
const fileName = (suffix) => `${state.file.name.replace(/\.[^.]*$/, "") || "page"}.${suffix}`;

async function copy() {
  const text = take.text(pages());
  try {
    await navigator.clipboard.writeText(text);
    say("Text copied to the clipboard");
  } catch {
    // No TLS, or no permission.
    $("plain").hidden = false;
    $("text").value = text;
    $("text").select();
  }
}

async function downloadPdf() {
  say("Creating the PDF");
  take.download(await take.pdf(pages()), "application/pdf", fileName("pdf"));
  say("PDF created");
}

/** Download the result in the chosen output format, which the server makes in a second request. */
async function downloadOther() {
  const { value, dataset } = $("format").selectedOptions[0];
  const name = fileName(dataset.suffix.slice(1));
  const reading = new AbortController();
  state.reading = reading;
  complain("");
  busy(true);
  say(`Reading ${state.file.name} again, for ${name}`);
  try {
    const blob = await converted(state.file, { ...fields(), format: value }, sessionStorage.getItem(KEY), reading.signal);
    take.download(blob, blob.type, name);
    say(`${name} created`);
  } catch (error) {
    if (state.reading === reading) failed(error);
  } finally {
    done(reading);
  }
}

/** Read the first dropped or pasted file. */
function given(transfer) {
  const [file] = transfer?.files ?? [];
  if (file) begin(file);
  return Boolean(file);
}

function listen() {
  $("file").addEventListener("change", (event) => given(event.target));
  document.addEventListener("paste", (event) => { if (given(event.clipboardData)) event.preventDefault(); });
  document.addEventListener("dragover", (event) => {
    event.preventDefault();
    document.body.classList.add("over");
  });
  document.addEventListener("dragleave", (event) => { if (!event.relatedTarget) document.body.classList.remove("over"); });
  document.addEventListener("drop", (event) => {
    event.preventDefault();
    document.body.classList.remove("over");
    given(event.dataTransfer);
  });
  $("ask").addEventListener("submit", (event) => {
    event.preventDefault();
    if (state.file) read();
  });
  $("unlock").addEventListener("submit", (event) => {
    event.preventDefault();
    sessionStorage.setItem(KEY, $("key").value);
    $("key").value = "";
    read();
  });
  $("cancel").addEventListener("click", () => {
    state.reading?.abort();
    $("again").focus();
  });
  $("low").addEventListener("input", () => state.views.forEach((view) => view.mark(lowLimit())));
  $("copy").addEventListener("click", copy);
  $("json").addEventListener("click", () => take.download(take.json(pages(), state.last), "application/json", fileName("json")));
  $("tsv").addEventListener("click", () => take.download(take.tsv(pages()), "text/tab-separated-values", fileName("tsv")));
  $("pdf").addEventListener("click", downloadPdf);
  $("other").addEventListener("click", downloadOther);
}

listen();
