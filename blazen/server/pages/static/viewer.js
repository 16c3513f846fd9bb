// A mesh that can be turned: by mouse, touch and keys.

import { multiply, orbit, perspective } from "./matrix.js";

const VERTEX = `
attribute vec3 place; attribute vec3 normal; attribute vec4 color; attribute vec2 spot;
uniform mat4 view; uniform mat4 lens; varying vec3 n; varying vec4 c; varying vec2 t;
void main() { n = mat3(view) * normal; c = color; t = spot; gl_Position = lens * view * vec4(place, 1.0); }`;
const FRAGMENT = `
precision mediump float; varying vec3 n; varying vec4 c; varying vec2 t;
uniform sampler2D picture; uniform bool pictured; uniform vec4 factor;
void main() {
  vec4 base = c * factor; if (pictured) base *= texture2D(picture, t);
  vec3 m = normalize(n); if (!gl_FrontFacing) m = -m;
  float light = 0.42 + 0.5 * max(dot(m, normalize(vec3(0.4, 0.7, 0.6))), 0.0) + 0.16 * max(dot(m, normalize(vec3(-0.7, -0.1, 0.5))), 0.0);
  gl_FragColor = vec4(base.rgb * light, 1.0);
}`;
const START = { yaw: 0.6, tip: 0.35, distance: 2.7 };
const ATTRIBUTES = [["place", "positions", 3], ["normal", "normals", 3], ["color", "colors", 4], ["spot", "coordinates", 2]];

/** Draws on a canvas; `show(parts)` takes what glb.js reads. */
export class Viewer {
  #canvas;
  #gl;
  #program;
  #parts = [];
  #drawn = [];
  #centre = [0, 0, 0];
  #size = 1;
  #pose = { ...START };
  #pointers = new Map();
  #asked = 0;

