// The picture that a page's coordinates are those of: turned, or flattened, as the server did it.

/** The most pixels a canvas is made with: phones hold no more. */
const CANVAS = 16e6;
const QUALITY = 0.9;

/** An <img> of a blob, loaded; null where the browser cannot decode it. */
export async function load(blob) {
  const image = new Image();
  image.src = URL.createObjectURL(blob);
  try {
    await image.decode();
    return image;
  } catch {
    return null;
  } finally {
    URL.revokeObjectURL(image.src);
  }
}

/** `draw(context)` on a canvas of (width, height), made smaller where that is too large. */
function drawn(width, height, draw) {
  const scale = Math.min(1, Math.sqrt(CANVAS / (width * height)));
  const canvas = document.createElement("canvas");
  [canvas.width, canvas.height] = [width, height].map((side) => Math.max(1, Math.round(side * scale)));
  const context = canvas.getContext("2d");
  context.fillStyle = "#fff";
  context.fillRect(0, 0, canvas.width, canvas.height);
  context.scale(canvas.width / width, canvas.height / height);
  draw(context);
  return canvas;
}

const encoded = (canvas) => new Promise((done) => canvas.toBlob(done, "image/jpeg", QUALITY));

/** (width, height) after a turn. */
export const turnedSize = (width, height, angle) => (angle % 180 ? [height, width] : [width, height]);

/** The picture turned counter-clockwise by 90, 180 or 270 degrees, as a JPEG. */
export function turned(image, angle) {
  const { naturalWidth: w, naturalHeight: h } = image;
  const [width, height] = turnedSize(w, h, angle);
  return encoded(drawn(width, height, (context) => {
    context.translate(width / 2, height / 2);
    context.rotate((-angle * Math.PI) / 180);
    context.drawImage(image, -w / 2, -h / 2);
  }));
}

/** The right one of two pictures side by side, as a JPEG: the left one's size is `left`, the right one's `right`. */
export function rightPanel(panels, left, right) {
  const scale = panels.naturalWidth / (left[0] + right[0]);
  const [x, width, height] = [left[0], right[0], right[1]].map((length) => length * scale);
  return encoded(drawn(width, height, (context) => context.drawImage(panels, x, 0, width, height, 0, 0, width, height)));
}

/** Any picture as a JPEG that stands as it is shown. */
export function asJpeg(image) {
  const { naturalWidth: width, naturalHeight: height } = image;
  return encoded(drawn(width, height, (context) => context.drawImage(image, 0, 0, width, height)));
}

/** The piece of a page inside a box, its first side level; `scale` is the picture's pixels for one of the page's. */
export function piece(image, quad, scale) {
  const [[x0, y0], [x1, y1]] = quad;
  const [x3, y3] = quad.at(-1);
  const [across, down] = [Math.hypot(x1 - x0, y1 - y0), Math.hypot(x3 - x0, y3 - y0)];
  const margin = Math.min(across, down) * 0.2;
  return drawn((across + 2 * margin) * scale, (down + 2 * margin) * scale, (context) => {
    context.translate(margin * scale, margin * scale);
    context.rotate(-Math.atan2(y1 - y0, x1 - x0));
    context.translate(-x0 * scale, -y0 * scale);
    context.drawImage(image, 0, 0);
  });
}
