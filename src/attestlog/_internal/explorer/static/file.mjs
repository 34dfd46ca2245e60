// A file that somebody sent, checked here and nowhere else: a proof of an entry, a proof of consistency, a bundle, or a
// report with one in it. Nothing of it leaves the browser.
import * as v from "./verify.mjs";
import { openBundle } from "./bundle.mjs";
import * as d from "./draw.mjs";
const { h } = d;

const starts = (bytes, text) => v.isSame(bytes.subarray(0, text.length), v.utf8(text));
/** A policy that trusts the log of this key and asks for no witness. */
const trusting = async vkey => v.parseTrustPolicy(`log ${(await v.parseReaderKey(vkey)).text}\nquorum none\n`);

/** {kind, lines, entry}: what the file shows under the reader's key. Throws Refused, with the finding, or NotChecked. */
export async function checkFile(bytes, vkey) {
  if (!v.canCheck()) throw new v.NotChecked("this browser cannot check here: WebCrypto needs https, this machine, or a file on disk");
  if (!vkey) throw new v.NotChecked("give the log's verifier key first: without it a file may hold together, and shows nothing");
  if (starts(bytes, "attestlog/consistency@v1\n")) {
    const { oldSize, checkpoint } = await named(v.openConsistency(bytes, await trusting(vkey)));
    return { kind: "a proof of consistency", lines: [`The first ${oldSize} entries are a prefix of the ${checkpoint.size} that ${checkpoint.origin} has signed.`], entry: null };
  }
  if (starts(bytes, "c2sp.org/tlog-proof@v1\n")) {
    const { entry, checkpoint } = await named(v.openProof(bytes, await trusting(vkey)));
    return { kind: "a proof of one entry", lines: [`Entry ${entry.sequence_number} of ${checkpoint.origin}, in a tree of ${checkpoint.size}.`, "Its own signature was not judged: the file does not hold its key. The tree vouches for the entry."], entry };
  }
  const bundle = await openBundle(starts(bytes, "<!doctype html>") ? embedded(bytes) : bytes, [vkey]);
  if (bundle.problems.length) throw Object.assign(bundle.problems[0].error, { message: `entry ${bundle.problems[0].number ?? "?"}: ${bundle.problems[0].error.message}` });
  const asked = bundle.found.filter(one => one.isAsked);
  return { kind: "a bundle", lines: [`${d.counted(asked.length, "entry", "entries")} of ${bundle.checkpoint.origin}: hashes, places in the tree and signatures hold.`, ...bundle.unchecked.map(what => `Not checked: ${what}`)], entry: asked.length === 1 ? asked[0].entry : null, isPartial: bundle.unchecked.length > 0 };
}
async function named(work) {
  try { return await work; } catch (error) { if (error instanceof v.Refused) error.finding = v.proofFinding(error); throw error; }
}
function embedded(bytes) {
  const [, encoded] = /<script type="text\/plain" id="bundle">([A-Za-z0-9+/=]*)<\/script>/.exec(new TextDecoder().decode(bytes)) ?? [];
  return (encoded && v.unbase64(encoded)) || v.utf8("no bundle\n");
}

/** A place to drop files on, and what each shows. `key()`: the reader's key. */
export function filePlace(key) {
  const found = h("div", { id: "found", "aria-live": "polite" });
  const take = async files => { for (const file of files) found.prepend(await shown(file, key())); };
  const input = h("input", { type: "file", id: "file", multiple: true, onchange: event => { const files = [...event.target.files]; event.target.value = ""; take(files); } });  // the same file may be chosen again
  const stop = event => event.preventDefault();
  const place = h("div", { class: "drop", ondragover: stop, ondrop: event => { stop(event); take([...event.dataTransfer.files]); } }, h("label", { for: "file" }, "Drop files here, or choose them: proofs (.tlog-proof, .tlog-consistency), bundles, reports"), input);
  return [place, found];
}
async function shown(file, vkey) {
  try {
    const { kind, lines, entry, isPartial } = await checkFile(new Uint8Array(await file.arrayBuffer()), vkey);
    return box(isPartial ? "unknown" : "good", `${d.visible(file.name)}: ${isPartial ? "verified in part" : "verified"}, ${kind}`, lines, entry && d.json(entry, `The entry in ${file.name}`));
  } catch (error) {
    const { kind, title, code } = d.verdictOf(error);
    return box(kind, `${d.visible(file.name)}: ${title.toLowerCase()}`, [[d.visible(error.message), code && [" ", h("code", null, code)]]]);
  }
}
const box = (kind, title, lines, more = null) => h("div", { class: `verdict ${kind}`, "data-verdict": kind }, h("p", { class: "verdict-title" }, title), lines.map(line => h("p", null, line)), more);
