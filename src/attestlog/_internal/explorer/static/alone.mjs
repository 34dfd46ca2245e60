// The checker in one file: no server and no log, only a key and the files that are dropped on it.
import { filePlace } from "./file.mjs";
import * as d from "./draw.mjs";
const { h } = d;

const input = h("input", { id: "key", autocomplete: "off", spellcheck: "false", placeholder: "example.com/agents+1a2b3c4d+AbC…", value: decodeURIComponent(location.hash.match(/^#key=(.+)$/)?.[1] ?? "") });
document.getElementById("app").replaceChildren(h("p", { class: "kicker" }, "attestlog"), h("h1", null, "Check files of a log"),
  h("p", { class: "lead" }, "Everything happens in this browser. This page asks nobody for anything."),
  h("div", { class: "key" }, h("label", { for: "key" }, "Verifier key of the log, from somebody you trust"), h("div", { class: "row" }, input)), ...filePlace(() => input.value.trim()));
