// "Check here": one entry of a log, from the server's bytes to the key that the reader brought. See explorer/answering.py.
import * as v from "./verify.mjs";
import { Rules, checkSigned } from "./bundle.mjs";

const RULES_MAX = 1000;

/** A log behind `get(path)`: bytes. Nothing of it is believed before it led to a checkpoint. */
export class Log {
  #get; #entries = new Map();
  constructor(get) { this.#get = get; }
  get(path) { return this.#get(path); }
  /** A checked entry: its hashes are its own. That it is in the log is not shown by this. */
  async entry(number) {
    const line = await this.#get(`entries/${number}`);
    return v.checkEntry(line);
  }
  async kept(number) {
    if (!this.#entries.has(number)) this.#entries.set(number, await this.entry(number));
    return this.#entries.get(number);
  }
  /** The rules under a pointer, followed back to the genesis entry; [rules, the changes on the way]. */
  async rules(pointer) {
    const changes = new Map();
    const find = async number => {
      if (changes.size >= RULES_MAX) throw new v.NotChecked(`more than ${RULES_MAX} changes of keys or policy: attestlog verify follows them`);
      const entry = await this.kept(number);
      changes.set(number, entry);
      return entry;
    };
    const genesis = await this.kept(0);
    return { genesis, rules: await (await Rules.of(genesis)).at(pointer, find), changes: [...changes.values()].sort((a, b) => a.sequence_number - b.sequence_number) };
  }
}

/** Check entry `number` under `vkey`; `step(name, work)` runs and shows each part. Throws where one does not hold. */
export async function checkEntryHere(log, vkey, number, step) {
  let checkpoint, entry, tiles;
  await step("Checkpoint", async () => {
    checkpoint = await v.openCheckpoint(await log.get("checkpoint"), [await v.parseReaderKey(vkey)]);
    return `${checkpoint.origin}, ${checkpoint.size} entries, signed by your key`;
  });
  if (BigInt(number) >= checkpoint.size) throw new v.NotChecked(`the checkpoint covers ${checkpoint.size} entries, not yet this one`);
  tiles = new v.TrustedTiles(checkpoint.size, checkpoint.root, path => log.get(path));
  await step("Entry", async () => {
    entry = await log.entry(number);
    if (entry.sequence_number !== number) throw new v.Refused("verification.chain", `the server sent entry ${entry.sequence_number}`, "entry.sequence");
    return entry.action_payload === null ? "its hash is that of its members; the payload was erased" : "its hashes are those of its members and its payload";
  });
  await step("Place in the log", async () => {
    if (!v.isSame(await v.leafHash(v.unhex(entry.entry_hash)), await tiles.leaf(number))) throw new v.Refused("verification.inclusion", "the entry is not the one in the tree", "proof.inclusion");
    return `it is leaf ${number} of the tree that the checkpoint signs`;
  });
  await step("Link to the entry before", async () => {
    if (number === 0) { v.checkChain(entry, 0, v.NO_HASH); return "it is the first"; }
    const index = Math.floor((number - 1) / 256), hashes = v.splitBundle(await log.get(v.tilePath("entries", index, tiles.width(0, index))), tiles.width(0, index));
    await v.checkBundle(hashes, await tiles.tile(0, index));
    v.checkChain(entry, number, v.hex(hashes[(number - 1) % 256]));
    return `it names the hash of entry ${number - 1}`;
  });
  await step("Signature", async () => {
    const { genesis, rules } = await log.rules(number ? entry.environment.attestlog_rules : `0:${(await log.kept(0)).entry_hash}`);
    if (!v.isSame(await v.leafHash(v.unhex(genesis.entry_hash)), await tiles.leaf(0))) throw new v.Refused("verification.inclusion", "the genesis entry is not the one in the tree", "proof.inclusion");
    return checkSigned(entry, rules);
  });
  return entry;
}
