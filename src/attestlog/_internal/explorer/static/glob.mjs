// Patterns of names, as policies and queries have them: `*` any run, `?` any one, a backslash makes the next one plain.
// As in core/glob.py, none takes more than length times length steps: a regular expression with many stars would.
const ANY = 1, RUN = 2;

/** Whether the whole text is of this pattern. */
export function matches(pattern, text) {
  const tokens = [...pattern.matchAll(/\\(.)|(.)/gsu)].map(([, plain, one]) => plain ?? (one === "*" ? RUN : one === "?" ? ANY : one)), letters = [...text];
  let at = 0, token = 0, run = -1, begun = 0;
  while (at < letters.length) {
    if (tokens[token] === RUN) { run = token++; begun = at; }
    else if (tokens[token] === ANY || tokens[token] === letters[at]) { token++; at++; }
    else if (run >= 0) { token = run + 1; at = ++begun; }
    else return false;
  }
  return tokens.slice(token).every(one => one === RUN);
}
