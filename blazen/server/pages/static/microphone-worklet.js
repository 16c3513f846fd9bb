// Hands on what the microphone gives, in pieces of a tenth of a second.

class Microphone extends AudioWorkletProcessor {
  #held = [];
  #length = 0;

  process([input]) {
    if (!input.length) return true;
    this.#held.push(input[0].slice());
    this.#length += input[0].length;
    if (this.#length >= sampleRate / 10) {
      const all = new Float32Array(this.#length);
      let at = 0;
      for (const part of this.#held) {
        all.set(part, at);
        at += part.length;
      }
      this.port.postMessage(all, [all.buffer]);
      this.#held = [];
      this.#length = 0;
    }
    return true;
  }
}

registerProcessor("microphone", Microphone);
