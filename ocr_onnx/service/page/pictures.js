// The image to which a page's coordinates refer: rotated or unwarped as on the server.

/** Maximum pixels of a canvas; phones support no more. */
const CANVAS = 16e6;
const QUALITY = 0.9;

/** Load a blob as an <img>; null if the browser cannot decode it. */
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

/** Run `draw(context)` on a canvas of (width, height), reduced to CANVAS pixels. */
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

/** (width, height) after a rotation. */
export const turnedSize = (width, height, angle) => (angle % 180 ? [height, width] : [width, height]);

/** The image rotated counterclockwise by 90, 180 or 270 degrees, as JPEG. */
export function turned(image, angle) {
  const { naturalWidth: w, naturalHeight: h } = image;
  const [width, height] = turnedSize(w, h, angle);
  return encoded(drawn(width, height, (context) => {
    context.translate(width / 2, height / 2);
    context.rotate((-angle * Math.PI) / 180);
    context.drawImage(image, -w / 2, -h / 2);
  }));
}

/** The right one of two images side by side, as JPEG; `left` and `right` are their sizes. */
export function rightPanel(panels, left, right) {
  const scale = panels.naturalWidth / (left[0] + right[0]);
  const [x, width, height] = [left[0], right[0], right[1]].map((length) => length * scale);
  return encoded(drawn(width, height, (context) => context.drawImage(panels, x, 0, width, height, 0, 0, width, height)));
}

/** An image as JPEG, in the orientation in which it is shown. */
export function asJpeg(image) {
  const { naturalWidth: width, naturalHeight: height } = image;
  return encoded(drawn(width, height, (context) => context.drawImage(image, 0, 0, width, height)));
}

/** The crop of a box, rotated so that its first side is horizontal; `scale` is image pixels per page pixel. */
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
