// attestlog's formats, judged by the one who reads: in a browser or any other JavaScript with WebCrypto.
//
// Nothing here asks a server, and nothing is believed: a checkpoint counts because a key that the reader has signed it,
// an entry because its hash leads to that checkpoint's root. docs/spec/ has the rules, tests/vectors the cases.
// What does not hold throws Refused, with the error's stable `code` (docs/errors.md) and the `finding` that a verifier
// of logs would report (docs/findings.md). What this browser has no algorithm for throws NotChecked: neither good nor bad.

export class Refused extends Error {
  constructor(code, message, finding = "") { super(message); this.name = "Refused"; this.code = code; this.finding = finding; }
}
export class NotChecked extends Error {
  constructor(message) { super(message); this.name = "NotChecked"; this.code = "unsupported"; this.finding = "entry.unverified"; }
}
const refuse = (code, message, finding) => { throw new Refused(code, message, finding); };

// --- bytes and hashes ---

const encoder = new TextEncoder();
const strictDecoder = new TextDecoder("utf-8", { fatal: true, ignoreBOM: true });
export const utf8 = text => encoder.encode(text);
const bytesOf = data => (typeof data === "string" ? utf8(data) : data);
export function concat(...parts) {
  const all = new Uint8Array(parts.reduce((size, part) => size + part.length, 0));
  let at = 0;
  for (const part of parts) { all.set(part, at); at += part.length; }
  return all;
}
export const isSame = (a, b) => a.length === b.length && a.every((byte, at) => byte === b[at]);
const DIGITS = Array.from({ length: 256 }, (_, byte) => byte.toString(16).padStart(2, "0"));
export const hex = bytes => { let text = ""; for (const byte of bytes) text += DIGITS[byte]; return text; };
export const isHex = text => text.length % 2 === 0 && /^[0-9a-f]*$/.test(text);
export function unhex(text) {
  const bytes = new Uint8Array(text.length / 2);
  for (let at = 0; at < bytes.length; at++) bytes[at] = parseInt(text.slice(2 * at, 2 * at + 2), 16);
  return bytes;
}
/** Standard base64, padded, in its one spelling; null if it is not that. */
export function unbase64(text) {
  if (text.length % 4 || !/^[A-Za-z0-9+/]*={0,2}$/.test(text)) return null;
  const bytes = Uint8Array.from(atob(text), character => character.charCodeAt(0));
  return base64(bytes.subarray(bytes.length - bytes.length % 3)) === text.slice(text.length - (bytes.length % 3 ? 4 : 0)) ? bytes : null;
}
export function base64(bytes) {
  let text = "";
  for (const byte of bytes) text += String.fromCharCode(byte);
  return btoa(text);
}
export const canCheck = () => Boolean(globalThis.isSecureContext ?? true) && Boolean(globalThis.crypto?.subtle);
export const sha256 = async data => new Uint8Array(await crypto.subtle.digest("SHA-256", data));
export const hexHash = async text => hex(await sha256(utf8(text)));
export const leafHash = data => sha256(concat(Uint8Array.of(0), data));
const nodeHash = (left, right) => {
  const data = new Uint8Array(65);
  data[0] = 1; data.set(left, 1); data.set(right, 33);
  return sha256(data);
};

// --- canonical JSON: docs/spec/canonical.md ---

const INTEGER_MAX = Number.MAX_SAFE_INTEGER, DEPTH_MAX = 64, VALUES_MAX = 1 << 23, DOUBLE_MIN = 2.2250738585072014e-308;
const SPECIAL = /[\u0000-\u001f\\\ud800-\udfff]/, WORDS = { t: ["true", true], f: ["false", false], n: ["null", null] };
const NUMBER = /-?(?:0|[1-9][0-9]*)(?:\.[0-9]+)?(?:[eE][+-]?[0-9]+)?/y;
const notJson = what => refuse("malformed.json", what, "entry.canonical");

/** The value of a JSON text in any spelling, strictly. Objects have no prototype: `__proto__` is a name as others are. */
export function parseJson(text) {
  let at = 0, count = 0;
  const skip = () => { for (let code = text.charCodeAt(at); code === 32 || code === 10 || code === 13 || code === 9;) code = text.charCodeAt(++at); };
  function string() {
    const end = text.indexOf('"', at + 1), plain = text.slice(at + 1, end);
    if (end > 0 && !SPECIAL.test(plain)) { at = end + 1; return plain; }
    const start = at++;
    for (; at < text.length && text[at] !== '"'; at++) if (text[at] === "\\") at++;
    let value;
    try { value = JSON.parse(text.slice(start, ++at)); } catch { notJson("a string is malformed"); }
    if (/[\ud800-\udfff]/u.test(value)) notJson("a string holds a lone surrogate");
    return value;
  }
  function members(depth) {
    const found = Object.create(null);
    each("}", () => {
      if (text[at] !== '"') notJson("a member has no name");
      const name = string();
      if (name in found) notJson(`member ${JSON.stringify(name)} appears twice`);
      skip();
      if (text[at++] !== ":") notJson("a member has no colon");
      found[name] = value(depth + 1);
    });
    return found;
  }
  function each(end, one) {
    at++; skip();
    if (text[at] === end) { at++; return; }
    for (;;) {
      skip(); one(); skip();
      if (text[at] === end) { at++; return; }
      if (text[at++] !== ",") notJson("a comma is missing");
    }
  }
  function value(depth) {
    skip();
    if (++count > VALUES_MAX) notJson("too many values");
    const first = text[at];
    if (first === '"') return string();
    if (first === "{" || first === "[") {
      if (depth > DEPTH_MAX) notJson(`nested deeper than ${DEPTH_MAX} levels`);
      if (first === "{") return members(depth);
      const items = [];
      each("]", () => items.push(value(depth + 1)));
      return items;
    }
    const word = WORDS[first];
    if (word && text.startsWith(word[0], at)) { at += word[0].length; return word[1]; }
    NUMBER.lastIndex = at;
    const match = NUMBER.exec(text) ?? notJson("not a JSON value");
    at = NUMBER.lastIndex;
    return number(match[0]);
  }
  const found = value(1);
  skip();
  if (at !== text.length) notJson("something follows the value");
  return found;
}

