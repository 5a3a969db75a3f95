"use strict";

// Shows /api/openapi.json. Everything in it is put on the page as text, never as markup.

(() => {
  const byId = (id) => document.getElementById(id);
  let api = {};

  /** An element with attributes and children; strings become text. */
  function make(tag, attributes, ...children) {
    const element = document.createElement(tag);
    for (const [name, value] of Object.entries(attributes ?? {})) {
      if (value !== undefined && value !== false) {
        element.setAttribute(name, value === true ? "" : value);
      }
    }
    for (const child of children.flat()) {
      if (child !== null && child !== undefined) {
        element.append(child);
      }
    }
    return element;
  }

  /** A text in which what stands between backticks is code. */
  function inline(text) {
    return text.split("`").map((part, i) => (i % 2 ? make("code", {}, part) : part));
  }

  function paragraphs(text) {
    return text.split("\n\n").map((paragraph) => make("p", {}, inline(paragraph)));
  }

  /** Follows a reference inside the document. */
  function resolve(thing) {
    let found = thing;
    for (let i = 0; found && found.$ref && i < 20; i += 1) {
      const { $ref: reference, ...beside } = found;
      const path = reference.replace(/^#\//, "").split("/");
      const named = path.reduce((at, key) => at?.[key], api);
      // What stands beside a reference says more about this place.
      found = Object.keys(beside).length ? { ...named, ...beside } : named;
    }
    return found ?? {};
  }

  /** The alternatives of a schema that says "this or null", put together. */
  function simple(schema) {
    const found = resolve(schema);
    const choices = found.anyOf ?? found.oneOf;
    if (!choices) {
      return { schema: found, nullable: [found.type].flat().includes("null") };
    }
    const rest = choices.filter((choice) => resolve(choice).type !== "null");
    if (rest.length > 1 && rest.every((choice) => resolve(choice).type === "string" && !resolve(choice).const)) {
      // Known words and others, or texts of several forms.
      const known = rest.map(resolve).find((choice) => choice.enum);
      return {
        schema: { ...known, ...found, anyOf: undefined, type: "string", open: true },
        nullable: rest.length < choices.length,
      };
    }
    if (rest.length !== 1) {
      const words = rest.map((choice) => resolve(choice).const).filter((word) => word !== undefined);
      const whole = words.length === rest.length ? { ...found, type: "string", enum: words } : found;
      return { schema: whole, nullable: rest.length < choices.length };
    }
    const inner = resolve(rest[0]);
    return {
      schema: { ...inner, description: found.description ?? inner.description },
      nullable: rest.length < choices.length,
    };
  }

  /** A schema's type in words. */
  function typeOf(given) {
    const { schema, nullable } = simple(given);
    let words = [schema.type].flat().filter((type) => type && type !== "null").join(" or ");
    if (schema.type === "array" && schema.items) {
      words = `list of ${typeOf(schema.items)}`;
    }
    if (schema.format === "date-time") {
      words = "date and time";
    }
    if (schema.const !== undefined) {
      words = JSON.stringify(schema.const);
    }
    return (words || "anything") + (nullable ? " or null" : "");
  }

  /** What a value is held to, in words. */
  function rules(given) {
    const { schema } = simple(given);
    const said = [];
    if (schema.enum) {
      said.push(`one of ${schema.enum.map((word) => JSON.stringify(word)).join(", ")}${schema.open ? ", or another" : ""}`);
    }
    if (schema.minimum !== undefined && schema.maximum !== undefined) {
      said.push(`${schema.minimum} to ${schema.maximum}`);
    } else if (schema.minimum !== undefined) {
      said.push(`at least ${schema.minimum}`);
    } else if (schema.maximum !== undefined) {
      said.push(`at most ${schema.maximum}`);
    }
    if (schema.minLength) {
      said.push(`at least ${schema.minLength} character${schema.minLength === 1 ? "" : "s"}`);
    }
    if (schema.maxLength) {
      said.push(`at most ${schema.maxLength} characters`);
    }
    if (schema.maxItems) {
      said.push(`at most ${schema.maxItems} items`);
    }
    if (schema.default !== undefined) {
      said.push(`unless given: ${JSON.stringify(schema.default)}`);
    }
    return said.join("; ");
  }

  function table(heads, rows) {
    const head = make("tr", {}, heads.map((text) => make("th", { scope: "col" }, text)));
    return make(
      "div",
      { class: "table" },
      make("table", {}, make("thead", {}, head), make("tbody", {}, rows)),
    );
  }

  /** The fields of an object, those of objects inside it indented below theirs. */
  function fieldRows(given, depth, seen) {
    let { schema } = simple(given);
    if (schema.type === "array" && schema.items) {
      ({ schema } = simple(schema.items));
    }
    if (!schema.properties || depth > 3 || seen.includes(schema)) {
      return [];
    }
    return Object.entries(schema.properties).flatMap(([name, field]) => {
      const required = (schema.required ?? []).includes(name);
      const about = simple(field).schema.description ?? field.description ?? "";
      const row = make(
        "tr",
        {},
        make(
          "td",
          { class: `depth${depth}` },
          make("code", {}, name),
          required ? make("span", { class: "required" }, " required") : null,
        ),
        make("td", {}, typeOf(field)),
        make("td", {}, inline([about, rules(field)].filter((text) => text).join(" — "))),
      );
      return [row, ...fieldRows(field, depth + 1, [...seen, schema])];
    });
  }

  function fields(schema) {
    const rows = fieldRows(schema, 0, []);
    return rows.length ? table(["Field", "Type", "What it is"], rows) : null;
  }

  /** An example made of a schema, where none is given. */
  function sample(given, depth = 0) {
    const { schema, nullable } = simple(given);
    if (schema.default !== undefined) {
      return schema.default;
    }
    if (schema.enum) {
      return schema.enum[0];
    }
    switch ([schema.type].flat()[0]) {
      case "object": {
        const names = Object.keys(schema.properties ?? {});
        const wanted = names.filter((name) => (schema.required ?? names).includes(name));
        return depth > 4
          ? {}
          : Object.fromEntries(wanted.map((name) => [name, sample(schema.properties[name], depth + 1)]));
      }
      case "array":
        return [];
      case "integer":
      case "number":
        return Math.max(schema.minimum ?? 1, 1);
      case "boolean":
        return false;
      case "string":
        return nullable ? null : "";
      default:
        return null;
    }
  }

  function exampleOf(operation) {
    const body = operation.requestBody?.content?.["application/json"];
    if (!body) {
      return null;
    }
    return JSON.stringify(body.example ?? sample(body.schema), null, 2);
  }

  /** By what a caller shows who he is. */
  function logins(operation) {
    const names = { session: "login session", apiKey: "API key", internalToken: "internal token" };
    const ways = (operation.security ?? []).map((way) =>
      Object.keys(way).map((name) => names[name] ?? name).join(" with "),
    );
    return ways.length ? `By ${ways.join(" or ")}.` : "Without login.";
  }

  function parameterTable(parameters) {
    const rows = parameters.map((parameter) =>
      make(
        "tr",
        {},
        make(
          "td",
          {},
          make("code", {}, parameter.name),
          parameter.required ? make("span", { class: "required" }, " required") : null,
        ),
        make("td", {}, parameter.in),
        make("td", {}, typeOf(parameter.schema ?? {})),
        make(
          "td",
          {},
          inline(
            [parameter.description, rules(parameter.schema ?? {})].filter((text) => text).join(" — "),
          ),
        ),
      ),
    );
    return table(["Name", "In", "Type", "What it does"], rows);
  }

  function answers(operation) {
    const rows = Object.entries(operation.responses ?? {}).map(([status, given]) => {
      const answer = resolve(given);
      const kinds = Object.entries(answer.content ?? {});
      const about = make("td", {}, answer.description ?? "");
      for (const [kind, content] of status < "300" ? kinds : []) {
        const inside = fields(content.schema);
        if (inside) {
          about.append(make("details", { class: "fields" }, make("summary", {}, "Fields"), inside));
        } else {
          about.append(" ", make("code", {}, kind), ` ${typeOf(content.schema ?? {})}`);
        }
      }
      return make("tr", {}, make("td", {}, make("code", {}, status)), about);
    });
    return table(["Status", "Answer"], rows);
  }

  /** The form to try an operation with the login of this browser. */
  function tryForm(method, path, operation, parameters) {
    const kinds = Object.keys(resolve(operation.responses?.["200"] ?? {}).content ?? {});
    if (kinds.includes("text/event-stream")) {
      return make("p", { class: "hint" }, "A stream: it cannot be tried here.");
    }
    const prefix = `${operation.operationId}-`;
    const inputs = parameters.map((parameter) => {
      const id = prefix + parameter.in + parameter.name;
      const choices = simple(parameter.schema ?? {}).schema.enum;
      const common = { id, name: parameter.name, required: parameter.required };
      const input = choices
        ? make(
            "select",
            common,
            make("option", { value: "" }, "(not given)"),
            choices.map((word) => make("option", {}, String(word))),
          )
        : make("input", { ...common, autocomplete: "off" });
      return { parameter, input, label: make("label", { for: id }, `${parameter.name} (${parameter.in})`) };
    });
    const example = exampleOf(operation);
    const bodyId = `${prefix}body`;
    const body = example === null ? null : make("textarea", { id: bodyId, spellcheck: "false" });
    if (body) {
      body.value = example;
    }
    const button = make("button", { type: "submit" }, "Send");
    const said = make("p", { role: "status" });
    const shown = make("pre", { hidden: true, tabindex: "0", "aria-label": "Answer" });
    const form = make(
      "form",
      {},
      inputs.map(({ label, input }) => make("div", {}, label, input)),
      body ? make("div", {}, make("label", { for: bodyId }, "Body (JSON)"), body) : null,
      method === "get"
        ? null
        : make("p", { class: "hint" }, "This is no rehearsal: it changes what is there."),
      make("div", {}, button),
    );
    form.addEventListener("submit", async (event) => {
      event.preventDefault();
      button.disabled = true;
      said.className = "";
      said.textContent = "Sending…";
      shown.hidden = true;
      try {
        await send(method, path, inputs, body, said, shown);
      } catch (error) {
        said.className = "failed";
        said.textContent = `No answer: ${error.message}`;
      }
      button.disabled = false;
    });
    return make("div", {}, form, said, shown);
  }

  async function send(method, path, inputs, body, said, shown) {
    const query = new URLSearchParams();
    const headers = {};
    let filled = path;
    for (const { parameter, input } of inputs) {
      const value = input.value;
      if (parameter.in === "path") {
        filled = filled.replace(`{${parameter.name}}`, encodeURIComponent(value));
      } else if (value !== "" && parameter.in === "query") {
        query.append(parameter.name, value);
      } else if (value !== "" && parameter.in === "header") {
        headers[parameter.name] = value;
      }
    }
    if (body) {
      headers["Content-Type"] = "application/json";
    }
    const asked = query.size ? `${filled}?${query}` : filled;
    const began = performance.now();
    const answer = await fetch(asked, {
      method: method.toUpperCase(),
      headers,
      body: body ? body.value : undefined,
      credentials: "same-origin",
    });
    let text = await answer.text();
    const elapsed = Math.round(performance.now() - began);
    try {
      text = JSON.stringify(JSON.parse(text), null, 2);
    } catch {
      // Not JSON: shown as it came.
    }
    const etag = answer.headers.get("etag");
    said.className = answer.ok ? "" : "failed";
    said.textContent =
      `${answer.status} ${answer.statusText} in ${elapsed} ms: ${method.toUpperCase()} ${asked}` +
      (etag ? ` (ETag ${etag})` : "");
    shown.textContent = text.length > 200000 ? `${text.slice(0, 200000)}\n… cut here` : text;
    shown.hidden = text === "";
    if (path.startsWith("/api/auth/")) {
      await showLogin();
    }
  }

  function inside(method, path, operation) {
    const parameters = (operation.parameters ?? []).map(resolve);
    const body = operation.requestBody?.content?.["application/json"];
    const parts = [
      ...paragraphs(operation.description ?? ""),
      make("p", { class: "who" }, logins(operation)),
    ];
    if (parameters.length) {
      parts.push(make("h3", {}, "Parameters"), parameterTable(parameters));
    }
    if (body) {
      parts.push(make("h3", {}, "Body"), fields(body.schema));
      if (body.example) {
        parts.push(make("h3", {}, "Example"), make("pre", { tabindex: "0" }, exampleOf(operation)));
      }
    }
    parts.push(make("h3", {}, "Answers"), answers(operation));
    parts.push(make("h3", {}, "Try it"), tryForm(method, path, operation, parameters));
    return make("div", { class: "inside" }, parts);
  }

  function show(method, path, operation) {
    const details = make(
      "details",
      { class: "operation", id: `op-${operation.operationId}` },
      make(
        "summary",
        {},
        make("span", { class: `method ${method}` }, method.toUpperCase()),
        make("span", { class: "path" }, path),
        make("span", { class: "summary" }, operation.summary ?? ""),
      ),
    );
    // Filled when first opened: the page is quick, however much there is.
    details.addEventListener("toggle", () => {
      if (details.open && details.children.length === 1) {
        details.append(inside(method, path, operation));
      }
    });
    details.dataset.words =
      `${method} ${path} ${operation.operationId} ${operation.summary} ${operation.description}`.toLowerCase();
    return details;
  }

  function filter() {
    const words = byId("filter").value.toLowerCase().split(/\s+/).filter((word) => word);
    let found = 0;
    for (const section of document.querySelectorAll("main section")) {
      let some = false;
      for (const operation of section.querySelectorAll("details.operation")) {
        const fits = words.every((word) => operation.dataset.words.includes(word));
        operation.hidden = !fits;
        some = some || fits;
        found += fits ? 1 : 0;
      }
      section.hidden = !some;
    }
    byId("found").textContent = `${found} operation${found === 1 ? "" : "s"}`;
  }

  /** Opens the operation that the address names. */
  function openNamed() {
    const named = location.hash.slice(1);
    const found = named && byId(named);
    if (found instanceof HTMLDetailsElement) {
      found.open = true;
      found.scrollIntoView();
    }
  }

  async function showLogin() {
    const answer = await fetch("/api/auth/status", { credentials: "same-origin" });
    const user = answer.ok ? (await answer.json()).user : null;
    byId("login").textContent = user ? `Logged in as ${user.username} (${user.role})` : "Not logged in";
  }

  async function start() {
    const answer = await fetch("/api/openapi.json", { credentials: "same-origin" });
    if (!answer.ok) {
      throw new Error(`the document was answered with ${answer.status}`);
    }
    api = await answer.json();
    document.title = `${api.info.title} API`;
    byId("title").textContent = `${api.info.title} API`;
    byId("about").textContent = api.info.description ?? "";
    byId("version").textContent = `Version ${api.info.version}`;
    const tags = new Map((api.tags ?? []).map((tag) => [tag.name, []]));
    for (const [path, methods] of Object.entries(api.paths)) {
      for (const [method, operation] of Object.entries(methods)) {
        const tag = operation.tags?.[0] ?? "other";
        tags.set(tag, [...(tags.get(tag) ?? []), show(method, path, operation)]);
      }
    }
    for (const [tag, operations] of tags) {
      const id = `tag-${tag}`;
      byId("tags").append(make("li", {}, make("a", { href: `#${id}` }, tag)));
      byId("operations").append(
        make("section", { "aria-labelledby": id }, make("h2", { id }, tag), operations),
      );
    }
    byId("filter").addEventListener("input", filter);
    addEventListener("hashchange", openNamed);
    filter();
    openNamed();
    await showLogin();
  }

  start().catch((error) => {
    byId("about").textContent = `The document cannot be shown: ${error.message}`;
  });
})();
