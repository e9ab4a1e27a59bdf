"use strict";
(() => {
  const data = JSON.parse(document.getElementById("data").textContent);
  const $ = (id) => document.getElementById(id);

  /** Return a new element with attributes, a text or children. No text is parsed as HTML. */
  function el(tag, attributes = {}, ...children) {
    const made = document.createElement(tag);
    for (const [name, value] of Object.entries(attributes)) made.setAttribute(name, value);
    made.append(...children.filter((child) => child !== null && child !== ""));
    return made;
  }

  // The way of a request through a plan, as a picture.

  function box(kind, title, phase, place, more) {
    return el("li", { class: kind }, el("span", { class: "phase" }, phase), title,
      place ? el("small", {}, place) : null, more ? el("small", { class: "refuses" }, more) : null);
  }

  function policyBox(policy) {
    const may = policy.mode === "report" ? "only reports denials" : policy.refuses ? "may refuse" : "";
    return box("policy", policy.text, policy.phase, `${policy.scope}, ${policy.site}`, may);
  }

  function otherBox(fact) {
    const place = [fact.scope, fact.site].filter(Boolean).join(", ");
    return box("other", fact.text, fact.purpose, place, fact.purpose === "unknown" ? fact.detail : "");
  }

  function wayOf(route) {
    const others = route.foreign.map((number) => data.foreign[number]);
    const around = others.filter((fact) => fact.scope !== "view").map(otherBox);
    const near = others.filter((fact) => fact.scope === "view").map(otherBox);
    const view = box("view", `view ${route.endpoint}`, "", route.site, "");
    return el("ol", { class: "flow" }, ...route.policies.map((number) => policyBox(data.policies[number])),
      ...around, ...near, view);
  }

  function panelOf(route) {
    const found = route.findings.map((number) => data.findings[number]);
    const listed = found.length ? el("ul", {}, ...found.map((each) =>
      el("li", {}, el("b", {}, `${each.rule} ${each.severity}: `), `${each.title}. ${each.fix}`))) : null;
    return el("div", { class: "panel" },
      el("h3", {}, "The way of a request: down on the left; the response: up on the right"), wayOf(route), listed);
  }

  // Rows open and close.

  const body = document.querySelector("#routes tbody");
  const rows = [...body.rows];

  body.addEventListener("click", (event) => {
    const button = event.target.closest("button[data-route]");
    if (!button) return;
    const row = button.closest("tr");
    const isOpen = button.getAttribute("aria-expanded") === "true";
    button.setAttribute("aria-expanded", String(!isOpen));
    if (isOpen) {
      row.nextElementSibling.remove();
      return;
    }
    const cell = el("td", { colspan: String(row.cells.length) }, panelOf(data.routes[button.dataset.route]));
    row.after(el("tr", { class: "way" }, cell));
  });

  // The requests of the app, on the page of an inspector.

  function stepBox(step) {
    const costs = [step.enter_us, step.leave_us].filter((cost) => cost !== null).map((cost) => `${cost} µs`).join(" + ");
    const verdict = [step.verdict, step.status, step.reason && `(${step.reason})`].filter(Boolean).join(" ");
    const fields = step.fields.length ? `+ ${step.fields.join(", ")}` : "";
    return box(step.verdict === "denied" || step.verdict === "failed" ? "policy error" : "policy",
      step.text, costs, `${verdict} ${fields}`, step.needed);
  }

  function requestItem(request) {
    const kind = request.status < 400 ? "good" : request.status < 500 ? "warning" : "error";
    const denied = request.steps.find((step) => ["denied", "answered", "failed"].includes(step.verdict));
    const by = denied ? ` ${denied.verdict} by ${denied.text}` : "";
    const title = el("summary", {}, el("span", { class: `status ${kind}` }, String(request.status)),
      ` ${request.method} ${request.path} ${request.ms} ms${by}`);
    const item = el("details", {}, title);
    item.addEventListener("toggle", () => {
      if (item.open && item.children.length === 1) {
        const end = box("view", request.endpoint ? `view ${request.endpoint}` : "no view", "", request.error || "", "");
        item.append(el("div", { class: "panel" }, el("ol", { class: "flow" }, ...request.steps.map(stepBox), end)));
      }
    });
    return el("li", {}, item);
  }

  function watch(url, kept) {
    const pause = $("pause");
    let last = -1;
    async function look() {
      if (pause.getAttribute("aria-pressed") === "true" || document.hidden) return;
      try {
        const found = await (await fetch(`${url}?after=${last}`, { cache: "no-store" })).json();
        if (found.last < last) { // the app has started again
          $("log").replaceChildren();
          last = -1;
          return;
        }
        last = found.last;
        $("log").prepend(...found.requests.reverse().map(requestItem));
        while ($("log").children.length > kept) $("log").lastElementChild.remove();
        $("state").textContent = $("log").children.length ? "" : "No request yet.";
      } catch {
        $("state").textContent = "The app does not answer.";
      }
    }
    pause.addEventListener("click", () => {
      pause.setAttribute("aria-pressed", String(pause.getAttribute("aria-pressed") !== "true"));
    });
    look();
    setInterval(look, 1000);
  }

  if (data.live) watch(data.live, 200);

  // The filter.

  function wordsOf(route) {
    return [
      route.method, route.host, route.path, route.endpoint, ...route.below,
      ...route.policies.map((number) => data.policies[number]).map((policy) => `${policy.text} ${policy.mode}`),
      ...route.foreign.map((number) => data.foreign[number].text),
      ...route.findings.map((number) => data.findings[number]).map((each) => `${each.rule} ${each.severity}`),
      route.unguarded_write ? "unguarded" : "",
    ].join(" ").toLowerCase();
  }

  const texts = data.routes.map(wordsOf);
  const filter = $("filter");
  const all = $("all");
  const AT_ONCE = Number(all.dataset.atOnce); // rows that are laid out at first, so that typing stays fast
  let most = AT_ONCE;
  let waiting = 0;

  function matches(text, words) {
    return words.every((word) => word.startsWith("-") && word.length > 1
      ? !text.includes(word.slice(1)) : text.includes(word));
  }

  function apply() {
    waiting = 0;
    const words = filter.value.toLowerCase().split(/\s+/).filter(Boolean);
    let found = 0;
    rows.forEach((row, number) => {
      const keep = matches(texts[number], words);
      found += keep ? 1 : 0;
      if (row.hidden === keep) row.hidden = !keep;
      row.classList.toggle("more", keep && found > most);
      const next = row.nextElementSibling;
      if (next && next.className === "way") next.hidden = row.hidden || found > most;
    });
    $("shown").textContent = `${found} of ${rows.length} routes`;
    all.hidden = found <= most;
    all.textContent = `Show all ${found}`;
    const kept = words.length ? `#filter=${encodeURIComponent(filter.value)}` : "";
    if (kept || location.hash.startsWith("#filter=")) history.replaceState(null, "", kept || "#");
  }

  function show(text) {
    filter.value = text;
    most = AT_ONCE;
    apply();
  }

  filter.addEventListener("input", () => {
    most = AT_ONCE;
    waiting = waiting || requestAnimationFrame(apply);
  });
  all.addEventListener("click", () => {
    most = Infinity;
    apply();
    filter.focus();
  });
  filter.addEventListener("keydown", (event) => {
    if (event.key === "Escape") show("");
  });
  document.addEventListener("keydown", (event) => {
    if (event.key !== "/" || event.ctrlKey || event.metaKey || /^(INPUT|TEXTAREA)$/.test(event.target.tagName)) return;
    event.preventDefault();
    filter.focus();
  });
  document.addEventListener("click", (event) => {
    const button = event.target.closest("button[data-filter]");
    if (!button) return;
    show(button.dataset.filter);
    filter.focus();
  });
  show(location.hash.startsWith("#filter=") ? decodeURIComponent(location.hash.slice(8)) : "");
})();