function number(text) {
  const value = Number(text);
  if (text.length < 16 && !/[eE]/.test(text)) return value === 0 ? 0 : value;  // few digits are kept
  if (!Number.isFinite(value)) notJson("a number is beyond doubles");
  if (Number.isInteger(value) && Math.abs(value) > INTEGER_MAX && (Math.abs(value) < 1e21 || !/[.eE]/.test(text)))
    notJson("an integer is beyond 2^53-1");
  const given = significant(text);
  const isKept = (given.digits.length <= 17 && Math.abs(value) >= DOUBLE_MIN)
    || Object.entries(significant(String(value))).every(([name, part]) => given[name] === part);
  if (!isKept) notJson(`${text.slice(0, 40)} would be kept as ${value}`);
  return value === 0 ? 0 : value;
}
/** The digits of a number's text from the first to the last that is not 0, and the power of ten. */
function significant(text) {
  const [mantissa, exponent = "0"] = text.toLowerCase().replace(/^-/, "").split("e");
  const [whole, fraction = ""] = mantissa.split(".");
  const digits = (whole + fraction).replace(/^0+/, ""), kept = digits.replace(/0+$/, "");
  return kept ? { digits: kept, power: Number(exponent) - fraction.length + digits.length - kept.length } : { digits: "", power: 0 };
}

/** RFC 8785: JavaScript's own spelling of strings and numbers; names in the order of UTF-16 code units. */
export function canonical(value) {
  if (value === null || typeof value !== "object") return JSON.stringify(value);
  if (Array.isArray(value)) return `[${value.map(canonical).join(",")}]`;
  return `{${Object.keys(value).sort().map(name => `${JSON.stringify(name)}:${canonical(value[name])}`).join(",")}}`;
}
/** The canonical form of a JSON text, given as a string or bytes. */
export function canonicalize(data) {
  return canonical(parseJson(typeof data === "string" ? data : decodeText(data, "malformed.json")));
}
function decodeText(data, code, finding) {
  try { return strictDecoder.decode(data); } catch { return refuse(code, "not UTF-8", finding); }
}

// --- the tree: docs/spec/merkle.md. Sizes are BigInt: they go to 2^63-1 ---

const bitLength = number => (number === 0n ? 0 : number.toString(2).length);
const bitCount = number => [...number.toString(2)].filter(bit => bit === "1").length;
const SIZE_MAX = 2n ** 63n - 1n;

function pathSize(index, size) {
  const inner = bitLength(index ^ (size - 1n));
  return inner + bitCount(index >> BigInt(inner));
}
const badInclusion = what => refuse("verification.inclusion", what, "proof.inclusion");
/** The root that an inclusion path leads to (RFC 9162, section 2.1.3.2). `path`: whole 32-byte hashes, joined. */
export async function rootFromPath(leaf, index, size, path) {
  let at = BigInt(index), last = BigInt(size) - 1n, node = leaf;
  if (at < 0n || at > last) badInclusion(`index ${index} is not in a tree of ${size}`);
  if (path.length !== 32 * pathSize(at, last + 1n)) badInclusion(`the path has ${path.length} bytes`);
  for (let offset = 0; offset < path.length; offset += 32) {
    const sibling = path.subarray(offset, offset + 32);
    while (!(at & 1n) && at === last) { at >>= 1n; last >>= 1n; }
    node = at & 1n ? await nodeHash(sibling, node) : await nodeHash(node, sibling);
    at >>= 1n; last >>= 1n;
  }
  return node;
}
export async function checkInclusion(leaf, index, size, path, root) {
  if (leaf.length !== 32) refuse("malformed.signature", "a leaf hash has 32 bytes");
  if (!isSame(await rootFromPath(leaf, index, size, path), root)) badInclusion("the path leads to another root");
}
const badConsistency = what => refuse("verification.consistency", what, "proof.consistency");
/** RFC 9162, section 2.1.4.2: the tree of `oldSize` leaves is a prefix of the tree of `newSize`. */
export async function checkConsistency(oldSize, newSize, proof, oldRoot, root) {
  const old = BigInt(oldSize), size = BigInt(newSize);
  if (oldRoot.length !== 32 || root.length !== 32) refuse("malformed.proof", "a root has 32 bytes", "proof.malformed");
  if (old <= 0n || old > size) badConsistency(`no prefix of ${size} has ${old} entries`);
  let height = 0n;
  while (!((old >> height) & 1n)) height++;
  const inner = BigInt(bitLength((old - 1n) ^ (size - 1n)));
  const want = old === size ? 0 : Number(inner - height) + bitCount((old - 1n) >> inner) + (old !== 1n << height ? 1 : 0);
  if (proof.length !== 32 * want) badConsistency(`the proof has ${proof.length} bytes, want ${32 * want}`);
  let oldNode = oldRoot, node = oldRoot, at = (old - 1n) >> height, last = (size - 1n) >> height, offset = 0;
  const next = () => proof.subarray(offset, offset += 32);
  if (old !== size && at) oldNode = node = next();
  while (offset < proof.length) {
    const sibling = next();
    while (!(at & 1n) && at === last) { at >>= 1n; last >>= 1n; }
    if (at & 1n) { oldNode = await nodeHash(sibling, oldNode); node = await nodeHash(sibling, node); }
    else node = await nodeHash(node, sibling);
    at >>= 1n; last >>= 1n;
  }
  if (!isSame(oldNode, oldRoot)) badConsistency(`the proof leads to another root at size ${old}`);
  if (!isSame(node, root)) badConsistency(`the proof leads to another root at size ${size}`);
}
async function perfectRoot(hashes) {
  let row = hashes;
  while (row.length > 1) {
    const pairs = [];
    for (let at = 0; at < row.length; at += 2) pairs.push(nodeHash(row[at], row[at + 1]));
    row = await Promise.all(pairs);
  }
  return row[0];
}
/** The root over any number of leaf hashes. */
export async function rootOf(leaves) {
  if (!leaves.length) return sha256(new Uint8Array());
  if (leaves.length === 1) return leaves[0];
  let half = 1;
  while (half * 2 < leaves.length) half *= 2;
  return nodeHash(await rootOf(leaves.slice(0, half)), await rootOf(leaves.slice(half)));
}

