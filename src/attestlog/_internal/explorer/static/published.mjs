// The page of a published folder: it has checkpoint and tiles, and no entries. It checks them under the reader's key, and
// files that are dropped on it against the checkpoint that is published here.
import * as v from "./verify.mjs";
import { filePlace } from "./file.mjs";
import * as d from "./draw.mjs";
const { h } = d;

const app = document.getElementById("app");
async function get(path) {
  const answer = await fetch(path, { redirect: "error", cache: "no-store" });
  if (!answer.ok) throw new v.NotChecked(`${path}: HTTP ${answer.status}`);
  return new Uint8Array(await answer.arrayBuffer());
}
let key = decodeURIComponent(location.hash.match(/^#key=(.+)$/)?.[1] ?? "");

async function look() {
  const note = v.parseNote(await get("checkpoint")), said = v.parseCheckpoint(note.text);
  if (!key) return box("unknown", "Not checked", [`The checkpoint says: ${said.size} entries of ${d.visible(said.origin)}. Give the log's verifier key to check it.`]);
  const checkpoint = await v.openCheckpoint(await get("checkpoint"), [await v.parseReaderKey(key)]);
  const tiles = new v.TrustedTiles(checkpoint.size, checkpoint.root, get);
  await tiles.edge();
  const last = Number(checkpoint.size) - 1;
  for (const number of new Set([0, last])) {
    const index = Math.floor(number / 256), width = tiles.width(0, index), leaves = await tiles.tile(0, index);
    await v.checkBundle(v.splitBundle(await get(v.tilePath("entries", index, width)), width), leaves);
  }
  return box("good", "The published tree holds together", [`${checkpoint.size} entries of ${d.visible(checkpoint.origin)}, signed by your key. The first and the last tiles lead to the root that the checkpoint signs.`, note.signatures.length > 1 ? `${d.counted(note.signatures.length - 1, "more signature")} by others, not checked: no key of theirs was given.` : null].filter(Boolean));
}
const box = (kind, title, lines) => h("div", { id: "verdict", class: `verdict ${kind}`, role: "status", "data-verdict": kind, "data-done": true }, h("p", { class: "verdict-title" }, title), lines.map(line => h("p", null, line)));
let turn = 0;
async function show() {
  const own = ++turn;
  let verdict;
  try { if (!v.canCheck()) throw new v.NotChecked("this browser cannot check here: WebCrypto needs https"); verdict = await look(); } catch (error) {
    const { kind, title, code } = d.verdictOf(error);
    verdict = box(kind, title, [[d.visible(error.message), code && [" ", h("code", null, code)]]]);
  }
  if (own !== turn) return;  // another key was given meanwhile
  const input = h("input", { id: "key", value: key, autocomplete: "off", spellcheck: "false", placeholder: "example.com/agents+1a2b3c4d+AbC…" });
  const submit = event => { event.preventDefault(); key = input.value.trim(); history.replaceState(null, "", `#key=${encodeURIComponent(key)}`); show(); };
  app.replaceChildren(h("p", { class: "kicker" }, "attestlog"), h("h1", null, "A published log"), h("p", { class: "lead" }, "This folder holds the log's checkpoint and tree: hashes, and nothing of what the entries say."), verdict,
    h("form", { class: "key", onsubmit: submit }, h("label", { for: "key" }, "Verifier key of the log, from somebody you trust and not from this server"), h("div", { class: "row" }, input, h("button", null, "Check"))),
    h("h2", null, "Check a file"), h("p", null, "Proofs, bundles and reports that somebody sent you are checked in this browser. They are not sent anywhere."), ...filePlace(() => key),
    h("p", { class: "note" }, "The code of this page came from the server as well. attestlog verify checks the folder and the files without it."));
}
show().catch(error => app.replaceChildren(box("bad", "Not checked", [`The page failed: ${error.message}`])));
