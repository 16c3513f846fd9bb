// What a page must not have: controls without names, headings out of order, and the like.
() => {
  const shown = (element) => element.checkVisibility({ visibilityProperty: true });
  const text = (id) => document.getElementById(id)?.textContent.trim() ?? "";
  const named = (element) => (element.getAttribute("aria-label")
    ?? (element.getAttribute("aria-labelledby") ?? "").split(" ").map(text).join(" ")).trim()
    || [...(element.labels ?? [])].map((label) => label.textContent.trim()).join("")
    || (element.matches("input, textarea, select") ? "" : element.textContent.trim())
    || element.querySelector("img[alt]")?.alt || "";
  const show = (element) => element.outerHTML.slice(0, 120);
  const found = [];
  const all = (selector) => [...document.querySelectorAll(selector)].filter(shown);
  const controls = "a[href], button, input, textarea, select, [tabindex], [role=tab], dialog, section, aside, nav, form";
  for (const element of all(controls)) if (!named(element) && element.tagName !== "MAIN" && element.id !== "main") found.push(`no name: ${show(element)}`);
  for (const element of all("img")) if (!element.hasAttribute("alt")) found.push(`no alt: ${show(element)}`);
  let before = 0;
  const levels = all("h1, h2, h3, h4, h5, h6").map((element) => Number(element.tagName[1]));
  for (const level of levels) {
    if (level > before + 1) found.push(`heading ${level} after ${before}`);
    before = level;
  }
  if (levels.filter((level) => level === 1).length !== 1) found.push("not one h1");
  const ids = [...document.querySelectorAll("[id]")].map((element) => element.id);
  for (const id of new Set(ids.filter((id, at) => ids.indexOf(id) !== at))) found.push(`twice: #${id}`);
  for (const name of ["aria-labelledby", "aria-controls", "aria-describedby", "for"]) {
    for (const element of document.querySelectorAll(`[${name}]`)) {
      for (const id of element.getAttribute(name).split(" ")) if (!document.getElementById(id)) found.push(`${name} of nothing: ${show(element)}`);
    }
  }
  for (const element of all("button, select, input:not([type=checkbox], [type=radio], [type=range]), nav a")) {
    const { width, height } = element.getBoundingClientRect();
    if (width < 24 || height < 24) found.push(`too small to hit: ${show(element)}`);
  }
  for (const element of document.querySelectorAll("ul, ol")) {
    for (const child of element.children) if (child.tagName !== "LI") found.push(`in a list: ${show(child)}`);
  }
  for (const name of ["main", "header", "nav"]) if (all(name).length !== 1) found.push(`not one ${name}`);
  if (!document.documentElement.lang || !document.title) found.push("no language or title");
  return found;
}
