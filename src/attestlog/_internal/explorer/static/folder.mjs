// A published folder that holds entries, asked as a server is: see explorer/answering.py for the answers, and
// explorer/published.py for the files. Entries come in files of some thousand, and one file is looked through at a time.
import { unread } from "./explore.mjs";
import { matches } from "./glob.mjs";

const PAGE_ENTRIES = 100, KEPT = 3, utf8 = new TextEncoder(), decoder = new TextDecoder();
const json = value => utf8.encode(JSON.stringify(value));
async function file(path) {
  let answer;
  try { answer = await fetch(path, { redirect: "error", cache: "no-store" }); } catch { throw unread(`${path} does not come.`); }
  if (!answer.ok) throw unread(`${path}: HTTP ${answer.status}`);
  return new Uint8Array(await answer.arrayBuffer());
}
let about = null;
const kept = new Map();
const size = async () => (about ??= JSON.parse(decoder.decode(await file("entries.json")))).size;
/** Numbers of the entries that stand in one file with this one, [first, last], and their lines. */
async function beside(number) {
  const all = await size(), first = number - number % about.entries_a_file, last = Math.min(all, first + about.entries_a_file) - 1;
  if (!kept.has(first)) {
    if (kept.size >= KEPT) kept.delete(kept.keys().next().value);
    kept.set(first, decoder.decode(await file(`lines/${String(first).padStart(12, "0")}.jsonl`)).split("\n"));
  }
  return { first, last, lines: kept.get(first) };
}
async function line(number) {
  if (!Number.isSafeInteger(number) || number < 0 || number >= await size()) throw unread(`Entry ${number} is not in this folder.`);
  const { first, lines } = await beside(number);
  return lines[number - first] ?? "";
}
const entry = async number => JSON.parse(await line(number));

const UNITS = { s: 1, m: 60, h: 3600, d: 86400, w: 604800 };
/** A time as filters have it, in ms; NaN where it is none. */
function moment(text) {
  const [, count, unit] = /^([0-9]{1,9})([smhdw])$/.exec(text) ?? [];
  return unit ? Date.now() - count * UNITS[unit] * 1000 : Date.parse(text);
}
/** Whether an entry passes the filters. "Words" are looked for in the entry's own text. */
function filter(asked) {
  const exact = ["event_type", "execution_status", "event_category", "actor_id", "entry_id"].filter(name => asked.get(name));
  const pattern = asked.get("action_type"), words = (asked.get("text") ?? "").toLowerCase().split(/\s+/).filter(Boolean);
  const since = asked.get("since") ? moment(asked.get("since")) : -Infinity, until = asked.get("until") ? moment(asked.get("until")) : Infinity;
  if (Number.isNaN(since) || Number.isNaN(until)) throw unread("want a time such as 7d or 2026-11-01");
  return (one, text) => exact.every(name => one[name] === asked.get(name)) && (!pattern || matches(pattern, one.action_type))
    && Date.parse(one.timestamp) >= since && Date.parse(one.timestamp) < until && (!words.length || words.every(word => (text = text.toLowerCase()).includes(word)));
}
/** What a row of the timeline shows: `_summary` in explorer/answering.py. */
function summary(one) {
  const { guard, session, session_id, trace_id } = one.actor_context, shown = ["sequence_number", "timestamp", "event_type", "event_category", "action_type", "actor_id", "actor_type", "execution_status", "entry_id", "composite_score"];
  return { ...Object.fromEntries(shown.map(name => [name, one[name]])), guard: typeof guard === "string" ? guard : null, session: session || session_id ? String(session || session_id) : null, trace: trace_id ? String(trace_id) : null, after: one.dependencies.slice(0, 1) };
}
async function page(asked) {
  const passes = filter(asked), from = Math.min(Number(asked.get("cursor") ?? Infinity), await size()) - 1, entries = [];
  if (from < 0) return { entries, next_cursor: null };
  const { first, lines } = await beside(from);
  let at = from;
  for (; at >= first && entries.length < PAGE_ENTRIES; at--) { const one = JSON.parse(lines[at - first]); if (passes(one, lines[at - first])) entries.push(summary(one)); }
  return { entries, next_cursor: at < 0 ? null : at + 1, looked: [at + 1, from] };
}
/** Figures of the newest entries, those of the last file. */
async function stats(asked) {
  const all = await size(), passes = filter(asked), { first, last, lines } = await beside(all - 1), found = [];
  for (let at = first; at <= last; at++) { const one = JSON.parse(lines[at - first]); if (passes(one, lines[at - first])) found.push(one); }
  const count = key => found.reduce((counts, one) => ({ ...counts, [one[key]]: (counts[one[key]] ?? 0) + 1 }), {});
  const of = own => ({ entries: own.length, violations: own.filter(one => one.event_type === "VIOLATION").length, averages: averages(own) });
  const by = key => { const groups = new Map(); for (const one of found) if (!groups.get(key(one))?.push(one)) groups.set(key(one), [one]); return [...groups]; };
  return {
    ...of(found), looked: [first, last], first_timestamp: found[0]?.timestamp ?? null, last_timestamp: found.at(-1)?.timestamp ?? null, by_event_type: count("event_type"), by_execution_status: count("execution_status"), unreadable: 0,
    days: by(one => one.timestamp.slice(0, 10)).map(([day, own]) => ({ day, ...of(own) })), actor_count: by(one => one.actor_id).length,
    top_actors: by(one => one.actor_id).map(([actor_id, own]) => ({ actor_id, ...of(own) })).sort((a, b) => b.entries - a.entries).slice(0, 10),
  };
}
function averages(own) {
  const mean = scores => (scores.length ? scores.reduce((sum, score) => sum + score, 0) / scores.length : null), given = score => typeof score === "number";
  const pillars = [...new Set(own.flatMap(one => Object.keys(one.pillars_scores)))];
  return { composite: mean(own.map(one => one.composite_score).filter(given)), ...Object.fromEntries(pillars.map(name => [name, mean(own.map(one => one.pillars_scores[name]).filter(given))])) };
}
/** The pointer to the rules in force: what the last entry states, or the last entry, if it changed them. */
async function rules() {
  const last = await entry(await size() - 1), { changesRules } = await import("./bundle.mjs");
  return { rules: last.sequence_number === 0 || changesRules(last) ? `${last.sequence_number}:${last.entry_hash}` : last.environment.attestlog_rules, problem: null };
}
async function log() {
  const genesis = await entry(0), [origin, covered] = decoder.decode(await file("checkpoint")).split("\n");
  return { origin, genesis: genesis.entry_hash, size: await size(), checkpoint_size: Number(covered), replicas: null, timestamps: 0 };
}
/** What a server would answer. */
export async function answer(path) {
  const [name, query] = path.split("?"), asked = new URLSearchParams(query);
  if (name === "checkpoint" || name.startsWith("tile/")) return file(name);
  if (name.startsWith("entries/")) return utf8.encode(await line(Number(name.slice("entries/".length))));
  const found = { log, rules, stats, entries: page, requests: async () => ({ requests: null }) }[name];
  return json(await found(asked));
}
