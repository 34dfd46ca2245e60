// What the explorer's verifier says of a test vector: the members it found, or the code of the error.
const v = await import("/verify.mjs"), { openBundle } = await import("/bundle.mjs");

const bytes = text => v.unhex(text);
const vkeys = list => Promise.all(list.map(v.parseVkey));
const facts = ({ origin, size, root }) => ({ origin, size: Number(size), root: v.hex(root) });

const JUDGES = {
  canonical: async one => ({ canonical: v.canonicalize("input_hex" in one ? bytes(one.input_hex) : one.input) }),
  entry: async one => {
    const entry = v.parseEntry(one.line);
    await v.checkEntry(one.line);
    return { preimage: v.preimage(entry), entry_hash: await v.hexHash(v.preimage(entry)), action_hash: entry.action_hash };
  },
  hashes: async one => {
    let previous = v.NO_HASH;
    const found = [];
    for (const [number, line] of one.lines.entries()) {
      const entry = await v.checkEntry(line);
      v.checkChain(entry, number, previous);
      found.push(previous = entry.entry_hash);
    }
    return { entry_hashes: found };
  },
  signature: async one => {
    const key = await v.parsePublicKey(one.public_key);
    await v.checkSignature(key, one.algorithm, one.hsm_signature, one.entry_hash);
    return { key_id: key.keyId };
  },
  merkle: async one => {
    if ("index" in one) { await v.checkInclusion(bytes(one.leaf_hash), one.index, one.size, bytes(one.path), bytes(one.root)); return {}; }
    if ("old_size" in one) { await v.checkConsistency(one.old_size, one.size, bytes(one.proof), bytes(one.old_root), bytes(one.root)); return {}; }
    const leaves = [];
    for (let number = 0; number < one.size; number++) leaves.push(await v.leafHash(await v.sha256(bytes(number.toString(16).padStart(8, "0")))));
    return { root: v.hex(await v.rootOf(leaves)) };
  },
  note: async one => ({ text: await v.openNote(one.note, await vkeys(one.vkeys)) }),
  checkpoint: async one => facts(await v.openCheckpoint(one.note, await vkeys(one.vkeys))),
  cosignature: async one => {
    const found = await v.openCheckpoint(one.note, await vkeys(one.vkeys));
    if (found.unchecked.length) throw new v.NotChecked("ML-DSA-44");
    const signatures = found.signatures.map(({ key, time }) => ({ vkey: key.text, timestamp: time === null ? null : Number(time) }));
    return { ...facts(found), signatures, unknown: found.unknown };
  },
  trust: async one => {
    const policy = await v.parseTrustPolicy(one.policy);
    if ("spelled" in one) return { spelled: v.formatTrustPolicy(policy) };
    try { return { have: (await v.openTrustedCheckpoint(one.note, policy)).have }; } catch (error) {
      if (error.have && JSON.stringify(error.have) !== JSON.stringify(one.have)) throw new Error(`have ${error.have}`);
      throw error;
    }
  },
  proof: async one => {
    const keys = await Promise.all((one.entry_keys ?? []).map(v.parsePublicKey));
    const { entry, checkpoint, key } = await v.openProof(one.proof, await v.parseTrustPolicy(one.policy), keys);
    return { ...facts(checkpoint), index: entry.sequence_number, entry_hash: entry.entry_hash, has_payload: entry.action_payload !== null, entry_key: key && key.keyId };
  },
  consistency: async one => {
    const { oldSize, oldRoot, checkpoint } = await v.openConsistency(one.proof, await v.parseTrustPolicy(one.policy));
    return { ...facts(checkpoint), old_size: Number(oldSize), old_root: v.hex(oldRoot) };
  },
  bundle: async one => {
    const found = await openBundle(v.utf8(one.bundle), one.vkeys);
    if (found.problems.length) throw found.problems[0].error;
    if (found.unchecked.length) throw new v.Refused("", "", "entry.unjudged");
    if (!found.trust) throw new v.Refused("", "", "trust.none");
    return { numbers: found.found.filter(item => item.isAsked).map(item => item.entry.sequence_number) };
  },
  tiles: async one => {
    if ("path" in one) {
      const { level, index, width } = v.parseTilePath(one.path);
      return { ...(level === null ? {} : { level }), index: Number(index), width };
    }
    const read = async path => bytes(one.files[path]), tiles = new v.TrustedTiles(one.size, bytes(one.root), read);
    for (let level = 0; 256 ** level <= one.size; level++)
      for (let index = 0, width; (width = tiles.width(level, index)); index++) {
        const leaves = await tiles.tile(level, index);
        if (level === 0) await v.checkBundle(v.splitBundle(await read(v.tilePath("entries", index, width)), width), leaves);
      }
    return {};
  },
};

export async function judge(format, one) {
  try { return { found: await JUDGES[format](one) }; } catch (error) {
    if (error instanceof v.Refused) return { code: error.code, finding: error.finding };
    if (error instanceof v.NotChecked) return { unchecked: error.message };
    return { crash: `${error.name}: ${error.message}` };
  }
}
export const judgeAll = (format, cases) => Promise.all(cases.map(one => judge(format, one)));
