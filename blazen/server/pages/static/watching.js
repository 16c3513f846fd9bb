// Listens to the manager's events for as long as the page is open.

import { events, request } from "./api.js";

const PATIENCE = [500, 1000, 2000, 4000, 8000];

/** Call `on[event](data)` with each event; `state("live" | "away", error)` tells how it goes. */
export async function watch(on, state) {
  for (let failures = 0; ; failures += 1) {
    const control = new AbortController();
    const leave = () => control.abort();
    addEventListener("pagehide", leave);
    try {
      const response = await request("api/models/events", { signal: control.signal });
      state("live");
      for await (const { event, data } of events(response)) {
        failures = 0;
        on[event]?.(JSON.parse(data));
      }
      state("away");
    } catch (error) {
      if (control.signal.aborted) return;
      state("away", error);
      if (error.status === 401) return;
    } finally {
      removeEventListener("pagehide", leave);
    }
    await new Promise((resolve) => setTimeout(resolve, PATIENCE[Math.min(failures, PATIENCE.length - 1)]));
  }
}