// --- verifier keys and signed notes: docs/spec/note.md ---

const ED25519 = 1, COSIGNATURE_ED25519 = 4, COSIGNATURE_ML_DSA_44 = 6;
const KEY_BYTES = { [ED25519]: 32, [COSIGNATURE_ED25519]: 32, [COSIGNATURE_ML_DSA_44]: 1312 };
const NOTE_BYTES_MAX = 1 << 20, SIGNATURES_MAX = 100;
const NOT_IN_NAMES = /[\x00-\x1f +\u0085\u00a0\u1680\u2000-\u200a\u2028\u2029\u202f\u205f\u3000]/;
const PRIME = 2n ** 255n - 19n, ORDER_8 = 0x7a03ac9277fdc74ec6cc392cfa53202a0f67100d760b3cba4fd84d3d706a17c7n;
const SMALL_ORDER = new Set([0n, 1n, PRIME - 1n, ORDER_8, PRIME - ORDER_8]);
const badNote = what => refuse("malformed.note", what, "checkpoint.malformed");

/** Under these Ed25519 keys anyone can sign, or the key has another spelling. */
function isWeakKey(key) {
  const y = BigInt(`0x${hex(key.slice().reverse())}`) & ((1n << 255n) - 1n);
  return y >= PRIME || SMALL_ORDER.has(y);
}
export async function parseVkey(text) {
  const parts = /^([^+]*)\+([^+]*)\+(.*)$/s.exec(text) ?? badNote("a verifier key is name+id+key");
  const [, name, id, encoded] = parts, material = unbase64(encoded);
  if (!material || KEY_BYTES[material[0]] !== material.length - 1) badNote("the verifier key is of no type that is known here");
  if (!name || utf8(name).length > 255 || NOT_IN_NAMES.test(name)) badNote("the verifier key's name cannot name a key");
  const key = { text, name, kind: material[0], publicKey: material.slice(1) };
  if (key.kind !== COSIGNATURE_ML_DSA_44 && isWeakKey(key.publicKey)) badNote("anyone can sign under this verifier key");
  key.id = (await sha256(concat(utf8(`${name}\n`), material))).slice(0, 4);
  if (hex(key.id) !== id) badNote(`the verifier key's id is ${id}, want ${hex(key.id)}`);
  return key;
}
/** The key that the reader brought. One that is none says nothing of the log: NotChecked. */
export async function parseReaderKey(text) {
  try { return await parseVkey(text.trim()); } catch (error) { throw new NotChecked(`what you gave is not a verifier key: ${error.message}`); }
}
export function parseNote(data) {
  const bytes = bytesOf(data);
  if (bytes.length > NOTE_BYTES_MAX) badNote(`the note has ${bytes.length} bytes`);
  const content = decodeText(bytes, "malformed.note", "checkpoint.malformed");
  if (/[\x00-\x09\x0b-\x1f]/.test(content)) badNote("the note holds a control character");
  const at = content.lastIndexOf("\n\n");
  if (at < 0 || !content.endsWith("\n") || at + 2 === content.length) badNote("the note has no empty line with signature lines after it");
  const lines = content.slice(at + 2, -1).split("\n");
  if (lines.length > SIGNATURES_MAX) badNote(`the note has ${lines.length} signatures`);
  return { text: content.slice(0, at + 1), signatures: lines.map(parseSignatureLine) };
}
function parseSignatureLine(line) {
  const [, name, encoded] = /^\u2014 ([^ ]+) ([^ ]*)$/.exec(line) ?? badNote("a signature line is not '\u2014 name base64'");
  if (NOT_IN_NAMES.test(name)) badNote("a signature line's name cannot name a key");
  const blob = unbase64(encoded) ?? badNote("a signature is not base64");
  if (blob.length < 5) badNote("a signature line has no signature");
  return { name, id: blob.slice(0, 4), signature: blob.slice(4) };
}
/** The note's text and the lines by `keys`, each verified. Lines by other keys are counted, not looked at. */
async function openLines(data, keys, verify) {
  const note = parseNote(data), found = [], unchecked = [];
  const known = new Map(keys.map(key => [key.text, key]));
  for (const line of note.signatures) {
    const named = [...known.values()].filter(key => key.name === line.name && isSame(key.id, line.id));
    if (named.length > 1) badNote("two known keys have one name and id");
    for (const key of named) {
      try { found.push(await verify(note.text, line, key)); } catch (error) {
        if (!(error instanceof NotChecked)) throw error;
        unchecked.push(key);
      }
    }
  }
  if (!found.length && unchecked.length) throw new NotChecked("this browser has no ML-DSA-44: who signed the checkpoint was not checked");
  if (!found.length) refuse("verification.trust", "no key that was given signed this", "trust.mismatch");
  return { ...note, found, unchecked, unknown: note.signatures.length - found.length - unchecked.length };
}
/** A signed note that is not a checkpoint. */
export async function openNote(data, keys) {
  return (await openLines(data, keys, async (text, line, key) => {
    if (key.kind !== ED25519) badNote("such a key signs checkpoints, no other notes");
    await verifyLine(text, line, key);
    return key;
  })).text;
}
const badLine = (line, isWitness) => refuse("verification.signature", `the signature by ${line.name} does not verify`, isWitness ? "checkpoint.cosignature" : "checkpoint.signature");
async function verifyLine(text, line, key) {
  if (!await verifyEd25519(key.publicKey, line.signature, utf8(text))) badLine(line, false);
}
async function verifyEd25519(raw, signature, message) {
  const key = await importKey("raw", raw, { name: "Ed25519" });
  return signature.length === 64 && crypto.subtle.verify({ name: "Ed25519" }, key, signature, message);
}
async function importKey(form, bytes, algorithm) {
  if (!canCheck()) throw new NotChecked("no secure context: this browser cannot check signatures here");
  try { return await crypto.subtle.importKey(form, bytes, algorithm, false, ["verify"]); } catch (error) {
    if (error.name === "DataError") refuse("verification.signature", "the public key is not on its curve", "entry.signature");
    throw new NotChecked(`this browser cannot check ${algorithm.name}`);
  }
}

