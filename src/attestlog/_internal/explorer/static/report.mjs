// The report: everything on it is drawn from entries that were checked first, in this browser, from this file alone.
import * as v from "./verify.mjs";
import { openBundle } from "./bundle.mjs";
import * as d from "./draw.mjs";
const { h } = d;

const DIGEST = "@DIGEST@", app = () => document.getElementById("app");
const keyInLink = () => decodeURIComponent(location.hash.match(/^#key=(.+)$/)?.[1] ?? "");

async function begin() {
  if (!v.canCheck()) { app().replaceChildren(banner("unknown", "Not checked", ["This browser cannot check here: WebCrypto needs a file opened from disk, or https."])); return; }
  const encoded = document.getElementById("bundle").textContent;
  const digest = await v.hexHash(encoded), bytes = v.unbase64(encoded);
  if (digest !== DIGEST || bytes === null) { app().replaceChildren(banner("bad", "Changed", ["This file was changed after it was made: its data are not the ones that its code was made for.", h("code", null, "proof.malformed")])); return; }
  await show(bytes, keyInLink());
}

let turn = 0;
async function show(bytes, given) {
  const own = ++turn;
  let bundle, failure = null;
  try { bundle = await openBundle(bytes, given ? [given.trim()] : []); } catch (error) { failure = error; }
  if (own !== turn) return;  // another key was given meanwhile
  if (failure) {
    const { kind, title, code } = d.verdictOf(failure);
    app().replaceChildren(banner(kind, title, [[d.visible(failure.message), code && [" ", h("code", null, code)]]]), keyForm(bytes, given));
    return;
  }
  const asked = bundle.found.filter(one => one.isAsked), good = asked.filter(one => one.entry && !one.problem).map(one => ({ ...one.entry, floor: floorOf(one) }));
  document.title = `Report: ${bundle.checkpoint.origin}`;
  app().replaceChildren(head(bundle, asked, good), verdict(bundle, asked), keyForm(bytes, given),
    summary(good), scores(good), violations(good), doers(good), approvals(good, bundle), confirming(bundle), entries(asked), limits(bundle));
}
const floorOf = one => one.rules?.policy?.safety_floor ?? null;
const section = (title, ...children) => h("section", null, h("h2", null, title), children);
const banner = (kind, title, lines) => h("div", { id: "verdict", class: `verdict ${kind}`, role: "status", "data-verdict": kind, "data-done": true }, h("p", { class: "verdict-title" }, title), lines.map(line => h("p", null, line)));

function head(bundle, asked, good) {
  const times = good.map(entry => entry.timestamp).sort();
  return h("header", null, h("p", { class: "kicker" }, "attestlog report"), h("h1", null, bundle.checkpoint.origin),
    h("p", { class: "lead" }, `${d.counted(asked.length, "entry", "entries")} of a log of ${bundle.checkpoint.size.toLocaleString("en")}`, times.length ? `, ${d.time(times[0])} to ${d.time(times.at(-1))} UTC` : ""));
}
function verdict(bundle, asked) {
  const open = bundle.unchecked.map(what => h("li", null, `Not checked: ${what}`));
  if (bundle.problems.length) return banner("bad", "Does not hold", [`${d.counted(bundle.problems.length, "entry", "entries")} of this file did not pass. Keep the file as it is: it is evidence.`,
    h("ul", null, bundle.problems.slice(0, 50).map(({ number, error }) => h("li", null, number === null ? "" : `Entry ${number}: `, d.visible(error.message), " ", h("code", null, error.finding))))]);
  const what = `${d.counted(asked.length, "entry", "entries")}: hashes, signatures and places in the log's tree were checked in this browser just now.`;
  if (!bundle.trust) return banner("unknown", "Holds together; whose log it is, is open", [what, "The keys used are the ones that this file names. Anyone can make such a file. Give the log's key, from somebody whom you trust, to settle it.", open.length ? h("ul", null, open) : null]);
  return banner(open.length ? "unknown" : "good", open.length ? "Verified in part" : "Verified", [what, `The log's key is the one that you gave (${bundle.trust.signatures[0].key.name}).`, open.length ? h("ul", null, open) : null]);
}
function keyForm(bytes, given) {
  const input = h("input", { id: "key", name: "key", value: given, autocomplete: "off", spellcheck: "false", placeholder: "example.com/agents+1a2b3c4d+AbC…" });
  const submit = event => { event.preventDefault(); show(bytes, input.value).then(() => document.getElementById("key")?.focus()); };
  return h("form", { class: "key", onsubmit: submit }, h("label", { for: "key" }, "Verifier key of the log, from somebody you trust and not from this file"), h("div", { class: "row" }, input, h("button", null, "Check")));
}
function summary(good) {
  const figure = (value, name) => h("div", { class: "figure" }, h("dd", null, value.toLocaleString("en")), h("dt", null, name));
  const count = (name, value) => good.filter(entry => entry[name] === value).length;
  return section("In short", h("dl", { class: "figures" }, figure(good.length, "entries"), figure(new Set(good.map(entry => entry.actor_id)).size, "actors"),
    figure(count("execution_status", "SUCCESS"), "succeeded"), figure(count("execution_status", "FAILED"), "failed"), figure(count("execution_status", "BLOCKED"), "blocked"), figure(count("event_type", "VIOLATION"), "violations")),
  d.barsPicture("Entries by action", d.tally(good, entry => d.visible(entry.action_type)).slice(0, 10)));
}
function scores(good) {
  const scored = good.filter(entry => entry.composite_score !== null);
  return section("Pillars over time", d.scoresPicture(scored.map(entry => ({ time: Date.parse(entry.timestamp), floor: entry.floor, scores: { composite: entry.composite_score, ...entry.pillars_scores } }))),
    scored.length ? h("p", { class: "note" }, "Dashed: the floor of the policy in force. Red: below it.") : null);
}
function violations(good) {
  const found = good.filter(entry => entry.event_type === "VIOLATION");
  if (!found.length) return section("Violations", h("p", null, "None among these entries."));
  return section("Violations", d.barsPicture("Violations by invariant", d.tally(found, entry => d.INVARIANTS[entry.error_details?.violated_invariant] ?? "none named")),
    d.table("Violations, oldest first", [["Entry", "number"], ["Time (UTC)"], ["Who"], ["What"], ["Why"]], found.map(entry => [link(entry), d.time(entry.timestamp), d.named(entry.actor_id), d.visible(entry.action_type), d.visible(String(entry.error_details?.message ?? entry.error_details?.violation_type ?? ""))])));
}
function doers(good) {
  const of = (id, test) => good.filter(entry => entry.actor_id === id && test(entry)).length;
  return section("Who did what", d.table("Entries by actor", [["Actor"], ["Entries", "number"], ["Succeeded", "number"], ["Failed", "number"], ["Blocked", "number"], ["Violations", "number"]],
    d.tally(good, entry => entry.actor_id).slice(0, 100).map(([id, count]) => [d.named(id), count, ...["SUCCESS", "FAILED", "BLOCKED"].map(status => of(id, entry => entry.execution_status === status)), of(id, entry => entry.event_type === "VIOLATION")])));
}
function approvals(good, bundle) {
  const rows = good.flatMap(entry => entry.received_approvals.map(one => [link(entry), d.visible(one.signer), (bundle.policy?.approvers?.[one.signer]?.roles ?? []).join(", ") || "–", d.visible(one.meaning ?? "–"), one.key_id ? d.short(d.visible(one.key_id)) : "–", d.time(d.visible(one.timestamp))]));
  return section("Approvals", rows.length ? d.table("Approvals as recorded", [["Entry", "number"], ["Who"], ["Roles now"], ["Meaning"], ["Key"], ["Signed (UTC)"]], rows) : h("p", null, "None among these entries."),
    rows.length ? h("p", { class: "note" }, "This page does not judge approvals: attestlog verify LOG does.") : null);
}
function confirming({ checkpoint, timestamps, trust }) {
  const given = trust?.signatures.map(one => one.key.text) ?? [], rows = checkpoint.signatures.map(({ key, time }) => [d.visible(key.name), "the log", time === null ? "–" : d.time(new Date(Number(time) * 1000).toISOString()), given.includes(key.text) ? "checked, by your key" : "checked, by the file's key"]);
  return section("Who confirms the log", d.table("Signatures of the checkpoint", [["Name"], ["As"], ["Time (UTC)"], ["Here"]], rows),
    checkpoint.unknown ? h("p", null, `${d.counted(checkpoint.unknown, "more signature")} by others, witnesses perhaps, not checked: this file holds no keys of theirs.`) : null,
    timestamps.length ? h("p", null, `${d.counted(timestamps.length, "time stamp")} (RFC 3161) in the file, not checked by this page.`) : null,
    h("dl", { class: "pairs" }, h("dt", null, "Entries"), h("dd", null, checkpoint.size.toLocaleString("en")), h("dt", null, "Root"), h("dd", null, h("code", null, v.hex(checkpoint.root)))));
}
const link = entry => h("a", { href: `#entry-${entry.sequence_number}` }, entry.sequence_number);
function entries(asked) {
  return section("Entries", asked.map(one => {
    if (!one.entry || one.problem) return h("p", { class: "low" }, `An entry is not shown, because it did not pass: ${one.problem?.message ?? "not read"}`);
    const { entry } = one;
    return h("details", { id: `entry-${entry.sequence_number}`, class: "entry" }, h("summary", null, h("span", { class: "number" }, entry.sequence_number), h("span", { class: "when" }, d.time(entry.timestamp)), h("span", { class: "what" }, d.visible(entry.action_type)), h("span", { class: "who" }, d.named(entry.actor_id)), h("span", { class: "badges" }, d.badge(entry.event_type), d.badge(entry.execution_status))),
      entry.composite_score === null ? null : d.pillarsPicture(entry, floorOf(one)),
      entry.action_payload === null ? h("p", null, "The payload was erased. Its hash is ", h("code", null, entry.action_hash)) : d.json(entry, `Entry ${entry.sequence_number} in full`));
  }));
}
function limits(bundle) {
  return section("What this file does not show", h("ul", { class: "limits" },
    ["what the log holds beside these entries, and that it still holds them", "whether the policy allowed what was done: attestlog verify LOG judges that", "that what was recorded is true", "that this page's code is attestlog's: code can be changed to lie. attestlog verify FILE --trust KEY checks this file without running it"].map(what => h("li", null, what))),
  h("p", { class: "note" }, `Genesis entry ${bundle.genesis.entry_hash}`));
}
const open = event => { const id = location.hash.slice(1); const one = id.startsWith("entry-") && document.getElementById(id); if (one) { one.open = true; if (event) one.querySelector("summary").focus(); } };
addEventListener("hashchange", open);
begin().then(open).catch(error => app().replaceChildren(banner("bad", "Not checked", [`The page failed: ${error.message}`])));
