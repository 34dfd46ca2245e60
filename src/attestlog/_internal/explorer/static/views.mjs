// The explorer's other views, and "Check here". They are loaded when one of them is first asked for, with the verifier.
import * as v from "./verify.mjs";
import * as d from "./draw.mjs";
import { POLICY_CHANGES } from "./bundle.mjs";
import { Log, checkEntryHere } from "./check.mjs";
import { HINTS, LABELS, address, ask, get, go, heading, isFolder, joined, key, link, place, rows, section } from "./explore.mjs";
import { filePlace } from "./file.mjs";
import { matches } from "./glob.mjs";
const { h } = d;

const log = new Log(get);
const LOOKS_MAX = 20;  // files of a published folder that are looked through for one entry

// --- one entry ---

export async function entry(asked) {
  const number = Number(asked.get("entry")), entry = JSON.parse(new TextDecoder().decode(await get(`entries/${number}`))), about = await ask("log");
  const steps = h("ol", { id: "steps", class: "steps", "aria-live": "polite" }), verdict = h("div", { id: "verdict", class: "verdict unknown", role: "status", "data-verdict": "unknown" }, h("p", { class: "verdict-title" }, "Not checked yet"), h("p", null, key ? "Shown as the server sent it." : "Shown as the server sent it. Give the log's verifier key above to check it in this browser."));
  const button = h("button", { id: "check", onclick: () => checkHere(entry, number, steps, verdict), disabled: !v.canCheck() || !key }, "Check here");
  let policy = null, rules = null;
  try { ({ rules } = await log.rules(number ? entry.environment.attestlog_rules : `0:${entry.entry_hash}`)); policy = rules.policy; } catch { /* said by the check */ }
  return [h("nav", { class: "row", "aria-label": "Neighbours" }, number > 0 ? link(`← Entry ${number - 1}`, { entry: number - 1 }) : null, number + 1 < about.size ? link(`Entry ${number + 1} →`, { entry: number + 1 }) : null),
    ...heading(`${d.visible(entry.action_type)}`, [`Entry ${number}, ${d.time(entry.timestamp)} UTC, by `, d.named(entry.actor_id), ` (${entry.actor_type.toLowerCase().replace("_", " ")}) `, d.badge(entry.event_type), " ", d.badge(entry.execution_status)]),
    verdict, h("div", { class: "row" }, button, v.canCheck() ? null : h("p", null, "This browser cannot check here: WebCrypto needs https, or this machine.")), steps,
    h("p", { class: "note" }, isFolder ? "The code that checks came from this folder, too. attestlog verify checks the folder without it." : "The code that checks came from this server, too. attestlog report and attestlog prove make files that check without it."),
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
    try { const said = await work(); line.className = "passed"; line.replaceChildren(h("strong", null, name), ` ${said}`); } catch (error) { line.className = error.name === "NotChecked" ? "open" : "failed"; line.replaceChildren(h("strong", null, name), ` ${d.visible(error.message)}`); throw error; }
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
const fits = (patterns, name) => (patterns ?? ["*"]).some(pattern => matches(pattern, name));
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
export async function find(asked) {
  let page = { entries: [], next_cursor: "" };
  for (let looked = 0; looked < LOOKS_MAX && !page.entries.length && page.next_cursor !== null; looked++)
    page = await ask(`entries?${new URLSearchParams({ entry_id: asked.get("entry_id") ?? "", cursor: page.next_cursor })}`);
  if (page.next_cursor !== null && !page.entries.length) return [...heading("Not found"), h("p", null, `No entry has that id from ${page.next_cursor} on; the ones before were not looked through.`)];
  if (!page.entries.length) return [...heading("Not in this log"), h("p", null, "No entry has that id: it may be one of another log.")];
  history.replaceState(null, "", address({ entry: page.entries[0].sequence_number }));
  return entry(place());
}

// --- governance, keys ---

async function followed() {
  const { rules, problem } = await ask("rules");
  if (rules === null) throw new v.NotChecked(`the rules in force cannot be followed: ${problem}`);
  return log.rules(rules);
}
const byHash = () => h("p", { class: "note" }, "Followed here, entry by entry and hash by hash, from the pointer that the server sent back to the genesis entry. Open an entry to check it under your key.");
export async function governance() {
  const { rules, changes, genesis } = await followed(), policy = rules.policy;
  const [violations, blocked, { requests }] = await Promise.all([ask("entries?event_type=VIOLATION"), ask("entries?execution_status=BLOCKED&event_type=DECISION"), ask("requests")]);
  const history = [genesis, ...changes.filter(entry => POLICY_CHANGES.includes(entry.action_type))].reverse();
  return [...heading("Governance", policy === null ? "" : `Safety floor ${policy.safety_floor}; ${d.counted(Object.keys(policy.rules ?? {}).length, "rule")}, ${d.counted(Object.keys(policy.approvers ?? {}).length, "approver")}`),
    section("Policy in force", policy === null ? h("p", null, "It was changed in a way that this page does not follow.") : [h("p", null, "Made by ", link(`entry ${rules.policyBy}`, { entry: rules.policyBy }), "."), Object.keys(policy.rules ?? {}).length ? d.table("Rules", [["Rule"], ["For"], ["Asks for"]], Object.entries(policy.rules).map(ruleRow)) : h("p", null, "It has no rules."), h("details", null, h("summary", null, "The policy in full"), d.json(policy, "Policy"))]),
    section("History", d.table("Changes of the policy that held", [["Entry", "number"], ["Time (UTC)", "when"], ["By"], ["What"]], history.map(entry => [link(entry.sequence_number, { entry: entry.sequence_number }), d.time(entry.timestamp), d.named(entry.actor_id), entry.sequence_number ? d.visible(entry.action_payload.scope ?? "the whole policy") : "with the log"]))), byHash(),
    section("Requests for approval", pending(requests, policy)), section("Violations by invariant", await broken(violations)),
    section("Blocked decisions", blocked.entries.length ? rows("Decisions that were blocked, newest first", joined(blocked.entries.slice(0, 20))) : h("p", null, "None."))];
}
/** What waits for people: requests that a service, or whoever asks, keeps beside the log. */
function pending(requests, policy) {
  if (requests === null) return h("p", null, "Requests are kept by those who ask, and not in the log: this page has none of them.");
  if (!requests.length) return h("p", null, "None is kept.");
  const roles = name => (policy?.approvers?.[name]?.roles ?? []).join(", ");
  return [d.table("Requests that are kept, those that wait first", [["What"], ["In the log"], ["Who asks"], ["Approvals so far"], ["Request"]], requests.map(one => [d.visible(one.action_type), one.used_by === null ? h("span", { class: "badge waits" }, "waits") : link(`entry ${one.used_by}`, { entry: one.used_by }), d.named(one.actor_id),
    one.approvals.map(by => `${d.visible(by.signer)}${roles(by.signer) ? ` (${roles(by.signer)})` : ""}: ${d.visible(by.meaning)}`).join("; ") || "none yet", h("code", { class: "nowrap" }, d.visible(one.request_id))])),
  h("p", { class: "note" }, "As the server sent them. Whether an approval counts is judged where the act is recorded.")];
}
async function broken({ entries, next_cursor }) {
  const named = await Promise.all(entries.map(async one => [Date.parse(one.timestamp), JSON.parse(new TextDecoder().decode(await get(`entries/${one.sequence_number}`))).error_details?.violated_invariant]));
  const times = Object.entries(d.INVARIANTS).map(([name, title]) => [title, named.filter(([, one]) => one === name).map(([time]) => time)]), others = named.filter(([, one]) => !(one in d.INVARIANTS)).map(([time]) => time);
  if (!entries.length) return h("p", null, "None.");
  return [d.momentsPicture("Violations over time", others.length ? [...times, ["None named", others]] : times), next_cursor === null ? null : h("p", { class: "note" }, `The last ${entries.length}.`), h("p", null, link("All violations", { event_type: "VIOLATION" }))];
}
export async function keys() {
  const { rules, changes, genesis } = await followed();
  const events = changes.filter(entry => entry.action_type.endsWith("_signing_key"));
  return [...heading("Keys", `${d.counted(rules.keys.size, "key")} in force`), rules.isExact ? null : h("p", null, "A key was revoked: which others went with it, attestlog keys list says."),
    section("In force", d.table("Keys that sign entries", [["Key id"], ["Algorithm"], ["Since entry", "number"]], [...rules.keys.values()].map(one => [h("code", null, one.keyId), one.algorithm, link(one.since, { entry: one.since })]))),
    section("Rotations, admissions, revocations", events.length ? d.table("Changes of keys that held", [["Entry", "number"], ["Time (UTC)", "when"], ["What"], ["Key"]], events.map(entry => [link(entry.sequence_number, { entry: entry.sequence_number }), d.time(entry.timestamp), entry.action_type.replace("attestlog.", "").replaceAll("_", " "), h("code", null, d.visible(entry.action_payload.key_id))])) : h("p", null, "None: the keys are those of the genesis entry.")), byHash(),
    section("Checkpoint keys", h("p", null, "The log names these. Compare them with what you were given by another way; pasting them from here shows nothing."), h("ul", null, genesis.action_payload.checkpoint_keys.map(one => h("li", null, h("code", null, d.visible(one))))))];
}

// --- who confirms it, figures ---

export async function confirming() {
  const about = await ask("log"), note = v.parseNote(await get("checkpoint")), said = v.parseCheckpoint(note.text);
  let opened = null, failure = null;
  if (key) try { opened = await v.openCheckpoint(await get("checkpoint"), [await v.parseReaderKey(key)]); } catch (error) { failure = { ...d.verdictOf(error), message: error.message }; }
  const isMine = line => opened?.signatures.some(one => one.key.name === line.name && v.isSame(one.key.id, line.id));
  return [...heading("Who confirms it", `The checkpoint covers ${said.size} of ${d.counted(about.size, "entry", "entries")}`),
    failure ? h("div", { class: `verdict ${failure.kind}`, role: "status" }, h("p", { class: "verdict-title" }, failure.title), h("p", null, d.visible(failure.message), failure.code && [" ", h("code", null, failure.code)])) : null,
    section("Signatures of the checkpoint", d.table("Signature lines", [["Name"], ["As"], ["Here"]], note.signatures.map(line => [d.visible(line.name), line.name === said.origin ? "the log" : "a witness or replica", isMine(line) ? "checked, by your key" : "not checked: no key of theirs was given"]))),
    section("Replicas", about.replicas === null ? h("p", null, "A published folder does not say which there are.") : about.replicas.length ? h("ul", null, about.replicas.map(url => h("li", null, d.visible(url)))) : h("p", null, "This machine's configuration names none."), h("p", { class: "note" }, "attestlog replica status LOG asks them how far they are.")),
    section("Time stamps", h("p", null, about.timestamps ? `${d.counted(about.timestamps, "time stamp")} kept with the log: attestlog verify LOG --tsa-root FILE judges them.` : "None."))];
}
export async function figures(asked) {
  const span = { since: asked.get("since") ?? "", until: asked.get("until") ?? "" }, stats = await ask(`stats?${new URLSearchParams(span)}`);
  const figure = (value, name) => h("div", { class: "figure" }, h("dd", null, value.toLocaleString("en")), h("dt", null, name)), sorted = counts => Object.entries(counts).sort((a, b) => b[1] - a[1]).map(([name, count]) => [name.toLowerCase().replace("_", " "), count]);
  const points = stats.days.map(day => ({ time: Date.parse(day.day), floor: null, scores: Object.fromEntries(Object.entries(day.averages).filter(([, score]) => score !== null)) }));
  const submit = event => { event.preventDefault(); go({ view: "figures", ...Object.fromEntries([...new FormData(event.target)].filter(([, value]) => value)) }); };
  return [...heading("Figures", stats.first_timestamp ? `${d.time(stats.first_timestamp)} to ${d.time(stats.last_timestamp)} UTC` : ""),
    h("form", { class: "filters", onsubmit: submit }, ["since", "until"].map(name => h("div", null, h("label", { for: name }, LABELS[name]), h("input", { id: name, name, value: span[name], placeholder: HINTS[name] }))), h("div", { class: "row end" }, h("button", null, "Show"))),
    h("dl", { class: "figures" }, figure(stats.entries, "entries"), figure(stats.actor_count, "actors"), figure(stats.violations, "violations"), figure(stats.days.length, "days")),
    section("Scores by day", d.scoresPicture(points)), h("div", { class: "side" }, section("Events", d.barsPicture("Events", sorted(stats.by_event_type))), section("Status", d.barsPicture("Status", sorted(stats.by_execution_status)))),
    section("Entries by day", d.barsPicture("Entries by day", stats.days.slice(-31).map(day => [day.day, day.entries]))),
    section("Actors", d.table("Those with most entries", [["Actor"], ["Entries", "number"], ["Violations", "number"], ["Mean score", "number"]], stats.top_actors.map(one => [link(d.named(one.actor_id), { actor_id: one.actor_id }), one.entries.toLocaleString("en"), one.violations.toLocaleString("en"), one.averages.composite === null ? "–" : one.averages.composite.toFixed(2)]))),
    stats.unreadable ? h("p", { class: "low" }, `${d.counted(stats.unreadable, "line")} of the log are no entries: attestlog verify LOG shows why.`) : null, h("p", { class: "note" }, stats.looked ? `Of entries ${stats.looked[0].toLocaleString("en")} to ${stats.looked[1].toLocaleString("en")}, the newest that stand in one file.` : "Figures come from the server's index and are not evidence.")];
}
export const file = async () => [...heading("Check a file", "A proof, a bundle or a report that somebody sent you, checked in this browser under your key. It is not sent anywhere."), ...filePlace(() => key)];