// --- checkpoints and cosignatures: docs/spec/checkpoint.md, docs/spec/cosignature.md ---

const badCheckpoint = what => refuse("malformed.checkpoint", what, "checkpoint.malformed");
const EMPTY_ROOT = "e3b0c44298fc1c149afbf4c8996fb92427ae41e4649b934ca495991b7852b855";
export function parseCheckpoint(text) {
  const [origin, size, encoded, end, ...more] = text.split("\n"), root = unbase64(encoded ?? "");
  if (end !== "" || more.length || !origin) badCheckpoint("a checkpoint is three lines");
  if (!/^(0|[1-9][0-9]{0,18})$/.test(size) || BigInt(size) > SIZE_MAX) badCheckpoint(`${size} is not the size of a log`);
  if (root?.length !== 32) badCheckpoint("the root is not the base64 of 32 bytes");
  if (size === "0" && hex(root) !== EMPTY_ROOT) badCheckpoint("the root of size 0 is not that of the empty tree");
  return { origin, size: BigInt(size), root, text };
}
const be64 = number => unhex(number.toString(16).padStart(16, "0"));
function subtreeMessage(name, time, checkpoint) {
  const [cosigner, origin] = [name, checkpoint.origin].map(utf8);
  if (!cosigner.length || cosigner.length > 255 || origin.length > 255) badCheckpoint("a cosignature cannot carry this name");
  return concat(utf8("subtree/v1\n\0"), Uint8Array.of(cosigner.length), cosigner, be64(time),
    Uint8Array.of(origin.length), origin, be64(0n), be64(checkpoint.size), checkpoint.root);
}
async function verifyCheckpointLine(text, line, key) {
  if (key.kind === ED25519) { await verifyLine(text, line, key); return { key, time: null }; }
  const time = BigInt(`0x${hex(line.signature.slice(0, 8))}`), signature = line.signature.slice(8);
  if (signature.length !== (key.kind === COSIGNATURE_ED25519 ? 64 : 2420) || time > SIZE_MAX) badLine(line, true);
  let holds;
  if (key.kind === COSIGNATURE_ED25519) holds = await verifyEd25519(key.publicKey, signature, utf8(`cosignature/v1\ntime ${time}\n${text}`));
  else {
    const message = subtreeMessage(key.name, time, parseCheckpoint(text));
    const usable = await importKey("raw-public", key.publicKey, { name: "ML-DSA-44" });
    holds = await crypto.subtle.verify({ name: "ML-DSA-44" }, usable, signature, message);
  }
  if (!holds) badLine(line, true);
  return { key, time };
}
/** A checkpoint, and which of `keys` signed it: {origin, size, root, signatures: [{key, time}], unchecked, unknown}. */
export async function openCheckpoint(data, keys) {
  const note = await openLines(data, keys, verifyCheckpointLine), checkpoint = parseCheckpoint(note.text);
  const signatures = note.found.filter((one, at) => note.found.findIndex(other => other.key === one.key && other.time === one.time) === at);
  return { ...checkpoint, signatures, unchecked: note.unchecked, unknown: note.unknown };
}

// --- trust policies: docs/spec/trust.md ---

