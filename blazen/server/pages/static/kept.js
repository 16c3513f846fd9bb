// Small choices that a browser remembers; where it forbids that, they hold for this page.

const here = new Map();

function tryOn(area, work) {
  try {
    return work(globalThis[area]);
  } catch {
    // Storage is forbidden, or full: the choice is made all the same.
    return null;
  }
}

/** What is remembered under a name, or null; `area` may be "sessionStorage". */
export function remembered(name, area = "localStorage") {
  return here.get(name) ?? tryOn(area, (storage) => storage.getItem(name));
}

/** Remember a text under a name. */
export function remember(name, value, area = "localStorage") {
  here.set(name, value);
  tryOn(area, (storage) => storage.setItem(name, value));
}
