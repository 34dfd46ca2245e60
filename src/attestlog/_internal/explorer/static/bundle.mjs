// A bundle judged by its reader: docs/spec/bundle.md. Each entry leads to the checkpoint; the checkpoint counts because
// of a key that the reader brought. The keys that the bundle itself names are claims: with them alone it holds together,
// and shows nothing.
import * as v from "./verify.mjs";

const ITEM = /^\{"(entry|rules)":(\{.*\}),"path":"((?:[0-9a-f]{64}){0,63})"\}$/s;
const malformed = what => { throw new v.Refused("malformed.proof", what, "export.malformed"); };
const KEY_CHANGES = { "attestlog.rotate_signing_key": "rotate", "attestlog.admit_signing_key": "admit", "attestlog.revoke_signing_key": "revoke" };
export const POLICY_CHANGES = ["attestlog.set_policy", "attestlog.modify_policy_rule"];

export function parseBundle(bytes) {
  let text;
  try { text = new TextDecoder("utf-8", { fatal: true, ignoreBOM: true }).decode(bytes); } catch { malformed("not UTF-8"); }
  if (!text.endsWith("\n")) malformed("the bundle is cut short");
  const [first, ...lines] = text.slice(0, -1).split("\n");
  let header;
  try { header = v.parseJson(first); } catch { malformed("not the first line of a bundle"); }
  if (header?.format !== "attestlog/bundle/v1" || typeof header.checkpoint !== "string" || v.canonical(header) !== first) malformed("not the first line of a bundle");
  const isStamp = one => Object.keys(one ?? {}).join() === "response,size" && typeof one.response === "string" && Number.isInteger(one.size) && one.size > 0;
  if (Object.keys(header).join() !== "checkpoint,format,timestamps" || !Array.isArray(header.timestamps) || header.timestamps.length > 64 || !header.timestamps.every(isStamp)) malformed("the first line has other members than a bundle's");
  if (!lines.length) malformed("the bundle holds no entry");
  const items = lines.map(line => { const [, kind, entry, path] = ITEM.exec(line) ?? malformed("a line is not an entry with its path"); return { isAsked: kind === "entry", line: entry, path: v.unhex(path) }; });
  return { checkpoint: header.checkpoint, timestamps: header.timestamps, items };
}

/** The keys and the policy that entries stand under, followed from change to change by the pointers in them. */
/** Whose log it is, as the entry says; throws where it is no genesis entry. */
export function checkGenesis(entry) {
  const payload = entry.action_payload, isText = value => typeof value === "string";
  const isWhole = entry.sequence_number === 0 && entry.event_type === "BOOT" && entry.action_type === "attestlog.genesis" && payload !== null && isText(payload.origin)
    && Array.isArray(payload.checkpoint_keys) && payload.checkpoint_keys.every(isText) && Array.isArray(payload.entry_keys) && payload.entry_keys.every(key => isText(key?.public_key));
  if (!isWhole) throw new v.Refused("malformed.entry", "the first entry is not the log's genesis entry", "log.no_genesis");
  if (payload.format !== 1) throw new v.NotChecked("the log is of a format that only a newer attestlog knows");
  return payload;
}
export class Rules {
  static async of(genesis) {
    const rules = new Rules(), { entry_keys, policy } = checkGenesis(genesis);
    rules.pointer = `0:${genesis.entry_hash}`;
    rules.keys = new Map();
    for (const one of entry_keys) { const key = await v.parsePublicKey(one.public_key); rules.keys.set(key.keyId, { ...key, since: 0 }); }
    rules.policy = policy; rules.policyBy = 0; rules.isExact = true;
    return rules;
  }
  /** The rules under this pointer; `find(number)` gives a checked entry, or null. Null: an entry is missing. */
  async at(pointer, find) {
    const changes = [];
    for (let next = pointer; next !== this.pointer;) {
      const [, digits, hash] = /^(0|[1-9][0-9]{0,15}):([0-9a-f]{64})$/.exec(next ?? "") ?? malformed("an entry names no rules");
      const entry = await find(Number(digits));
      if (entry === null) return null;
      const limit = changes.length ? changes.at(-1).sequence_number : Infinity;
      if (entry.entry_hash !== hash || entry.sequence_number >= limit || entry.sequence_number <= Number(this.pointer.split(":")[0]))
        throw new v.Refused("verification.derived", `entry ${digits} is not the one that pointers name`, "entry.rules");
      changes.push(entry);
      next = entry.environment.attestlog_rules;
    }
    let rules = this;
    for (const entry of changes.reverse()) rules = await rules.after(entry);
    return rules;
  }
  /** After a change that held: that it did, a pointer says. */
  async after(entry) {
    const rules = Object.assign(new Rules(), this, { keys: new Map(this.keys), pointer: `${entry.sequence_number}:${entry.entry_hash}` });
    const payload = entry.action_payload ?? malformedChange(entry), what = KEY_CHANGES[entry.action_type];
    if (what === "rotate") rules.keys.delete(entry.signing_key_id);
    if (what === "rotate" || what === "admit") { const key = await v.parsePublicKey(payload.public_key); rules.keys.set(key.keyId, { ...key, since: entry.sequence_number }); }
    if (what === "revoke") { rules.keys.delete(payload.key_id); rules.isExact = false; }
    if (POLICY_CHANGES.includes(entry.action_type)) { rules.policy = payload.policy ?? changed(this.policy, payload); rules.policyBy = entry.sequence_number; }
    return rules;
  }
}
function malformedChange(entry) { throw new v.Refused("verification.derived", `entry ${entry.sequence_number} was erased, and cannot change the rules`, "entry.rules"); }
function changed(policy, { scope, new_value }) {
  if (policy === null || !/^[a-z_]+(\.[A-Za-z0-9_-]+)*$/.test(scope)) return null;
  const whole = structuredClone(policy), names = scope.split("."), last = names.pop();
  let at = whole;
  for (const name of names) at = at?.[name];
  if (typeof at !== "object" || at === null) return null;
  if (new_value === null) delete at[last]; else at[last] = new_value;
  return whole;
}