  constructor(canvas) {
    this.#canvas = canvas;
    this.#gl = canvas.getContext("webgl", { antialias: true, alpha: true, preserveDrawingBuffer: true });
    if (!this.#gl) throw new Error("This browser has no WebGL: the mesh can be downloaded, not shown.");
    this.#prepare();
    canvas.addEventListener("webglcontextlost", (event) => event.preventDefault());
    canvas.addEventListener("webglcontextrestored", () => (this.#prepare(), this.#upload()));
    canvas.addEventListener("pointerdown", (event) => this.#down(event));
    canvas.addEventListener("pointermove", (event) => this.#move(event));
    for (const name of ["pointerup", "pointercancel"]) canvas.addEventListener(name, (event) => this.#pointers.delete(event.pointerId));
    canvas.addEventListener("wheel", (event) => (event.preventDefault(), this.#nearer(Math.exp(0.001 * event.deltaY))), { passive: false });
    canvas.addEventListener("keydown", (event) => this.#key(event));
    new ResizeObserver(() => this.#ask()).observe(canvas);
  }

  /** From where the mesh is seen. */
  get pose() {
    return { ...this.#pose };
  }

  reset() {
    this.#pose = { ...START };
    this.#ask();
  }

  show(parts) {
    this.#parts = parts;
    const low = [Infinity, Infinity, Infinity];
    const high = [-Infinity, -Infinity, -Infinity];
    for (const { positions } of parts) {
      for (let at = 0; at < positions.length; at += 1) {
        low[at % 3] = Math.min(low[at % 3], positions[at]);
        high[at % 3] = Math.max(high[at % 3], positions[at]);
      }
    }
    this.#centre = low.map((value, axis) => (value + high[axis]) / 2);
    this.#size = Math.hypot(...low.map((value, axis) => high[axis] - value)) / 2 || 1;
    this.#upload();
    this.reset();
  }

  #prepare() {
    const gl = this.#gl;
    this.#program = gl.createProgram();
    for (const [kind, source] of [[gl.VERTEX_SHADER, VERTEX], [gl.FRAGMENT_SHADER, FRAGMENT]]) {
      const shader = gl.createShader(kind);
      gl.shaderSource(shader, source);
      gl.compileShader(shader);
      gl.attachShader(this.#program, shader);
    }
    ATTRIBUTES.forEach(([name], index) => gl.bindAttribLocation(this.#program, index, name));
    gl.linkProgram(this.#program);
    if (!gl.getProgramParameter(this.#program, gl.LINK_STATUS)) throw new Error(`The viewer could not start: ${gl.getProgramInfoLog(this.#program)}`);
    gl.useProgram(this.#program);
    gl.enable(gl.DEPTH_TEST);
  }

  #upload() {
    const gl = this.#gl;
    for (const { buffers, texture } of this.#drawn) {
      for (const buffer of buffers) gl.deleteBuffer(buffer);
      gl.deleteTexture(texture);
    }
    this.#drawn = this.#parts.map((part) => ({
      part,
      texture: part.image && this.#texture(part.image),
      buffers: ATTRIBUTES.map(([, name]) => {
        if (!part[name]) return null;
        const buffer = gl.createBuffer();
        gl.bindBuffer(gl.ARRAY_BUFFER, buffer);
        gl.bufferData(gl.ARRAY_BUFFER, part[name], gl.STATIC_DRAW);
        return buffer;
      }),
    }));
    this.#ask();
  }

  #texture(image) {
    const gl = this.#gl;
    const texture = gl.createTexture();
    gl.bindTexture(gl.TEXTURE_2D, texture);
    gl.texImage2D(gl.TEXTURE_2D, 0, gl.RGBA, gl.RGBA, gl.UNSIGNED_BYTE, image);
    for (const edge of [gl.TEXTURE_WRAP_S, gl.TEXTURE_WRAP_T]) gl.texParameteri(gl.TEXTURE_2D, edge, gl.CLAMP_TO_EDGE);
    gl.texParameteri(gl.TEXTURE_2D, gl.TEXTURE_MIN_FILTER, gl.LINEAR);
    return texture;
  }

  #ask() {
    this.#asked ||= requestAnimationFrame(() => {
      this.#asked = 0;
      this.#draw();
    });
  }

  #draw() {
    const gl = this.#gl;
    const canvas = this.#canvas;
    const [width, height] = [canvas.clientWidth, canvas.clientHeight].map((length) => Math.max(1, Math.round(length * devicePixelRatio)));
    if (canvas.width !== width || canvas.height !== height) [canvas.width, canvas.height] = [width, height];
    gl.viewport(0, 0, width, height);
    gl.clearColor(0, 0, 0, 0);
    gl.clear(gl.COLOR_BUFFER_BIT | gl.DEPTH_BUFFER_BIT);
    const at = (name) => gl.getUniformLocation(this.#program, name);
    const distance = this.#pose.distance * this.#size;
    gl.uniformMatrix4fv(at("view"), false, orbit(this.#pose.yaw, this.#pose.tip, distance, this.#centre));
    gl.uniformMatrix4fv(at("lens"), false, perspective(0.8, width / height, distance / 100, distance + 4 * this.#size));
    for (const { part, texture, buffers } of this.#drawn) {
      buffers.forEach((buffer, index) => {
        if (!buffer) {
          gl.disableVertexAttribArray(index);
          return gl.vertexAttrib4f(index, 1, 1, 1, 1);
        }
        gl.bindBuffer(gl.ARRAY_BUFFER, buffer);
        gl.enableVertexAttribArray(index);
        return gl.vertexAttribPointer(index, ATTRIBUTES[index][2], gl.FLOAT, false, 0, 0);
      });
      gl.uniform1i(at("pictured"), texture ? 1 : 0);
      gl.uniform4fv(at("factor"), part.factor);
      if (texture) gl.bindTexture(gl.TEXTURE_2D, texture);
      gl.drawArrays(gl.TRIANGLES, 0, part.positions.length / 3);
    }
    // So that a test, and whoever styles the page, knows that there is something to see.
    canvas.dataset.drawn = String(this.#drawn.reduce((sum, { part }) => sum + part.positions.length / 9, 0));
    canvas.dataset.yaw = this.#pose.yaw.toFixed(3);
    canvas.dataset.distance = this.#pose.distance.toFixed(3);
  }

  #turn(yaw, tip) {
    this.#pose.yaw += yaw;
    this.#pose.tip = Math.max(-1.55, Math.min(1.55, this.#pose.tip + tip));
    this.#ask();
  }

  #nearer(factor) {
    this.#pose.distance = Math.max(0.3, Math.min(20, this.#pose.distance * factor));
    this.#ask();
  }

  #down(event) {
    this.#canvas.focus({ preventScroll: true });
    this.#canvas.setPointerCapture(event.pointerId);
    this.#pointers.set(event.pointerId, [event.clientX, event.clientY]);
  }

  #move(event) {
    const before = this.#pointers.get(event.pointerId);
    if (!before) return;
    const now = [event.clientX, event.clientY];
    const others = [...this.#pointers].filter(([id]) => id !== event.pointerId);
    this.#pointers.set(event.pointerId, now);
    if (!others.length) return this.#turn(0.008 * (now[0] - before[0]), 0.008 * (now[1] - before[1]));
    const other = others[0][1];
    const apart = (point) => Math.hypot(point[0] - other[0], point[1] - other[1]) || 1;
    return this.#nearer(apart(before) / apart(now));
  }

  #key(event) {
    const step = 0.12;
    const acts = {
      ArrowLeft: () => this.#turn(-step, 0), ArrowRight: () => this.#turn(step, 0), ArrowUp: () => this.#turn(0, -step), ArrowDown: () => this.#turn(0, step),
      "+": () => this.#nearer(0.9), "=": () => this.#nearer(0.9), "-": () => this.#nearer(1.1), 0: () => this.reset(),
    };
    if (!acts[event.key] || event.ctrlKey || event.metaKey || event.altKey) return;
    event.preventDefault();
    acts[event.key]();
  }
}
