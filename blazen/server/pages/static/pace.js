// Draws what changes often: at most once a frame, and never more than a quarter of the time.

/** Gives `ask()`, after which `draw` is called soon, and `end()`, after which it is not. */
export function paced(draw) {
  let timer = 0;
  let frame = 0;
  let rest = 0;
  const now = () => {
    timer = 0;
    frame = requestAnimationFrame(() => {
      frame = 0;
      const begun = performance.now();
      draw();
      // A long answer takes long to lay out: what is typed meanwhile comes first.
      rest = 3 * (performance.now() - begun);
    });
  };
  return {
    ask() {
      if (!frame) timer ||= setTimeout(now, rest);
    },
    end() {
      clearTimeout(timer);
      cancelAnimationFrame(frame);
    },
  };
}
