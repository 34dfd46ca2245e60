// The explorer's page. The server is believed with nothing: what is shown as checked was checked here, under the key that
// the reader brought; everything else is shown as the server sent it, and says so.
import * as v from "./verify.mjs";
import * as d from "./draw.mjs";
import { Log, checkEntryHere } from "./check.mjs";
import { POLICY_CHANGES } from "./bundle.mjs";
import { filePlace } from "./file.mjs";
const { h } = d;

const FILTERS = ["event_type", "execution_status", "event_category", "actor_id", "action_type", "text", "since", "until"];
const VIEWS = { timeline: "Timeline", governance: "Governance", keys: "Keys", confirming: "Who confirms it", figures: "Figures", file: "Check a file" };
const content = document.getElementById("content");
let key = decodeURIComponent(location.hash.match(/^#key=(.+)$/)?.[1] ?? "");

async function get(path) {
  const answer = await fetch(path, { redirect: "error", cache: "no-store" });
  const bytes = new Uint8Array(await answer.arrayBuffer());
  if (!answer.ok) { let message = `${path}: HTTP ${answer.status}`; try { message = JSON.parse(new TextDecoder().decode(bytes)).message; } catch { /* not ours */ } throw new v.NotChecked(message); }
  return bytes;
}
const ask = async path => JSON.parse(new TextDecoder().decode(await get(path)));
const log = new Log(get);
const place = () => new URLSearchParams(location.search);
const address = (members, from = new URLSearchParams()) => { for (const [name, value] of Object.entries(members)) if (value === "" || value === null || value === undefined) from.delete(name); else from.set(name, value); return `?${from}${key ? `#key=${encodeURIComponent(key)}` : ""}`; };
const link = (text, members, attributes = {}) => h("a", { ...attributes, href: address(members), onclick: event => { if (event.ctrlKey || event.metaKey || event.shiftKey) return; event.preventDefault(); go(members); } }, text);
function go(members) { history.pushState(null, "", address(members)); show(true); }

async function show(isNew) {
  const asked = place(), view = asked.get("entry") !== null ? "entry" : asked.get("view") ?? "timeline";
  bar(view);
  content.setAttribute("aria-busy", "true");
  try { content.replaceChildren(...[await (PAGES[view] ?? PAGES.timeline)(asked)].flat().filter(Boolean)); } catch (error) { content.replaceChildren(h("h1", null, "This cannot be shown"), h("p", null, d.visible(error.message))); }
  content.removeAttribute("aria-busy");
  const title = content.querySelector("h1")?.textContent ?? "";
  document.title = `${title}: attestlog explorer`;
  if (isNew) { content.focus({ preventScroll: true }); scrollTo(0, 0); }
}
function bar(view) {
  const input = h("input", { id: "key", value: key, autocomplete: "off", spellcheck: "false", placeholder: "example.com/agents+1a2b3c4d+AbC…" });
  const submit = event => { event.preventDefault(); key = input.value.trim(); history.replaceState(null, "", address({}, place())); show(false); };
  document.getElementById("bar").replaceChildren(h("div", { class: "bar" }, h("nav", { "aria-label": "Views" }, Object.entries(VIEWS).map(([name, title]) => link(title, { view: name === "timeline" ? "" : name }, { "aria-current": view === name || (view === "entry" && name === "timeline") ? "page" : null }))),
    h("form", { class: "key", onsubmit: submit }, h("label", { for: "key" }, "Verifier key, from somebody you trust and not from this server"), h("div", { class: "row" }, input, h("button", null, key ? "Change" : "Use this key")))));
}
const heading = (title, lead) => [h("h1", null, title), lead ? h("p", { class: "lead" }, lead) : null].filter(Boolean);
const section = (title, ...children) => h("section", null, h("h2", null, title), ...children);
const asSent = () => h("p", { class: "note" }, "Shown as the server sent it. Open an entry to check it here.");

// --- timeline ---

const CHOICES = { event_type: ["ACTION", "DECISION", "VIOLATION", "CHANGE", "BOOT", "SHUTDOWN"], execution_status: ["SUCCESS", "FAILED", "BLOCKED", "ROLLED_BACK"], event_category: ["NORMAL", "WARNING", "ERROR", "CRITICAL"] };
const LABELS = { event_type: "Event", execution_status: "Status", event_category: "Category", actor_id: "Actor", action_type: "Action", text: "Words", since: "Since", until: "Until" };
const HINTS = { actor_id: "agent-7", action_type: "deploy*", text: "words", since: "7d or 2026-11-01", until: "1h or 2026-12-01" };

async function timeline(asked) {
  const query = new URLSearchParams();
  for (const name of [...FILTERS, "cursor"]) if (asked.get(name)) query.set(name, asked.get(name));
  const [about, page] = await Promise.all([ask("api/log"), ask(`api/entries?${query}`)]), lane = asked.get("lane") ?? "";
  return [...heading(about.origin, `${d.counted(about.size, "entry", "entries")}, newest first`), filters(asked, lane),
    page.entries.length ? lanes(page.entries, lane) : h("p", null, "No entry matches."), asSent(),
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
function joined(entries) {
  const outcomes = new Map(entries.filter(entry => entry.guard === "outcome" && entry.after.length).map(entry => [entry.after[0], entry])), taken = new Set();
  for (const entry of entries) if (entry.guard === "intent" && outcomes.has(entry.entry_id)) taken.add(entry.sequence_number);
  const intents = new Map(entries.filter(entry => taken.has(entry.sequence_number)).map(entry => [entry.entry_id, entry]));
  return entries.filter(entry => !taken.has(entry.sequence_number)).map(entry => ({ ...entry, intent: intents.get(entry.after[0] ?? "") ?? null }));
}
const rows = (caption, entries) => d.table(caption, [["Entry", "number"], ["Time (UTC)", "when"], ["Action"], ["Actor"], ["Event"], ["Status"], ["Score", "number"]],
  entries.map(entry => [entry.intent ? h("span", null, link(entry.intent.sequence_number, { entry: entry.intent.sequence_number }, { title: "the intent" }), " → ", link(entry.sequence_number, { entry: entry.sequence_number }, { title: "the outcome" })) : link(entry.sequence_number, { entry: entry.sequence_number }),
    d.time(entry.timestamp), link(d.visible(entry.action_type), { entry: entry.sequence_number }), d.named(entry.actor_id), d.badge(entry.event_type), d.badge(entry.execution_status), entry.composite_score === null ? "–" : entry.composite_score.toFixed(1)]));

// --- one entry ---

async function entryPage(asked) {
  const number = Number(asked.get("entry")), entry = JSON.parse(new TextDecoder().decode(await get(`api/entries/${number}`))), about = await ask("api/log");
  const steps = h("ol", { id: "steps", class: "steps", "aria-live": "polite" }), verdict = h("div", { id: "verdict", class: "verdict unknown", role: "status", "data-verdict": "unknown" }, h("p", { class: "verdict-title" }, "Not checked yet"), h("p", null, key ? "Shown as the server sent it." : "Shown as the server sent it. Give the log's verifier key above to check it in this browser."));
  const button = h("button", { id: "check", onclick: () => checkHere(entry, number, steps, verdict), disabled: !v.canCheck() || !key }, "Check here");
  let policy = null, rules = null;
  try { ({ rules } = await log.rules(number ? entry.environment.attestlog_rules : `0:${entry.entry_hash}`)); policy = rules.policy; } catch { /* said by the check */ }
  return [h("nav", { class: "row", "aria-label": "Neighbours" }, number > 0 ? link(`← Entry ${number - 1}`, { entry: number - 1 }) : null, number + 1 < about.size ? link(`Entry ${number + 1} →`, { entry: number + 1 }) : null),
    ...heading(`${d.visible(entry.action_type)}`, [`Entry ${number}, ${d.time(entry.timestamp)} UTC, by `, d.named(entry.actor_id), ` (${entry.actor_type.toLowerCase().replace("_", " ")}) `, d.badge(entry.event_type), " ", d.badge(entry.execution_status)]),
    verdict, h("div", { class: "row" }, button, v.canCheck() ? null : h("p", null, "This browser cannot check here: WebCrypto needs https, or this machine.")), steps,
    h("p", { class: "note" }, "The code that checks came from this server, too. attestlog report and attestlog prove make files that check without it."),
    entry.error_details ? section("Why it ended so", d.json(entry.error_details, "Error details")) : null,
    entry.composite_score === null ? null : section("Pillars", d.pillarsPicture(entry, policy?.safety_floor ?? null)),
    section("Rules that match", matching(entry, policy)), section("Approvals", approvals(entry, policy)), proofs(entry),
    section("Related", related(entry)), section(entry.action_payload === null ? "Payload" : "What was recorded", entry.action_payload === null ? h("p", null, "The payload was erased.") : d.json(entry.action_payload, "Payload")),
    h("details", null, h("summary", null, "The entry in full"), d.json(entry, "Entry in full"))];
}
async function checkHere(shown, number, steps, verdict) {
  steps.replaceChildren();
  const step = async (name, work) => {
    const line = steps.appendChild(h("li", null, `${name} …`));
    try { const said = await work(); line.className = "passed"; line.replaceChildren(h("strong", null, name), ` ${said}`); } catch (error) { line.className = error instanceof v.NotChecked ? "open" : "failed"; line.replaceChildren(h("strong", null, name), ` ${d.visible(error.message)}`); throw error; }
  };
  let kind = "good", title = "Verified here", said = "The entry is in the log that your key signs, as it is shown below.", code = null;
  try {
    const entry = await checkEntryHere(log, key, number, step);
    // What was checked is what the reader sees: the server may have sent two.
    if (v.canonical(entry) !== v.canonical(shown)) throw new v.Refused("verification.hash", "the server sent another entry than the one shown", "entry.entry_hash");
  } catch (error) {
    ({ kind, title, code } = d.verdictOf(error));
    said = error.message;
  }
  verdict.className = `verdict ${kind}`; verdict.dataset.verdict = kind; verdict.dataset.done = "";
  verdict.replaceChildren(h("p", { class: "verdict-title" }, title), h("p", null, d.visible(said), code ? [" ", h("code", null, code)] : null));
}
const glob = pattern => new RegExp(`^${[...pattern.matchAll(/\\(.)|(.)/gs)].map(([, plain, one]) => one === "*" ? "[^]*" : one === "?" ? "[^]" : (plain ?? one).replace(/[^A-Za-z0-9_]/g, "\\$&")).join("")}$`, "u");
const fits = (patterns, name) => (patterns ?? ["*"]).some(pattern => { try { return glob(pattern).test(name); } catch { return false; } });
function matching(entry, policy) {
  if (policy === null) return h("p", null, "The policy in force could not be followed.");
  const found = Object.entries(policy.rules ?? {}).filter(([, rule]) => fits(rule.event_types, entry.event_type) && fits(rule.action_types, entry.action_type) && fits((rule.actor_ids ?? ["*"]).map(one => one.toLowerCase()), entry.actor_id.toLowerCase()));
  return found.length ? d.table("Rules of the policy in force at this entry", [["Rule"], ["For"], ["Asks for"]], found.map(ruleRow)) : h("p", null, `No rule of the policy matches. The floor is ${policy.safety_floor}.`);
}
function ruleRow([name, rule]) {
  const all = patterns => !patterns || patterns.includes("*"), list = items => (items ?? []).join(", ");
  const whom = [all(rule.action_types) ? "every action" : list(rule.action_types), all(rule.event_types) ? null : list(rule.event_types).toLowerCase(), all(rule.actor_ids) ? null : `by ${list(rule.actor_ids)}`];
  const asks = [rule.deny ? `denied${rule.reason ? `: ${rule.reason}` : ""}` : null, rule.required_approvals ? `${d.counted(rule.required_approvals, "approval")}${rule.roles?.length ? ` by ${list(rule.roles)}` : ""}` : null, rule.required_proofs?.length ? `proofs: ${list(rule.required_proofs)}` : null, rule.fail_open ? "goes on where the log cannot write" : null];
  const said = parts => d.visible(parts.filter(Boolean).join("; "));
  return [d.visible(name), said(whom), said(asks) || "nothing"];
}
function approvals(entry, policy) {
  const need = entry.required_approvals ? `${entry.required_approvals} asked for; the log says that the quorum was ${entry.quorum_met ? "" : "not "}met.` : "None asked for by the entry itself.";
  return h("div", null, h("p", null, need), entry.received_approvals.length ? d.table("Approvals as recorded", [["Who"], ["Roles"], ["Meaning"], ["Key"], ["Signed (UTC)"]], entry.received_approvals.map(one => [d.visible(one.signer), (policy?.approvers?.[one.signer]?.roles ?? []).join(", ") || "–", d.visible(one.meaning ?? "–"), d.named(one.key_id ?? "–"), d.time(d.visible(one.timestamp))])) : null);
}
function proofs(entry) {
  if (!entry.required_proofs.length && !entry.provided_proofs.length) return null;
  return section("Proofs", h("p", null, `Required: ${entry.required_proofs.map(d.visible).join(", ") || "none"}. The log says that they are ${entry.proofs_valid ? "" : "not "}valid.`), d.table("Proofs provided", [["Type"], ["Says it is valid"]], entry.provided_proofs.map(proof => [d.visible(proof.type), proof.valid ? "yes" : "no"])));
}
function related(entry) {
  const context = Object.entries(entry.actor_context).filter(([, value]) => ["string", "number"].includes(typeof value));
  return h("dl", { class: "pairs" }, entry.dependencies.map(id => [h("dt", null, "Depends on"), h("dd", null, link(id, { entry_id: id, view: "find" }))]), context.map(([name, value]) => [h("dt", null, d.visible(name)), h("dd", null, d.visible(String(value)))]), h("dt", null, "Hash"), h("dd", null, h("code", null, d.visible(entry.entry_hash))), h("dt", null, "Signing key"), h("dd", null, h("code", null, d.visible(entry.signing_key_id))));
}
async function find(asked) {
  const page = await ask(`api/entries?${new URLSearchParams({ entry_id: asked.get("entry_id") ?? "" })}`);
  if (!page.entries.length) return [...heading("Not in this log"), h("p", null, "No entry has that id: it may be one of another log.")];
  history.replaceState(null, "", address({ entry: page.entries[0].sequence_number }));
  return entryPage(place());
}

// --- governance, keys ---

async function followed() {
  const { rules, problem } = await ask("api/rules");
  if (rules === null) throw new v.NotChecked(`the rules in force cannot be followed: ${problem}`);
  return log.rules(rules);
}
const byHash = () => h("p", { class: "note" }, "Followed here, entry by entry and hash by hash, from the pointer that the server sent back to the genesis entry. Open an entry to check it under your key.");
async function governance() {
  const { rules, changes, genesis } = await followed(), policy = rules.policy, violations = await ask("api/entries?event_type=VIOLATION"), pending = await ask("api/entries?execution_status=BLOCKED&event_type=DECISION");
  const history = [genesis, ...changes.filter(entry => POLICY_CHANGES.includes(entry.action_type))];
  const invariants = await Promise.all(violations.entries.map(async entry => [entry, JSON.parse(new TextDecoder().decode(await get(`api/entries/${entry.sequence_number}`))).error_details?.violated_invariant]));
  const counts = new Map(Object.keys(d.INVARIANTS).map(name => [name, 0]));
  for (const [, name] of invariants) if (counts.has(name)) counts.set(name, counts.get(name) + 1);
  return [...heading("Governance", policy === null ? "" : `Safety floor ${policy.safety_floor}; ${d.counted(Object.keys(policy.rules ?? {}).length, "rule")}, ${d.counted(Object.keys(policy.approvers ?? {}).length, "approver")}`),
    section("Policy in force", policy === null ? h("p", null, "It was changed in a way that this page does not follow.") : [h("p", null, "Made by ", link(`entry ${rules.policyBy}`, { entry: rules.policyBy }), "."), Object.keys(policy.rules ?? {}).length ? d.table("Rules", [["Rule"], ["For"], ["Asks for"]], Object.entries(policy.rules).map(ruleRow)) : h("p", null, "It has no rules."), h("details", null, h("summary", null, "The policy in full"), d.json(policy, "Policy"))]),
    section("History", d.table("Changes of the policy that held", [["Entry", "number"], ["Time (UTC)", "when"], ["By"], ["What"]], history.reverse().map(entry => [link(entry.sequence_number, { entry: entry.sequence_number }), d.time(entry.timestamp), d.named(entry.actor_id), entry.sequence_number ? d.visible(entry.action_payload.scope ?? "the whole policy") : "with the log"]))), byHash(),
    section("Violations by invariant", d.barsPicture("Violations by invariant", [...counts].map(([name, count]) => [d.INVARIANTS[name], count])), violations.next_cursor === null ? null : h("p", { class: "note" }, "Of the last 100 violations."), link("All violations", { event_type: "VIOLATION" })),
    section("Blocked decisions", pending.entries.length ? rows("Decisions that were blocked, newest first", joined(pending.entries.slice(0, 20))) : h("p", null, "None."), h("p", { class: "note" }, "Requests for approval that are pending are files of those who ask: the log does not hold them."))];
}
async function keysPage() {
  const { rules, changes, genesis } = await followed();
  const events = changes.filter(entry => entry.action_type.endsWith("_signing_key"));
  return [...heading("Keys", `${d.counted(rules.keys.size, "key")} in force`), rules.isExact ? null : h("p", null, "A key was revoked: which others went with it, attestlog keys list says."),
    section("In force", d.table("Keys that sign entries", [["Key id"], ["Algorithm"], ["Since entry", "number"]], [...rules.keys.values()].map(one => [h("code", null, one.keyId), one.algorithm, link(one.since, { entry: one.since })]))),
    section("Rotations, admissions, revocations", events.length ? d.table("Changes of keys that held", [["Entry", "number"], ["Time (UTC)", "when"], ["What"], ["Key"]], events.map(entry => [link(entry.sequence_number, { entry: entry.sequence_number }), d.time(entry.timestamp), entry.action_type.replace("attestlog.", "").replaceAll("_", " "), h("code", null, d.visible(entry.action_payload.key_id))])) : h("p", null, "None: the keys are those of the genesis entry.")), byHash(),
    section("Checkpoint keys", h("p", null, "The log names these. Compare them with what you were given by another way; pasting them from here shows nothing."), h("ul", null, genesis.action_payload.checkpoint_keys.map(one => h("li", null, h("code", null, d.visible(one))))))];
}

// --- who confirms it, figures ---

async function confirming() {
  const about = await ask("api/log"), note = v.parseNote(await get("checkpoint")), said = v.parseCheckpoint(note.text);
  let opened = null, failure = null;
  if (key) try { opened = await v.openCheckpoint(await get("checkpoint"), [await v.parseReaderKey(key)]); } catch (error) { failure = { ...d.verdictOf(error), message: error.message }; }
  const isMine = line => opened?.signatures.some(one => one.key.name === line.name && v.isSame(one.key.id, line.id));
  return [...heading("Who confirms it", `The checkpoint covers ${said.size} of ${d.counted(about.size, "entry", "entries")}`),
    failure ? h("div", { class: `verdict ${failure.kind}`, role: "status" }, h("p", { class: "verdict-title" }, failure.title), h("p", null, d.visible(failure.message), failure.code && [" ", h("code", null, failure.code)])) : null,
    section("Signatures of the checkpoint", d.table("Signature lines", [["Name"], ["As"], ["Here"]], note.signatures.map(line => [d.visible(line.name), line.name === said.origin ? "the log" : "a witness or replica", isMine(line) ? "checked, by your key" : "not checked: no key of theirs was given"]))),
    section("Replicas", about.replicas.length ? h("ul", null, about.replicas.map(url => h("li", null, d.visible(url)))) : h("p", null, "This machine's configuration names none."), h("p", { class: "note" }, "attestlog replica status LOG asks them how far they are.")),
    section("Time stamps", h("p", null, about.timestamps ? `${d.counted(about.timestamps, "time stamp")} kept with the log: attestlog verify LOG --tsa-root FILE judges them.` : "None."))];
}
async function figures(asked) {
  const span = { since: asked.get("since") ?? "", until: asked.get("until") ?? "" }, stats = await ask(`api/stats?${new URLSearchParams(span)}`);
  const figure = (value, name) => h("div", { class: "figure" }, h("dd", null, value.toLocaleString("en")), h("dt", null, name)), sorted = counts => Object.entries(counts).sort((a, b) => b[1] - a[1]).map(([name, count]) => [name.toLowerCase().replace("_", " "), count]);
  const points = stats.days.map(day => ({ time: Date.parse(day.day), floor: null, scores: Object.fromEntries(Object.entries(day.averages).filter(([, score]) => score !== null)) }));
  const submit = event => { event.preventDefault(); go({ view: "figures", ...Object.fromEntries([...new FormData(event.target)].filter(([, value]) => value)) }); };
  return [...heading("Figures", stats.first_timestamp ? `${d.time(stats.first_timestamp)} to ${d.time(stats.last_timestamp)} UTC` : ""),
    h("form", { class: "filters", onsubmit: submit }, ["since", "until"].map(name => h("div", null, h("label", { for: name }, LABELS[name]), h("input", { id: name, name, value: span[name], placeholder: HINTS[name] }))), h("div", { class: "row end" }, h("button", null, "Show"))),
    h("dl", { class: "figures" }, figure(stats.entries, "entries"), figure(stats.actor_count, "actors"), figure(stats.violations, "violations"), figure(stats.days.length, "days")),
    section("Scores by day", d.scoresPicture(points)), h("div", { class: "side" }, section("Events", d.barsPicture("Events", sorted(stats.by_event_type))), section("Status", d.barsPicture("Status", sorted(stats.by_execution_status)))),
    section("Entries by day", d.barsPicture("Entries by day", stats.days.slice(-31).map(day => [day.day, day.entries]))),
    section("Actors", d.table("Those with most entries", [["Actor"], ["Entries", "number"], ["Violations", "number"], ["Mean score", "number"]], stats.top_actors.map(one => [link(d.named(one.actor_id), { actor_id: one.actor_id }), one.entries.toLocaleString("en"), one.violations.toLocaleString("en"), one.averages.composite === null ? "–" : one.averages.composite.toFixed(2)]))),
    stats.unreadable ? h("p", { class: "low" }, `${d.counted(stats.unreadable, "line")} of the log are no entries: attestlog verify LOG shows why.`) : null, h("p", { class: "note" }, "Figures come from the server's index and are not evidence.")];
}
const filePage = async () => [...heading("Check a file", "A proof, a bundle or a report that somebody sent you, checked in this browser under your key. It is not sent anywhere."), ...filePlace(() => key)];
const PAGES = { timeline, entry: entryPage, find, governance, keys: keysPage, confirming, figures, file: filePage };
addEventListener("popstate", () => show(true));
show(false);
