// What pages can't do without a script: dialogs, keys, copying, ages that stay right, the theme.
// Every page works without it; nothing is decided here.
(() => {
  "use strict";
  const one = (selector, root = document) => root.querySelector(selector);
  const all = (selector, root = document) => [...root.querySelectorAll(selector)];
  const html = document.documentElement;

  // --- the theme: a cookie, so that the server's next page begins in it ---
  const toggleTheme = () => {
    const dark = html.dataset.theme ? html.dataset.theme === "dark" : matchMedia("(prefers-color-scheme: dark)").matches;
    html.dataset.theme = dark ? "light" : "dark";
    document.cookie = `antiphon_theme=${html.dataset.theme}; path=/ui; max-age=31536000; samesite=lax`;
  };

  // --- ages: by the gateway's clock, whatever this computer's says ---
  const ahead = Date.now() / 1000 - Number(html.dataset.now);
  const age = (seconds) => {
    if (seconds < 1) return "now";
    if (seconds < 60) return `${Math.floor(seconds)} s ago`;
    for (const [size, name] of [[86400, "d"], [3600, "h"], [60, "min"]])
      if (seconds >= size) return `${Math.floor(seconds / size)} ${name} ago`;
  };
  const refreshAges = () => {
    const now = Date.now() / 1000 - ahead;
    for (const time of all("time[data-at]")) {
      const text = age(now - Number(time.dataset.at));
      if (time.textContent !== text && now > Number(time.dataset.at)) time.textContent = text;
    }
  };
  setInterval(refreshAges, 5000);

  // --- asking before anything is done ---
  const dialog = () => one("#ask");
  const openAsk = async (link) => {
    const headers = { "HX-Request": "true", "X-Ask": "dialog" };
    const response = await fetch(link.href, { headers }).catch(() => null);  // the page itself says what is wrong
    if (!response?.ok || response.redirected) return location.assign(link.href);
    one("#ask-body").innerHTML = await response.text();
    dialog().showModal();
    const first = one("#ask-body [autofocus]") || one("#ask-body input:not([type=hidden]), #ask-body textarea, #ask-body button");
    if (first) first.focus();
  };

  // --- copying ---
  const copy = async (button) => {
    const text = button.dataset.copy ?? one("pre", button.parentElement).textContent;
    try {
      await navigator.clipboard.writeText(text);
    } catch {
      const area = Object.assign(document.createElement("textarea"), { value: text });
      document.body.append(area);
      area.select();
      document.execCommand("copy");
      area.remove();
    }
    button.classList.add("done");
    say("Copied");
    setTimeout(() => button.classList.remove("done"), 1200);
  };
  const say = (text) => {
    let place = one("#said");
    if (!place) {
      place = Object.assign(document.createElement("div"), { id: "said", className: "visually-hidden" });
      place.setAttribute("role", "status");
      document.body.append(place);
    }
    place.textContent = text;
  };

  document.addEventListener("click", (event) => {
    const on = (selector) => event.target.closest(selector);
    const plain = !(event.ctrlKey || event.metaKey || event.shiftKey || event.button);
    let found;
    if ((found = on("[data-copy], [data-copy-text]"))) { event.preventDefault(); copy(found); }
    else if (on("[data-theme-toggle]")) toggleTheme();
    else if (on("[data-help]")) one("#help").showModal();
    else if ((found = on("[data-dismiss]"))) found.closest(".notice").remove();
    else if ((found = on("[data-close]")) && dialog().open) { event.preventDefault(); dialog().close(); }
    else if ((found = on("a[data-ask]")) && plain) { event.preventDefault(); openAsk(found); }
    else if ((found = on("[data-expand]"))) for (const lane of all(".story details.lane")) lane.open = found.dataset.expand === "yes";
    for (const menu of all("details.menu[open]")) if (!menu.contains(event.target)) menu.open = false;
  });
  document.addEventListener("change", (event) => {
    if (event.target.matches("[data-select-all]"))
      for (const box of all("input[name=id]", event.target.closest("form"))) box.checked = event.target.checked;
    if (event.target.matches("[data-submit]")) event.target.form.requestSubmit();
    refreshSelection();
  });
  // A form is sent once, however often its button is pushed.
  document.addEventListener("submit", (event) => {
    if (event.target.method === "post") setTimeout(() => { for (const button of all("button", event.target)) button.disabled = true; });
  });
  const refreshSelection = () => {
    for (const place of all("[data-selected]")) {
      const count = all("input[name=id]:checked").length;
      place.textContent = count ? `${count} selected` : "None selected";
      for (const button of all("[data-needs-selection]")) button.disabled = count === 0;
    }
  };

  // --- keys: rows by j and k, pages by g and a letter ---
  const rows = () => all("[data-row]").filter((row) => row.getClientRects().length);
  const current = () => one("[data-row].current");
  const target = (row) => (row.matches("details") ? one("summary", row) : one("a[data-open]", row) || one("a", row));
  const move = (by) => {
    const list = rows();
    if (!list.length) return;
    const at = list.indexOf(current());
    const next = list[Math.min(Math.max(at + by, 0), list.length - 1)];
    current()?.classList.remove("current");
    next.classList.add("current");
    target(next)?.focus({ preventScroll: true });
    next.scrollIntoView({ block: "nearest" });
  };
  let going = 0;
  document.addEventListener("keydown", (event) => {
    if (event.ctrlKey || event.metaKey || event.altKey) return;
    if (event.key === "Escape") {
      for (const menu of all("details.menu[open]")) { menu.open = false; one("summary", menu).focus(); }
      if (event.target.id === "find") event.target.blur();
      return;
    }
    if (event.target.closest("input:not([type=checkbox]), textarea, select, dialog[open]")) return;
    if (going && Date.now() - going < 1500) {
      going = 0;
      const link = one(`[data-go="${CSS.escape(event.key)}"]`);
      if (link) { event.preventDefault(); location.assign(link.href); }
      return;
    }
    switch (event.key) {
      case "g": going = Date.now(); break;
      case "/": event.preventDefault(); one("#find")?.focus(); break;
      case "?": one("#help").showModal(); break;
      case "t": toggleTheme(); break;
      case "j": move(1); break;
      case "k": move(-1); break;
      case "s": one("[data-story]") && location.assign(one("[data-story]").href); break;
      case "x": {
        const box = current() && one("input[name=id]", current());
        if (box) { box.checked = !box.checked; refreshSelection(); }
        break;
      }
      case "Enter":
        if (current() && !event.target.closest("a, button, summary, input")) target(current())?.click();
        break;
    }
  });

  // --- live pages: what was open, current or chosen stays so when a newer page is laid over it ---
  document.addEventListener("htmx:beforeRequest", (event) => {
    if (document.hidden && event.target.matches("[data-poll]")) event.preventDefault();
  });
  if (window.Idiomorph)
    Idiomorph.defaults.callbacks.beforeAttributeUpdated = (name, node) =>
      !((name === "open" && node.matches("details")) || (name === "class" && node.matches("[data-row].current")) || name === "checked");
  document.addEventListener("htmx:afterSettle", () => { one("#stale")?.remove(); refreshAges(); refreshSelection(); });
  // What could not be brought up to date says so: old numbers look like new ones. A poll tries again anyway.
  const stale = (event) => {
    const live = event.target;
    if (live.id !== "live") return;
    if (!live.matches("[data-poll]")) setTimeout(() => htmx.trigger(live, "sse:changed"), 5000);
    if (one("#stale")) return;
    const since = `${new Date().toISOString().slice(11, 19)} UTC`;
    const said = event.detail.xhr?.status ? `the gateway answered ${event.detail.xhr.status}` : "the gateway did not answer";
    const notice = Object.assign(document.createElement("div"), { id: "stale", className: "notice tone-warn" });
    notice.append(Object.assign(document.createElement("span"), {
      textContent: `Since ${since} this page can't be brought up to date (${said}): what it shows is from before. It tries again.`,
    }));
    one("#notices").append(notice);
  };
  for (const name of ["htmx:responseError", "htmx:sendError", "htmx:timeout"]) document.addEventListener(name, stale);
  // A stream takes one of the six connections that a browser has for one gateway: a page that nobody looks at
  // gives it back, and asks what it has missed when it is looked at again.
  class Stream {
    constructor(url) {
      Object.assign(this, { url, seen: null, told: [], source: null });
      this.turned = () => (document.hidden ? this.rest() : this.source || this.open());
      document.addEventListener("visibilitychange", this.turned);
      if (!document.hidden) this.open();
    }
    get readyState() { return this.source ? this.source.readyState : EventSource.CONNECTING; }
    open() {
      const url = new URL(this.url, location.href);
      if (this.seen !== null) url.searchParams.set("seen", this.seen);
      const source = (this.source = new EventSource(url));
      source.onopen = (event) => this.onopen?.(event);
      source.onerror = (event) => {
        this.onerror?.(event);
        if (source.readyState === EventSource.CLOSED) this.close();  // it is made anew from outside
      };
      for (const [name, , heard] of this.told) source.addEventListener(name, heard);
    }
    addEventListener(name, listener) {
      const heard = (event) => { this.seen = event.lastEventId || this.seen; listener(event); };
      this.told.push([name, listener, heard]);
      this.source?.addEventListener(name, heard);
    }
    removeEventListener(name, listener) {
      for (const [, , heard] of this.told.filter((one) => one[0] === name && one[1] === listener))
        this.source?.removeEventListener(name, heard);
      this.told = this.told.filter((one) => one[0] !== name || one[1] !== listener);
    }
    rest() { this.source?.close(); this.source = null; }
    close() { document.removeEventListener("visibilitychange", this.turned); this.source?.close(); }
  }
  if (window.htmx) htmx.createEventSource = (url) => new Stream(url);
  for (const [name, on] of [["htmx:sseOpen", true], ["htmx:sseError", false], ["htmx:sseClose", false]])
    document.addEventListener(name, () => {
      for (const place of all("[data-live]")) {
        place.classList.toggle("on", on);
        place.textContent = on ? "Live" : "Reconnecting";
      }
    });
  refreshSelection();
  if (location.hash) {
    const aim = document.getElementById(location.hash.slice(1));
    if (aim?.matches("details")) aim.open = true;
  }
})();
