// Numbers as people read them.

/** Bytes: 98.4 MB. */
export function bytes(count) {
  if (count === null || count === undefined) return "–";
  const units = ["B", "kB", "MB", "GB", "TB"];
  let power = 0;
  while (Math.abs(count) >= 1000 && power < units.length - 1) {
    count /= 1000;
    power += 1;
  }
  return `${power ? count.toFixed(count < 10 ? 2 : 1) : count} ${units[power]}`;
}

/** Whole numbers with thin groups: 49 152. */
export function count(number) {
  return Number(number).toLocaleString("en").replaceAll(",", "\u202f");
}

/** Milliseconds: 83 ms, 1.24 s. */
export function milliseconds(value) {
  if (value === null || value === undefined) return "–";
  return value < 1000 ? `${Math.round(value)} ms` : `${(value / 1000).toFixed(2)} s`;
}

/** Seconds of a recording: 1:07.3. */
export function clock(seconds) {
  const minutes = Math.floor(seconds / 60);
  return `${minutes}:${(seconds - 60 * minutes).toFixed(1).padStart(4, "0")}`;
}

/** A length of time in words: 5 min, 2 h. */
export function span(seconds) {
  if (seconds < 60) return `${Math.round(seconds)} s`;
  return seconds < 3600 ? `${Math.round(seconds / 60)} min` : `${(seconds / 3600).toFixed(1)} h`;
}

/** A day that is near: Today, Yesterday, 12 May. */
export function day(time) {
  const date = new Date(time);
  const days = Math.round((new Date().setHours(0, 0, 0, 0) - new Date(time).setHours(0, 0, 0, 0)) / 86_400_000);
  if (days < 1) return "Today";
  return days < 2 ? "Yesterday" : date.toLocaleDateString("en", { day: "numeric", month: "short", year: "numeric" });
}
