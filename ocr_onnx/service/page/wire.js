// POST /ocr: sends a file as multipart/form-data and receives its pages as JSON lines.

export class ServiceError extends Error {
  constructor(message, status) {
    super(message);
    this.status = status;
  }
}

/** Yields {page, result} for each page, and last {logId, errorCode, errorMsg, dataInfo}. */
export async function* ask(file, fields, key, signal) {
  const answer = await post(file, fields, key, "application/x-ndjson", signal);
  const reader = answer.body.pipeThrough(new TextDecoderStream()).getReader();
  try {
    yield* answers(reader, signal);
  } finally {
    // The caller stopped: cancel the request.
    await reader.cancel().catch(() => {});
  }
}

/** The result in an output format of the server, as a blob. */
export async function converted(file, fields, key, signal) {
  const answer = await post(file, fields, key, "*/*", signal);
  return reached(answer.blob(), signal);
}

async function post(file, fields, key, accept, signal) {
  const body = new FormData();
  for (const [name, value] of Object.entries(fields)) body.append(name, value);
  body.append("file", file, file.name || "pasted");
  const headers = { Accept: accept };
  if (key) headers.Authorization = `Bearer ${key}`;

  const answer = await reached(fetch("ocr", { method: "POST", body, headers, signal }), signal);
  if (!answer.ok) throw await refusal(answer);
  return answer;
}

async function* answers(reader, signal) {
  let held = "";
  let last = {};
  for (;;) {
    const { done, value } = await reached(reader.read(), signal);
    if (done) break;
    const lines = (held + value).split("\n");
    held = lines.pop();
    for (const line of lines.filter(Boolean)) {
      last = JSON.parse(line);
      if (last.errorCode) throw new ServiceError(last.errorMsg, last.errorCode);
      yield last;
    }
  }
  if (!("errorCode" in last)) throw new ServiceError("The response is incomplete: read the file again.", 0);
}

async function reached(step, signal) {
  try {
    return await step;
  } catch (error) {
    if (signal.aborted) throw error;
    throw new ServiceError("The connection to the server failed: it may be down, or the file exceeds its limit.", 0);
  }
}

/** The server's error message. */
async function refusal(answer) {
  const text = await answer.text();
  let message = text;
  try {
    message = JSON.parse(text).errorMsg ?? text;
  } catch {
    // Not sent by the service, for example a proxy's page.
    if (/^\s*</.test(text)) message = "";
  }
  const wait = answer.headers.get("Retry-After");
  const again = wait ? ` (retry in ${wait} s)` : "";
  return new ServiceError((message || `${answer.status} ${answer.statusText}`) + again, answer.status);
}

/** A JPEG blob from Base64. */
export function jpeg(base64) {
  return new Blob([Uint8Array.from(atob(base64), (c) => c.charCodeAt(0))], { type: "image/jpeg" });
}
