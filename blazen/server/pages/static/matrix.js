// Matrices of four by four, column by column, as WebGL takes them.

export const identity = () => [1, 0, 0, 0, 0, 1, 0, 0, 0, 0, 1, 0, 0, 0, 0, 1];

export function multiply(one, other) {
  return identity().map((_, at) => [0, 1, 2, 3].reduce((sum, part) => sum + one[(at % 4) + 4 * part] * other[4 * Math.floor(at / 4) + part], 0));
}

/** The place of a node of glTF in its parent. */
export function transformOf({ matrix, translation = [0, 0, 0], rotation = [0, 0, 0, 1], scale = [1, 1, 1] }) {
  if (matrix) return matrix;
  const [x, y, z, w] = rotation;
  return [
    (1 - 2 * (y * y + z * z)) * scale[0], 2 * (x * y + z * w) * scale[0], 2 * (x * z - y * w) * scale[0], 0,
    2 * (x * y - z * w) * scale[1], (1 - 2 * (x * x + z * z)) * scale[1], 2 * (y * z + x * w) * scale[1], 0,
    2 * (x * z + y * w) * scale[2], 2 * (y * z - x * w) * scale[2], (1 - 2 * (x * x + y * y)) * scale[2], 0,
    ...translation, 1,
  ];
}

/** Points moved by a matrix. */
export function apply(matrix, points) {
  const out = new Float32Array(points.length);
  for (let at = 0; at < points.length; at += 3) {
    for (let part = 0; part < 3; part += 1) {
      out[at + part] = matrix[part] * points[at] + matrix[4 + part] * points[at + 1] + matrix[8 + part] * points[at + 2] + matrix[12 + part];
    }
  }
  return out;
}

/** What normals are turned by: the cofactors, so that a stretched mesh is lit rightly. */
export function normalTransform(m) {
  const minor = (a, b, c, d) => m[a] * m[d] - m[b] * m[c];
  return [minor(5, 6, 9, 10), minor(6, 4, 10, 8), minor(4, 5, 8, 9), minor(9, 10, 1, 2), minor(10, 8, 2, 0), minor(8, 9, 0, 1), minor(1, 2, 5, 6), minor(2, 0, 6, 4), minor(0, 1, 4, 5)];
}

/** Directions turned by nine numbers, and of length one again. */
export function turn(nine, directions) {
  const out = new Float32Array(directions.length);
  for (let at = 0; at < directions.length; at += 3) {
    const turned = [0, 1, 2].map((part) => nine[part] * directions[at] + nine[3 + part] * directions[at + 1] + nine[6 + part] * directions[at + 2]);
    const length = Math.hypot(...turned) || 1;
    for (let part = 0; part < 3; part += 1) out[at + part] = turned[part] / length;
  }
  return out;
}

/** The normals of triangles that have none: each face's own. */
export function normalOf(positions) {
  const out = new Float32Array(positions.length);
  for (let at = 0; at + 8 < positions.length; at += 9) {
    const [ax, ay, az, bx, by, bz, cx, cy, cz] = positions.subarray(at, at + 9);
    const u = [bx - ax, by - ay, bz - az];
    const v = [cx - ax, cy - ay, cz - az];
    const normal = [u[1] * v[2] - u[2] * v[1], u[2] * v[0] - u[0] * v[2], u[0] * v[1] - u[1] * v[0]];
    const length = Math.hypot(...normal) || 1;
    for (let corner = 0; corner < 9; corner += 1) out[at + corner] = normal[corner % 3] / length;
  }
  return out;
}

export function perspective(angle, aspect, near, far) {
  const f = 1 / Math.tan(angle / 2);
  return [f / aspect, 0, 0, 0, 0, f, 0, 0, 0, 0, (far + near) / (near - far), -1, 0, 0, (2 * far * near) / (near - far), 0];
}

/** Around a point: first turned about the upright axis, then tipped, then drawn away. */
export function orbit(yaw, tip, distance, [x, y, z]) {
  const [cy, sy, cp, sp] = [Math.cos(yaw), Math.sin(yaw), Math.cos(tip), Math.sin(tip)];
  const turned = [cy, sy * sp, -sy * cp, 0, 0, cp, sp, 0, sy, -cy * sp, cy * cp, 0, 0, 0, 0, 1];
  const away = [1, 0, 0, 0, 0, 1, 0, 0, 0, 0, 1, 0, 0, 0, -distance, 1];
  return multiply(multiply(away, turned), [1, 0, 0, 0, 0, 1, 0, 0, 0, 0, 1, 0, -x, -y, -z, 1]);
}
