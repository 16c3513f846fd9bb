// Shows openapi.json: every text is set as text, none becomes markup.

const DEEPEST = 4;
const METHODS = ["get", "post", "put", "patch", "delete"];

function make(tag, { text, name, ...rest } = {}, ...children) {
  const element = document.createElement(tag);
  if (text !== undefined) element.textContent = text;
  if (name) element.className = name;
  Object.assign(element, rest);
  element.append(...children);
  return element;
}

function resolved(schema, all) {
  const name = schema?.$ref?.split("/").pop();
  return name ? { title: name, ...all[name] } : schema ?? {};
}

function typeOf(schema, all) {
  const found = resolved(schema, all);
  const parts = found.anyOf ?? found.oneOf;
  if (parts) return parts.map((part) => typeOf(part, all)).join(" | ");
  if (found.const !== undefined) return JSON.stringify(found.const);
  if (found.enum) return found.enum.map((item) => JSON.stringify(item)).join(" | ");
  if (found.type === "array") return `list of ${typeOf(found.items, all)}`;
  if (Array.isArray(found.type)) return found.type.join(" | ");
  if (found.type === "object" || found.properties) return found.title ?? "object";
  return found.type ?? "anything";
}

function fieldsOf(schema, all, prefix = "", depth = 0) {
  const found = resolved(schema, all);
  const needed = new Set(found.required ?? []);
  return Object.entries(found.properties ?? {}).flatMap(([key, value]) => {
    const inner = resolved(value.type === "array" ? value.items : value, all);
    const more = depth < DEEPEST && inner.properties
      ? fieldsOf(inner, all, `${prefix}${key}${value.type === "array" ? "[]" : ""}.`, depth + 1)
      : [];
    const row = {
      field: prefix + key,
      type: typeOf(value, all),
      needed: needed.has(key) ? "yes" : "",
      what: resolved(value, all).description ?? "",
    };
    return [row, ...more];
  });
}

function table(rows) {
  const heads = ["field", "type", "needed", "what"];
  const line = (tag, cells) => make("tr", {}, ...cells.map((text) => make(tag, { text })));
  return make("table", {},
    make("thead", {}, line("th", heads)),
    make("tbody", {}, ...rows.map((row) => line("td", heads.map((head) => row[head])))));
}

function example(method, path, body) {
  const words = [`curl ${new URL(path.slice(1), document.baseURI)}`];
  if (method !== "get") words.push(`-X ${method.toUpperCase()}`);
  if (body?.["application/json"]) words.push("-H 'Content-Type: application/json' -d '{…}'");
  if (body?.["multipart/form-data"]) words.push("-F file=@…");
  return words.join(" \\\n  ");
}

function parts(method, path, operation, all) {
  const out = [];
  if (operation.description) out.push(make("p", { text: operation.description }));
  const asked = (operation.parameters ?? []).map((parameter) => ({
    field: `${parameter.name} (${parameter.in})`,
    type: typeOf(parameter.schema, all),
    needed: parameter.required ? "yes" : "",
    what: parameter.description ?? "",
  }));
  if (asked.length) out.push(make("h3", { text: "Parameters" }), table(asked));
  const body = operation.requestBody?.content;
  for (const [type, content] of Object.entries(body ?? {})) {
    out.push(make("h3", { text: `Body: ${type}` }), table(fieldsOf(content.schema, all)));
  }
  for (const [status, response] of Object.entries(operation.responses ?? {})) {
    const types = Object.keys(response.content ?? {}).join(", ");
    out.push(make("h3", { text: `Answer ${status}${types ? `: ${types}` : ""}` }));
    out.push(make("p", { text: response.description ?? "" }));
    const rows = fieldsOf(Object.values(response.content ?? {})[0]?.schema, all);
    if (rows.length) out.push(table(rows));
  }
  out.push(make("pre", { text: example(method, path, body) }));
  return out;
}

function route(method, path, operation, all) {
  const what = operation.description?.split("\n")[0] ?? operation.summary ?? "";
  const head = make("summary", {},
    make("span", { text: method.toUpperCase(), name: "method" }),
    make("span", { text: path, name: "path" }),
    make("span", { text: what, name: "what" }));
  const details = make("details", {}, head);
  details.dataset.words = `${method} ${path} ${what}`.toLowerCase();
  // What is inside is made once somebody looks: a long description would take a while.
  details.addEventListener("toggle", () => {
    if (details.children.length === 1) {
      details.append(make("div", {}, ...parts(method, path, operation, all)));
    }
  });
  return details;
}

function show(description) {
  const all = description.components?.schemas ?? {};
  const groups = new Map();
  for (const [path, operations] of Object.entries(description.paths)) {
    for (const method of METHODS.filter((name) => operations[name])) {
      const operation = operations[method];
      const group = operation.tags?.[0] ?? "others";
      if (!groups.has(group)) groups.set(group, []);
      groups.get(group).push(route(method, path, operation, all));
    }
  }
  const sections = [...groups].map(([name, routes]) =>
    make("section", {}, make("h2", { text: name }), ...routes));
  document.querySelector("#routes").replaceChildren(...sections);
}

function filter(text) {
  const wanted = text.trim().toLowerCase();
  for (const details of document.querySelectorAll("details")) {
    details.hidden = !details.dataset.words.includes(wanted);
  }
  for (const section of document.querySelectorAll("section")) {
    section.hidden = !section.querySelector("details:not([hidden])");
  }
}

document.querySelector("#filter").addEventListener("input", (event) => filter(event.target.value));
try {
  const answer = await fetch("openapi.json");
  if (!answer.ok) throw new Error(`the server answered ${answer.status}`);
  show(await answer.json());
} catch (error) {
  const text = `The description could not be read: ${error.message}.`;
  document.querySelector("#routes").replaceChildren(make("p", { text }));
}