/** The entry's signature under the rules that it stands under; a sentence for people. Throws Refused or NotChecked. */
export async function checkSigned(entry, rules) {
  const key = rules.keys.get(entry.signing_key_id);
  if (!key && !rules.isExact) throw new v.NotChecked("a key was revoked before: attestlog verify judges what it signed");
  if (!key) throw new v.Refused("verification.signature", "the entry's key is not in force", "entry.signing_key");
  await v.checkEntrySignature(entry, key);
  return `${entry.signature_algorithm} by key ${key.keyId.slice(0, 12)}…, which entry ${key.since} put in force`;
}

export const changesRules = entry => entry.event_type === "CHANGE" && entry.execution_status === "SUCCESS" && (POLICY_CHANGES.includes(entry.action_type) || entry.action_type in KEY_CHANGES);

/** `work` on the items in turn, begun for some of them before they are asked for: WebCrypto hashes beside this thread. */
export function ahead(items, work, most = 64) {
  const begun = [];
  return at => {
    for (; begun.length < items.length && begun.length < at + most; begun.at(-1).catch(() => {})) begun.push(work(items[begun.length]));  // what fails is said where it is awaited
    return begun[at];
  };
}

/** An entry whose hashes are its own, and the check of its place, which is under way. */
async function placed({ line, path }, { size, root }) {
  const entry = await v.checkEntry(line), inclusion = v.leafHash(v.unhex(entry.entry_hash)).then(leaf => v.checkInclusion(leaf, entry.sequence_number, size, path, root));
  inclusion.catch(() => {});  // it may not be awaited, where the entry does not hold
  return { entry, inclusion };
}

/** Everything in a bundle, judged. `given`: the keys that the reader brought, as text. */
export async function openBundle(bytes, given) {
  const parsed = parseBundle(bytes), found = [], problems = [], unchecked = [];
  const genesis = v.parseEntry(parsed.items[0].line);
  try { checkGenesis(genesis); } catch (error) { if (error instanceof v.Refused) malformed(error.message); throw error; }
  const claimed = await Promise.all(genesis.action_payload.checkpoint_keys.map(v.parseVkey));
  const checkpoint = await v.openCheckpoint(parsed.checkpoint, claimed).catch(error => {
    if (error.finding === "trust.mismatch") error.finding = "checkpoint.signature";  // not signed by the log itself
    throw error;
  });
  if (checkpoint.origin !== genesis.action_payload.origin) throw new v.Refused("verification.consistency", "the checkpoint is of another log", "checkpoint.origin");
  for (const key of checkpoint.unchecked) unchecked.push(`the checkpoint's signature by ${key.name} (ML-DSA-44)`);
  const lacking = claimed.filter(key => ![...checkpoint.signatures.map(one => one.key), ...checkpoint.unchecked].some(one => one.kind === key.kind));
  if (lacking.length) throw new v.Refused("verification.trust", "the checkpoint lacks a signature of the log", "checkpoint.signature");
  const trust = given.length ? await v.openCheckpoint(parsed.checkpoint, await Promise.all(given.map(v.parseReaderKey))) : null;
  if (trust && !trust.signatures.some(one => claimed.some(key => key.text === one.key.text))) throw new v.Refused("verification.trust", "none of the keys that you gave is the log's", "trust.mismatch");
  const changes = new Map(), hashed = ahead(parsed.items, item => placed(item, checkpoint));
  let rules = await Rules.of(genesis), last = -1, due = 0;
  for (const [at, item] of parsed.items.entries()) {
    const one = { ...item, entry: null, rules: null, problem: null };
    found.push(one);
    try {
      const { entry, inclusion } = await hashed(at);
      one.entry = entry;
      const number = one.entry.sequence_number;
      if (number <= last) malformed(`entry ${number} stands behind entry ${last}`);
      last = number;
      await inclusion;
      changes.set(number, one.entry);
      if (number) {
        const stated = await rules.at(one.entry.environment.attestlog_rules, async wanted => changes.get(wanted) ?? null);
        if (Number(one.entry.environment.attestlog_rules.split(":")[0]) < due) throw new v.Refused("verification.derived", `entry ${number} names other rules than those that entry ${due} made`, "entry.rules");
        if (stated === null) throw new v.NotChecked(`entry ${number}: a change of keys or policy before it is not in the file`);
        rules = stated;
      }
      one.rules = rules;
      await checkSigned(one.entry, rules);
      if (changesRules(one.entry)) due = number;
    } catch (error) {
      if (error.code === undefined) throw error;
      if (error instanceof v.NotChecked) { unchecked.push(error.message); continue; }
      if (error.finding === "export.malformed") throw error;
      one.problem = error;
      problems.push({ number: one.entry?.sequence_number ?? null, error });
    }
  }
  return { ...parsed, genesis, checkpoint, trust, problems, unchecked, found, keys: rules.keys, policy: rules.policy };
}