const badTrust = what => refuse("malformed.trust", what);
export async function parseTrustPolicy(text) {
  if (utf8(text).length > 1 << 20) badTrust("the trust policy is too long");
  if (/[\x00-\x08\x0b-\x1f\x7f]/.test(text)) badTrust("the trust policy holds a control character");
  if (text && !text.endsWith("\n")) badTrust("the last line does not end");
  const policy = { logs: [], witnesses: [], groups: [], quorum: null }, free = new Map(), keys = new Set();
  const vkey = async item => { try { return await parseVkey(item); } catch (error) { return badTrust(error.message); } };
  const define = name => { if (name === "none" || free.has(name)) badTrust(`${name} is defined already`); free.set(name, true); };
  const once = (what, key) => { const text = what + hex(key.publicKey); if (keys.has(text)) badTrust("a public key stands twice"); keys.add(text); };
  for (const line of text.split("\n")) {
    const [word, ...items] = line.replace(/^[ \t]+|[ \t]+$/g, "").split(/[ \t]+/);
    if (!word || word.startsWith("#")) continue;
    if (word === "log" && (items.length === 1 || items.length === 2)) {
      const key = await vkey(items[0]);
      once("log", key); policy.logs.push({ key, url: items[1] });
    } else if (word === "witness" && (items.length === 2 || items.length === 3)) {
      define(items[0]);
      const key = await vkey(items[1]);
      if (key.kind === ED25519) badTrust("a witness has a key of type 04 or 06");
      once("witness", key); policy.witnesses.push({ name: items[0], key, url: items[2] });
    } else if (word === "group" && items.length > 2) policy.groups.push(parseGroup(items, free, define));
    else if (word === "quorum" && items.length === 1) {
      if (policy.quorum !== null) badTrust("a second quorum");
      if (items[0] !== "none" && !free.has(items[0])) badTrust(`${items[0]} is not defined above`);
      policy.quorum = items[0];
    } else badTrust(`${word.slice(0, 40)} with ${items.length} items after it`);
  }
  return policy.quorum === null ? badTrust("there is no quorum") : policy;
}
function parseGroup([name, threshold, ...members], free, define) {
  for (const member of members) {
    if (!free.has(member)) badTrust(`${member} is not defined above`);
    if (!free.get(member)) badTrust(`${member} is a member twice`);
    free.set(member, false);
  }
  const count = { all: members.length, any: 1 }[threshold] ?? (/^[1-9][0-9]{0,6}$/.test(threshold) ? Number(threshold) : badTrust(`${threshold} is not all, any or a number`));
  if (count > members.length) badTrust(`${count} of ${members.length} members`);
  define(name);
  return { name, threshold: count, members };
}
export function formatTrustPolicy(policy) {
  const line = (...items) => `${items.filter(item => item !== undefined).join(" ")}\n`;
  return [...policy.logs.map(log => line("log", log.key.text, log.url)),
    ...policy.witnesses.map(witness => line("witness", witness.name, witness.key.text, witness.url)),
    ...policy.groups.map(group => line("group", group.name, group.threshold, ...group.members)), line("quorum", policy.quorum)].join("");
}
/** A checkpoint that the policy accepts; `have`: the names of its witnesses that cosigned. */
export async function openTrustedCheckpoint(data, policy) {
  const logs = policy.logs.map(log => log.key), names = new Map(policy.witnesses.map(witness => [witness.key.text, witness.name]));
  const checkpoint = await openCheckpoint(data, [...logs, ...policy.witnesses.map(witness => witness.key)]);
  const isLog = key => logs.some(log => log.text === key.text) && key.name === checkpoint.origin;
  if (!checkpoint.signatures.some(one => isLog(one.key))) {
    if (checkpoint.unchecked.some(isLog)) throw new NotChecked("this browser cannot check the log's signature of the checkpoint");
    refuse("verification.trust", "no log that is trusted signed the checkpoint", "trust.mismatch");
  }
  const have = checkpoint.signatures.map(one => names.get(one.key.text)).filter(name => name !== undefined), met = new Set(have);
  for (const group of policy.groups) if (group.members.filter(member => met.has(member)).length >= group.threshold) met.add(group.name);
  if (policy.quorum !== "none" && !met.has(policy.quorum)) {
    if (checkpoint.unchecked.length) throw new NotChecked("this browser cannot check all witnesses of the quorum");
    throw Object.assign(new Refused("verification.trust", `the quorum ${policy.quorum} has not cosigned`, "trust.quorum"), { have: [...new Set(have)].sort() });
  }
  return { ...checkpoint, have };
}

// --- tiles: docs/spec/tiles.md ---

