// The explorer's page: its frame and its timeline. Nothing that a server says is believed: what is shown as checked was
// checked here, under the key that the reader brought; everything else is shown as it was sent, and says so.
// What shows and checks one entry, views.mjs and the verifier, is loaded when it is first asked for.
import * as d from "./draw.mjs";
const { h } = d;

const FILTERS = ["event_type", "execution_status", "event_category", "actor_id", "action_type", "text", "since", "until"];
const VIEWS = { timeline: "Timeline", governance: "Governance", keys: "Keys", confirming: "Who confirms it", figures: "Figures", file: "Check a file" };
const content = document.getElementById("content");
/** A published folder: static files, and no server of ours. */
export const isFolder = document.documentElement.dataset.source === "folder";
/** The reader's verifier key, as text. */
export let key = decodeURIComponent(location.hash.match(/^#key=(.+)$/)?.[1] ?? "");
// The token that a service asks readers for stays in this tab: no other page, and no link, has it.
const TOKEN = "attestlog.token";

/** Not read, which is neither good nor bad: as NotChecked of the verifier. */
export const unread = (message, facts) => Object.assign(new Error(message), { name: "NotChecked", code: "unsupported", finding: "entry.unverified", ...facts });
/** The bytes of a path of the page's API: see explorer/answering.py. */
export const get = async path => (isFolder ? (await import("./folder.mjs")).answer(path) : fromServer(path));
async function fromServer(path) {
  const wanted = place().get("log"), token = sessionStorage.getItem(TOKEN);
  const url = `api/${path}${wanted ? `${path.includes("?") ? "&" : "?"}${new URLSearchParams({ log: wanted })}` : ""}`;
  let answer, bytes;
  try {
    answer = await fetch(url, { redirect: "error", cache: "no-store", headers: token ? { authorization: `Bearer ${token}` } : {} });
    bytes = new Uint8Array(await answer.arrayBuffer());
  } catch { throw unread("The server does not answer."); }
  if (answer.ok) return bytes;
  let problem = {};
  try { problem = JSON.parse(new TextDecoder().decode(bytes)); } catch { /* not ours */ }
  throw unread(problem.detail ?? `${path}: HTTP ${answer.status}`, { status: answer.status, asksWhich: problem.evidence?.member === "log" });
}
export const ask = async path => JSON.parse(new TextDecoder().decode(await get(path)));
export const place = () => new URLSearchParams(location.search);
const hash = () => (key ? `#key=${encodeURIComponent(key)}` : "");
/** The address of a place on this page, of the same log, with the reader's key. */
export function address(members, from = new URLSearchParams()) {
  for (const [name, value] of Object.entries({ log: place().get("log"), ...members })) if (value === "" || value === null || value === undefined) from.delete(name); else from.set(name, value);
  return `?${from}${hash()}`;
}
export const link = (text, members, attributes = {}) => h("a", { ...attributes, href: address(members), onclick: event => { if (event.ctrlKey || event.metaKey || event.shiftKey) return; event.preventDefault(); go(members); } }, text);
export function go(members) { history.pushState(null, "", address(members)); show(true); }

const views = () => import("./views.mjs");
const PAGES = { timeline };
for (const name of ["entry", "find", "governance", "keys", "confirming", "figures", "file"]) PAGES[name] = async asked => (await views())[name](asked);
let turn = 0;
async function show(isNew) {
  const asked = place(), own = ++turn, view = asked.get("entry") !== null ? "entry" : asked.get("view") ?? "timeline";
  bar(view);
  content.setAttribute("aria-busy", "true");
  let made;
  try { made = [await (PAGES[view] ?? timeline)(asked)].flat().filter(Boolean); } catch (error) { made = await unshown(error); }
  if (own !== turn) return;  // the reader went on meanwhile: what came late must not stand over what was asked for last
  content.replaceChildren(...made);
  content.removeAttribute("aria-busy");
  const title = content.querySelector("h1")?.textContent ?? "";
  document.title = `${title}: attestlog explorer`;
  // Who began to type above meanwhile goes on there.
  if (isNew && !document.getElementById("bar").contains(document.activeElement)) { content.focus({ preventScroll: true }); scrollTo(0, 0); }
}
async function unshown(error) {
  if (error.status === 401 || error.status === 403) return signIn(error.message);
  if (error.asksWhich) { const { logs } = await ask("logs"); return [...heading("Which log?", "This service has several."), h("ul", null, logs.map(origin => h("li", null, link(d.visible(origin), { log: origin }))))]; }
  return [h("h1", null, "This cannot be shown"), h("p", null, d.visible(error.message))];
}
function signIn(message) {
  const input = h("input", { id: "token", type: "password", autocomplete: "off", spellcheck: "false", required: true });
  const submit = event => { event.preventDefault(); sessionStorage.setItem(TOKEN, input.value.trim()); show(true); };
  return [...heading("A token is asked for", "This service shows its log to those who may read it."), h("p", null, d.visible(message)),
    h("form", { class: "key", onsubmit: submit }, h("label", { for: "token" }, "Token with the scope read, from those who run this service"), h("div", { class: "row" }, input, h("button", null, "Read"))),
    h("p", { class: "note" }, "It stays in this tab until the tab is closed. It is not the verifier key above, which is public.")];
}
function bar(view) {
  const input = h("input", { id: "key", value: key, autocomplete: "off", spellcheck: "false", placeholder: "example.com/agents+1a2b3c4d+AbC…" });
  const submit = event => { event.preventDefault(); key = input.value.trim(); history.replaceState(null, "", address({}, place())); show(false); };
  document.getElementById("bar").replaceChildren(h("div", { class: "bar" }, h("nav", { "aria-label": "Views" }, Object.entries(VIEWS).map(([name, title]) => link(title, { view: name === "timeline" ? "" : name }, { "aria-current": view === name || (view === "entry" && name === "timeline") ? "page" : null }))),
    h("form", { class: "key", onsubmit: submit }, h("label", { for: "key" }, "Verifier key, from somebody you trust and not from this server"), h("div", { class: "row" }, input, h("button", null, key ? "Change" : "Use this key")))));
}
export const heading = (title, lead) => [h("h1", null, title), lead ? h("p", { class: "lead" }, lead) : null].filter(Boolean);
export const section = (title, ...children) => h("section", null, h("h2", null, title), ...children);
const asSent = () => h("p", { class: "note" }, "Shown as the server sent it. Open an entry to check it here.");

// --- timeline ---

const CHOICES = { event_type: ["ACTION", "DECISION", "VIOLATION", "CHANGE", "BOOT", "SHUTDOWN"], execution_status: ["SUCCESS", "FAILED", "BLOCKED", "ROLLED_BACK"], event_category: ["NORMAL", "WARNING", "ERROR", "CRITICAL"] };
export const LABELS = { event_type: "Event", execution_status: "Status", event_category: "Category", actor_id: "Actor", action_type: "Action", text: "Words", since: "Since", until: "Until" };
export const HINTS = { actor_id: "agent-7", action_type: "deploy*", text: "words", since: "7d or 2026-11-01", until: "1h or 2026-12-01" };

async function timeline(asked) {
  const query = new URLSearchParams();
  for (const name of [...FILTERS, "cursor"]) if (asked.get(name)) query.set(name, asked.get(name));
  const [about, page] = await Promise.all([ask("log"), ask(`entries?${query}`)]), lane = asked.get("lane") ?? "";
  return [...heading(about.origin, `${d.counted(about.size, "entry", "entries")}, newest first`), filters(asked, lane),
    page.entries.length ? lanes(page.entries, lane) : h("p", null, page.next_cursor === null ? "No entry matches." : "None of these entries matches: there are older ones."),
    page.looked ? h("p", { class: "note" }, `Entries ${page.looked[0].toLocaleString("en")} to ${page.looked[1].toLocaleString("en")} were looked through.`) : null, asSent(),
    h("nav", { class: "row", "aria-label": "Pages" }, asked.get("cursor") ? link("Newest", { ...kept(asked), cursor: "" }, { class: "button" }) : null, page.next_cursor === null ? null : link("Older entries", { ...kept(asked), cursor: page.next_cursor }, { class: "button" }))];
}
const kept = asked => Object.fromEntries([...FILTERS, "lane"].map(name => [name, asked.get(name)]).filter(([, value]) => value));
function filters(asked, lane) {
  const field = name => h("div", null, h("label", { for: name }, LABELS[name]), CHOICES[name]
    ? h("select", { id: name, name }, h("option", { value: "" }, "any"), CHOICES[name].map(value => h("option", { value, selected: asked.get(name) === value }, value.replace("_", " ").toLowerCase())))
    : h("input", { id: name, name, value: asked.get(name) ?? "", placeholder: HINTS[name] }));
  const submit = event => { event.preventDefault(); go(Object.fromEntries([...new FormData(event.target)].filter(([, value]) => value))); };
  return h("form", { class: "filters", role: "search", onsubmit: submit }, FILTERS.map(field),
    h("div", null, h("label", { for: "lane" }, "Lanes"), h("select", { id: "lane", name: "lane" }, [["", "none"], ["session", "by session"], ["trace", "by trace"], ["actor_id", "by actor"]].map(([value, text]) => h("option", { value, selected: lane === value }, text)))),
    h("div", { class: "row end" }, h("button", null, "Filter"), link("Clear", {}, { class: "button plain" })));
}
function lanes(entries, lane) {
  if (!lane) return rows("Entries", joined(entries));
  const found = new Map();
  for (const entry of entries) { const name = entry[lane] ?? ""; found.set(name, [...(found.get(name) ?? []), entry]); }
  return h("div", null, [...found].map(([name, own]) => h("section", { class: "lane" }, h("h2", null, name ? d.visible(name) : `without a ${lane}`, h("span", { class: "faint" }, ` ${own.length}`)), rows(`Entries of ${d.visible(name) || "no lane"}`, joined(own)))));
}
/** An intent and the outcome that depends on it stand in one row. */
export function joined(entries) {
  const outcomes = new Map(entries.filter(entry => entry.guard === "outcome" && entry.after.length).map(entry => [entry.after[0], entry])), taken = new Set();
  for (const entry of entries) if (entry.guard === "intent" && outcomes.has(entry.entry_id)) taken.add(entry.sequence_number);
  const intents = new Map(entries.filter(entry => taken.has(entry.sequence_number)).map(entry => [entry.entry_id, entry]));
  return entries.filter(entry => !taken.has(entry.sequence_number)).map(entry => ({ ...entry, intent: intents.get(entry.after[0] ?? "") ?? null }));
}
export const rows = (caption, entries) => d.table(caption, [["Entry", "number"], ["Time (UTC)", "when"], ["Action"], ["Actor"], ["Event"], ["Status"], ["Score", "number"]],
  entries.map(entry => [entry.intent ? h("span", null, link(entry.intent.sequence_number, { entry: entry.intent.sequence_number }, { title: "the intent" }), " → ", link(entry.sequence_number, { entry: entry.sequence_number }, { title: "the outcome" })) : link(entry.sequence_number, { entry: entry.sequence_number }),
    d.time(entry.timestamp), link(d.visible(entry.action_type), { entry: entry.sequence_number }), d.named(entry.actor_id), d.badge(entry.event_type), d.badge(entry.execution_status), entry.composite_score === null ? "–" : entry.composite_score.toFixed(1)]), "cards");

addEventListener("popstate", () => show(true));
show(false);
