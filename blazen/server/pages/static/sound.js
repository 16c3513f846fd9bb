// The microphone as a WAV file, 16 kHz and mono, as engines that transcribe want it.

const RATE = 16_000;
const REFUSED = {
  NotAllowedError: "The browser does not allow the microphone for this page.",
  NotFoundError: "There is no microphone on this computer.",
  NotReadableError: "Another program holds the microphone, or the system does not give it.",
};

/** A recording that runs; `stop()` gives it as a WAV blob. */
export class Recording {
  #stream;
  #context;
  #parts = [];
  #level;

  /** Ask for the microphone and begin. `level(0…1)` is told how loud it is. */
  static async begin(level = () => {}) {
    if (!navigator.mediaDevices?.getUserMedia) {
      throw new Error("The browser gives the microphone only to https pages and to this computer itself. Open the page as localhost, or start the server with a certificate.");
    }
    const made = new Recording();
    made.#level = level;
    try {
      made.#stream = await navigator.mediaDevices.getUserMedia({ audio: { channelCount: 1, echoCancellation: true, noiseSuppression: true } });
    } catch (error) {
      throw new Error(REFUSED[error.name] ?? `The microphone can't be used: ${error.message}`);
    }
    try {
      made.#context = new AudioContext({ sampleRate: RATE });
    } catch {
      made.#context = new AudioContext();  // Firefox joins no stream of another rate
    }
    try {
      await made.#listen();
    } catch (error) {
      await made.cancel();
      throw error;
    }
    return made;
  }

  async #listen() {
    await this.#context.audioWorklet.addModule(new URL("./microphone-worklet.js", import.meta.url).href);
    const node = new AudioWorkletNode(this.#context, "microphone");
    node.port.onmessage = ({ data }) => {
      this.#parts.push(data);
      this.#level(Math.min(1, 4 * Math.sqrt(data.reduce((sum, value) => sum + value * value, 0) / data.length)));
    };
    this.#context.createMediaStreamSource(this.#stream).connect(node).connect(this.#context.destination);
    await this.#context.resume();
  }

  get seconds() {
    return this.#parts.reduce((sum, part) => sum + part.length, 0) / this.#context.sampleRate;
  }

  async cancel() {
    for (const track of this.#stream.getTracks()) track.stop();
    if (this.#context && this.#context.state !== "closed") await this.#context.close();
  }

  async stop() {
    await this.cancel();
    const all = new Float32Array(this.#parts.reduce((sum, part) => sum + part.length, 0));
    let at = 0;
    for (const part of this.#parts) {
      all.set(part, at);
      at += part.length;
    }
    return wav(all, this.#context.sampleRate);
  }
}

/** Samples as a WAV file of 16 bits. */
export function wav(samples, rate) {
  const view = new DataView(new ArrayBuffer(44 + 2 * samples.length));
  const text = (at, letters) => [...letters].forEach((letter, index) => view.setUint8(at + index, letter.charCodeAt(0)));
  text(0, "RIFF");
  view.setUint32(4, 36 + 2 * samples.length, true);
  text(8, "WAVEfmt ");
  view.setUint32(16, 16, true);
  view.setUint16(20, 1, true);
  view.setUint16(22, 1, true);
  view.setUint32(24, rate, true);
  view.setUint32(28, 2 * rate, true);
  view.setUint16(32, 2, true);
  view.setUint16(34, 16, true);
  text(36, "data");
  view.setUint32(40, 2 * samples.length, true);
  samples.forEach((value, index) => view.setInt16(44 + 2 * index, 32_767 * Math.max(-1, Math.min(1, value)), true));
  return new Blob([view.buffer], { type: "audio/wav" });
}

/** The text of a recording. */
export function transcriptionForm(file, fields) {
  const form = new FormData();
  form.append("file", file, file.name || "recording.wav");
  for (const [name, value] of Object.entries(fields)) if (value) form.append(name, value);
  return form;
}