const badTile = what => refuse("malformed.tile", what, "published.tile");
const TILE_PATH = /^tile\/(entries|0|[1-9][0-9]?)\/((?:x[0-9]{3}\/)*[0-9]{3})(?:\.p\/([1-9][0-9]{0,2}))?$/;
export function tilePath(level, index, width = 256) {
  let rest = BigInt(index), path = String(rest % 1000n).padStart(3, "0");
  for (rest /= 1000n; rest; rest /= 1000n) path = `x${String(rest % 1000n).padStart(3, "0")}/${path}`;
  return `tile/${level}/${path}${width < 256 ? `.p/${width}` : ""}`;
}
export function parseTilePath(path) {
  const [, kind, groups, partial] = (!path.includes("\n") && TILE_PATH.exec(path)) || badTile("not the path of a tile");
  const index = BigInt(groups.replaceAll(/[x/]/g, "")), width = partial === undefined ? 256 : Number(partial);
  const isWithin = (kind === "entries" || Number(kind) <= 63) && index <= SIZE_MAX >> 8n && !(partial !== undefined && width > 255);
  if (!isWithin || tilePath(kind, index, width) !== path) badTile("not the path of a tile in its one spelling");
  return { level: kind === "entries" ? null : Number(kind), index, width };
}
function splitTile(data, width, size, what) {
  if (data.length !== width * size) badTile(`${what} has ${data.length} bytes, ${width} hashes have ${width * size}`);
  return Array.from({ length: width }, (_, at) => data.subarray(at * size, (at + 1) * size));
}
/** The entry hashes of a bundle. */
export const splitBundle = (data, width) => splitTile(data, width, 34, "the entry bundle").map(one => {
  if (one[0] || one[1] !== 32) badTile("the entry bundle holds an entry of another length");
  return one.subarray(2);
});
/** The tiles of the tree with this size and root: no hash of them is handed on before it led to the root. */
export class TrustedTiles {
  #edge = null; #kept = new Map(); #get; #root;
  /** `get(path)`: the bytes of a tile. `size`: up to 2^53-1. */
  constructor(size, root, get) { this.size = Number(size); this.#root = root; this.#get = get; }
  width(level, index) { return Math.max(0, Math.min(256, Math.floor(this.size / 256 ** level) - index * 256)); }
  async leaf(number) { return (await this.tile(0, Math.floor(number / 256)))[number % 256]; }
  async tile(level, index) {
    const width = this.width(level, index);
    if (!width) badInclusion(`a tree of ${this.size} has no such tile`);
    if (width < 256) return (await this.edge())[level];
    const name = `${level}/${index}`;
    if (!this.#kept.has(name)) {
      const loading = this.#load(level, index);
      this.#kept.set(name, loading);
      loading.catch(() => this.#kept.delete(name));
    }
    return this.#kept.get(name);
  }
  async #load(level, index) {
    const want = (await this.tile(level + 1, Math.floor(index / 256)))[index % 256], path = tilePath(level, index);
    const hashes = splitTile(await this.#get(path), 256, 32, path);
    if (!isSame(await perfectRoot(hashes), want)) refuse("verification.hash", `${path} does not lead to the root`, "published.tile");
    return hashes;
  }
  edge() { return this.#edge ??= this.#loadEdge(); }
  async #loadEdge() {
    const edge = {}, nodes = [];
    for (let level = 0; 256 ** level <= this.size; level++) {
      const index = Math.floor(this.size / 256 ** (level + 1)), width = this.width(level, index), path = tilePath(level, index, width);
      if (width) edge[level] = splitTile(await this.#get(path), width, 32, path);
    }
    for (let height = 52; height >= 0; height--) {
      const above = Math.floor(this.size / 2 ** height);
      if (above % 2 === 0) continue;
      const level = Math.floor(height / 8), wide = 2 ** (height % 8), first = Math.floor(this.size / 256 ** (level + 1)) * 256;
      nodes.push(await perfectRoot(edge[level].slice((above - 1) * wide - first, above * wide - first)));
    }
    let root = nodes.pop() ?? unhex(EMPTY_ROOT);
    while (nodes.length) root = await nodeHash(nodes.pop(), root);
    if (!isSame(root, this.#root)) refuse("verification.hash", "the tiles do not lead to the checkpoint's root", "published.tile");
    return edge;
  }
}
/** That a bundle holds the entries under these leaf hashes. */
export async function checkBundle(entryHashes, leaves) {
  for (const [at, entryHash] of entryHashes.entries())
    if (!isSame(await leafHash(entryHash), leaves[at])) refuse("verification.hash", "the entry bundle is not of the tree", "published.bundle");
}

// --- entries: docs/spec/entry.md, docs/spec/hashes.md ---

const isObject = value => value !== null && typeof value === "object" && !Array.isArray(value);
const isText = value => typeof value === "string";
const isName = value => isText(value) && value !== "" && (value.length <= 256 || [...value].length <= 256);
const isCount = value => Number.isInteger(value) && value >= 0;
const isScore = value => typeof value === "number" && value >= 0 && value <= 10;
const isFlag = value => typeof value === "boolean";
const fits = pattern => value => isText(value) && !value.includes("\n") && pattern.test(value);
const among = (...values) => value => values.includes(value);
const listOf = one => value => Array.isArray(value) && value.every(one);
const orNull = one => value => value === null || one(value);
const textsOf = value => isObject(value) && Object.values(value).every(isText);
export const PILLARS = ["an_toan", "duong_dai", "tin_vao_so_lieu", "han_che_rui_ro"];
const MEMBERS = {
  action_hash: isText, action_payload: orNull(isObject), action_type: isName, actor_context: isObject, actor_id: isName,
  actor_type: among("HUMAN", "AUTONOMOUS_AGENT", "SYSTEM", "EXTERNAL"), attribution: among("alpha_prime_omega"),
  composite_score: orNull(isScore), conflicts_detected: listOf(isText),
  dependencies: listOf(fits(/^[0-9a-f]{8}-[0-9a-f]{4}-4[0-9a-f]{3}-[89ab][0-9a-f]{3}-[0-9a-f]{12}$/)), entry_hash: isText,
  entry_id: fits(/^[0-9a-f]{8}-[0-9a-f]{4}-4[0-9a-f]{3}-[89ab][0-9a-f]{3}-[0-9a-f]{12}$/), environment: textsOf,
  error_details: orNull(isObject), event_category: among("NORMAL", "WARNING", "ERROR", "CRITICAL"),
  event_type: among("ACTION", "DECISION", "VIOLATION", "CHANGE", "BOOT", "SHUTDOWN"),
  execution_status: among("SUCCESS", "FAILED", "BLOCKED", "ROLLED_BACK"), hsm_signature: isText, k_state: among(0, 1),
  pillars_scores: value => isObject(value) && Object.entries(value).every(([name, score]) => PILLARS.includes(name) && isScore(score)),
  prev_entry_hash: isText, proofs_valid: isFlag,
  provided_proofs: listOf(proof => isObject(proof) && isText(proof.type) && isFlag(proof.valid)), quorum_met: isFlag,
  received_approvals: listOf(approval => textsOf(approval) && ["signer", "signature", "timestamp"].every(name => isText(approval[name]))),
  replicas: listOf(isText), required_approvals: isCount, required_proofs: listOf(isText), result_data: orNull(isObject),
  rollback_available: isFlag, rollback_executed: isFlag, rollback_snapshot_hash: orNull(fits(/^[0-9a-f]{64}$/)),
  safety_floor_met: orNull(isFlag), schema_version: among("1.0.0"), sequence_number: isCount,
  severity: value => Number.isInteger(value) && value >= 0 && value <= 10, signature_algorithm: isText, signing_key_id: isText,
  system_state_snapshot: isObject, timestamp: fits(/^[0-9]{4}-[0-9]{2}-[0-9]{2}T[0-9]{2}:[0-9]{2}:[0-9]{2}\.[0-9]{6}Z$/),
};
const ENTRY_BYTES_MAX = 65_535, PAYLOAD_BYTES_MAX = 16 << 20;
const badEntry = (what, finding = "entry.malformed") => refuse("malformed.entry", what, finding);

/** The entry of one line: its members and their types, and that the line is its one spelling. No hash is looked at. */
export function parseEntry(data) {
  const line = typeof data === "string" ? data : decodeText(data, "malformed.entry", "entry.malformed");
  let entry;
  try { entry = parseJson(line); } catch (error) { badEntry(error.message, error.message.includes("twice") ? "entry.canonical" : "entry.malformed"); }
  if (!isObject(entry)) badEntry("an entry is an object");
  for (const name of Object.keys(entry)) if (!Object.hasOwn(MEMBERS, name)) badEntry(`${name} is no member of an entry`);
  for (const [name, isFit] of Object.entries(MEMBERS)) if (!(name in entry) || !isFit(entry[name])) badEntry(`${name} is missing, or not what it must be`);
  if (canonical(entry) !== line) badEntry("the entry is not in canonical form", "entry.canonical");
  if (line.length > ENTRY_BYTES_MAX / 3) checkSizes(entry, line);
  return entry;
}
function checkSizes(entry, line) {
  const payload = utf8(canonical(entry.action_payload)).length, rest = utf8(line).length - payload - '"action_payload":,'.length;
  if (payload > PAYLOAD_BYTES_MAX || rest > ENTRY_BYTES_MAX) refuse("log.too_large", "the entry is over its size limit", "entry.too_large");
}
/** What entry_hash is the SHA-256 of. */
export function preimage(entry) {
  const { action_payload, entry_hash, hsm_signature, ...covered } = entry;
  return canonical(covered);
}
/** The entry of one line, whose hashes are its own. That it is in a log is not shown by this. */
export async function checkEntry(data) {
  const entry = parseEntry(data);
  const [payload, whole] = await Promise.all([entry.action_payload && hexHash(canonical(entry.action_payload)), hexHash(preimage(entry))]);
  if (payload !== null && payload !== entry.action_hash) refuse("verification.hash", "action_hash is not the hash of the payload", "entry.action_hash");
  if (whole !== entry.entry_hash) refuse("verification.hash", "entry_hash is not the hash of the entry", "entry.entry_hash");
  parseSignature(entry.hsm_signature, entry.signature_algorithm);
  return entry;
}
export const NO_HASH = "0".repeat(64);
/** That the entry is number `number` and follows the entry of hash `previous` (hex). */
export function checkChain(entry, number, previous) {
  if (entry.sequence_number !== number) refuse("verification.chain", `this is entry ${entry.sequence_number}, want ${number}`, "entry.sequence");
  if (entry.prev_entry_hash !== previous) refuse("verification.chain", `entry ${number} does not follow the one before`, "entry.chain");
}

// --- entry signatures: docs/spec/signature.md ---

const SPKI = {
  "ECDSA-P256-SHA256": ["3059301306072a8648ce3d020106082a8648ce3d03010703420004", 64],
  "Ed25519": ["302a300506032b6570032100", 32],
  "ML-DSA-44": ["30820532300b06096086480165030403110382052100", 1312],
  "ML-DSA-65": ["308207b2300b0609608648016503040312038207a100", 1952],
};
const HALF_ORDER = 0x7fffffff800000007fffffffffffffffde737d56d38bcf4279dce5617e3192a8n;
const badSignature = what => refuse("malformed.signature", what, "entry.signature_form");

/** A public key in PEM: {pem, spki, keyId, algorithm}. */
export async function parsePublicKey(pem) {
  const [, text] = /^\s*-----BEGIN PUBLIC KEY-----\n([A-Za-z0-9+/=\n]+)-----END PUBLIC KEY-----\s*$/.exec(pem) ?? badSignature("not a public key in PEM");
  const spki = unbase64(text.replaceAll("\n", "")) ?? badSignature("not a public key in PEM");
  for (const [algorithm, [prefix, size]] of Object.entries(SPKI)) {
    const start = prefix.length / 2;
    if (spki.length !== start + size || hex(spki.subarray(0, start)) !== prefix) continue;
    if (algorithm === "Ed25519" && isWeakKey(spki.slice(start))) badSignature("anyone can sign under this key");
    return { pem, spki, algorithm, keyId: hex(await sha256(spki)) };
  }
  return badSignature("the key is not P-256, Ed25519, ML-DSA-44 or ML-DSA-65");
}
export function parseSignature(text, algorithm) {
  if (!algorithm.endsWith("+BATCH")) return text && isHex(text) ? { signature: unhex(text) } : badSignature("the signature is not lower-case hex");
  const [, signature, position, total, path] = (!text.includes("\n") && /^([0-9a-f]+):(0|[1-9][0-9]{0,4})\/([1-9][0-9]{0,4}):((?:[0-9a-f]{64})*)$/.exec(text)) || badSignature("not the form of a batch signature");
  const [index, size] = [position, total].map(Number);
  if (signature.length % 2 || index >= size || size > 1024) badSignature(`the place in the batch is ${index}/${size}`);
  if (path.length !== 64 * pathSize(BigInt(index), BigInt(size))) badSignature("the path of the batch has another length");
  return { signature: unhex(signature), index, size, path: unhex(path) };
}
/** r and s of a DER signature, 32 bytes each, and s; null unless it is DER in its one spelling. */
function splitDer(der) {
  if (der.length < 8 || der[0] !== 0x30 || der[1] !== der.length - 2) return null;
  const raw = new Uint8Array(64);
  let at = 2;
  for (const place of [0, 32]) {
    const size = der[at + 1], start = at + 2, end = start + size;
    if (der[at] !== 2 || !size || end > der.length || der[start] & 0x80) return null;
    if (size > 1 && der[start] === 0 && !(der[start + 1] & 0x80)) return null;
    const digits = der.subarray(der[start] === 0 ? start + 1 : start, end);
    if (digits.length > 32) return null;
    raw.set(digits, place + 32 - digits.length);
    at = end;
  }
  return at === der.length ? raw : null;
}
async function verifyMessage(key, signature, message) {
  const usable = key.usable ??= importKey("spki", key.spki, key.algorithm === "ECDSA-P256-SHA256" ? { name: "ECDSA", namedCurve: "P-256" } : { name: key.algorithm });
  if (key.algorithm !== "ECDSA-P256-SHA256") return crypto.subtle.verify({ name: key.algorithm }, await usable, signature, message);
  const raw = splitDer(signature);
  if (!raw || !await crypto.subtle.verify({ name: "ECDSA", hash: "SHA-256" }, await usable, raw, message)) return false;
  if (BigInt(`0x${hex(raw.subarray(32))}`) > HALF_ORDER) badSignature("s is over half of the order: somebody respelled the signature");
  return true;
}
/** That `key` signed this entry hash, alone or in a batch. */
export async function checkSignature(key, algorithm, text, entryHash) {
  if (algorithm.replace(/\+BATCH$/, "") !== key.algorithm) refuse("verification.signature", `the entry names ${algorithm}, its key is ${key.algorithm}`, "entry.algorithm");
  if (!fits(/^[0-9a-f]{64}$/)(entryHash)) badSignature("the entry hash is not 64 lower-case hex digits");
  const parts = parseSignature(text, algorithm);
  let message = unhex(entryHash);
  if (parts.size) message = concat(utf8("attestlog/batch/v1\n"), await rootFromPath(await leafHash(message), parts.index, parts.size, parts.path));
  if (!await verifyMessage(key, parts.signature, message)) refuse("verification.signature", "the entry's signature does not verify", "entry.signature");
}
export async function checkEntrySignature(entry, key) {
  if (key.keyId !== entry.signing_key_id) refuse("verification.signature", "the entry is signed by another key", "entry.signing_key");
  await checkSignature(key, entry.signature_algorithm, entry.hsm_signature, entry.entry_hash);
}

// --- proof files: docs/spec/proof.md, docs/spec/consistency.md ---

const badProof = what => refuse("malformed.proof", what, "proof.malformed");
function splitProof(data, header) {
  const bytes = bytesOf(data);
  if (bytes.length > 23_509_760) badProof("the proof is too long");
  let at = 0;
  while (at < bytes.length && !(bytes[at] === 10 && bytes[at + 1] === 10)) at++;
  const head = decodeText(bytes.subarray(0, at), "malformed.proof", "proof.malformed"), [first, ...lines] = head.split("\n");
  if (/[^\x00-\x7f]/.test(head)) badProof("the proof is not ASCII");
  if (first !== header) badProof(`the first line is not ${header}`);
  if (at >= bytes.length) badProof("there is no empty line before the checkpoint");
  return { lines, checkpoint: bytes.subarray(at + 2) };
}
function count(line, name) {
  const [, digits] = /^[a-z]+ (0|[1-9][0-9]{0,18})$/.exec(line) ?? badProof(`no ${name} and a number`);
  return line.startsWith(`${name} `) && BigInt(digits) <= SIZE_MAX ? BigInt(digits) : badProof(`no ${name} and a number`);
}
const item = (line, name) => (line.startsWith(`${name} `) ? unbase64(line.slice(name.length + 1)) : null) ?? badProof(`no ${name} and base64`);
function hashes(lines) {
  if (lines.length > 63) badProof(`${lines.length} hashes are too many`);
  return concat(...lines.map(line => { const hash = item(`hash ${line}`, "hash"); return hash.length === 32 ? hash : badProof("a hash has another length than 32 bytes"); }));
}
export function parseProof(data) {
  const { lines, checkpoint } = splitProof(data, "c2sp.org/tlog-proof@v1");
  const extra = lines[0]?.startsWith("extra ") ? item(lines.shift(), "extra") : null;
  if (extra?.length === 0 || !lines.length) badProof("there is no entry or no index");
  return { extra, index: count(lines.shift(), "index"), path: hashes(lines), checkpoint };
}
/** What a proof file shows under a trust policy: {entry, checkpoint, key}; `keys`: entry keys that are trusted. */
export async function openProof(data, policy, keys = []) {
  const proof = parseProof(data), checkpoint = await openTrustedCheckpoint(proof.checkpoint, policy);
  if (proof.extra === null) badProof("the proof holds no entry");
  const entry = await checkEntry(proof.extra);
  if (BigInt(entry.sequence_number) !== proof.index) badInclusion(`the proof is of index ${proof.index}, its entry is entry ${entry.sequence_number}`);
  await checkInclusion(await leafHash(unhex(entry.entry_hash)), proof.index, checkpoint.size, proof.path, checkpoint.root);
  const key = keys.find(one => one.keyId === entry.signing_key_id) ?? null;
  if (key) await checkEntrySignature(entry, key);
  return { entry, checkpoint, key };
}
/** What a consistency file shows: {oldSize, oldRoot, checkpoint}. */
export async function openConsistency(data, policy) {
  const { lines, checkpoint: note } = splitProof(data, "attestlog/consistency@v1");
  if (lines.length < 2) badProof("there is no old size and root");
  const [old, root, ...path] = lines, oldSize = count(old, "old"), oldRoot = item(root, "root"), proof = hashes(path);
  if (oldRoot.length !== 32) badProof("the old root has another length than 32 bytes");
  const checkpoint = await openTrustedCheckpoint(note, policy);
  await checkConsistency(oldSize, checkpoint.size, proof, oldRoot, checkpoint.root);
  return { oldSize, oldRoot, checkpoint };
}
const OF_PROOFS = {
  "checkpoint.malformed": "proof.malformed", "checkpoint.signature": "proof.checkpoint", "checkpoint.cosignature": "proof.checkpoint",
  "entry.malformed": "proof.malformed", "entry.canonical": "proof.malformed", "entry.too_large": "proof.malformed",
  "entry.action_hash": "proof.hash", "entry.entry_hash": "proof.hash", "entry.unverified": "checkpoint.unsupported",
  "entry.signature_form": "proof.entry_signature", "entry.signature": "proof.entry_signature", "entry.signing_key": "proof.entry_signature",
  "entry.algorithm": "proof.entry_signature",
};
/** The finding that an error of a proof file amounts to. */
export const proofFinding = error => OF_PROOFS[error.finding] ?? error.finding;
