// What both pages draw with: elements whose text is text and never markup, and pictures as SVG.

const SVG = "http://www.w3.org/2000/svg";
function fill(element, attributes, children) {
  for (const [name, value] of Object.entries(attributes ?? {})) {
    if (value === null || value === undefined || value === false) continue;
    if (name.startsWith("on")) element.addEventListener(name.slice(2), value);
    else element.setAttribute(name, value === true ? "" : String(value));
  }
  element.append(...children.flat(3).filter(child => child !== null && child !== undefined && child !== false).map(child => child instanceof Node ? child : String(child)));
  return element;
}
export const h = (tag, attributes, ...children) => fill(document.createElement(tag), attributes, children);
export const svg = (tag, attributes, ...children) => fill(document.createElementNS(SVG, tag), attributes, children);

export const PILLARS = { an_toan: "Safety", duong_dai: "Long term", tin_vao_so_lieu: "Trust in data", han_che_rui_ro: "Limiting risk" };
export const INVARIANTS = {
  INVARIANT_1_APPEND_ONLY: "1 Append only", INVARIANT_2_SAFETY_FLOOR: "2 Safety floor", INVARIANT_3_K1_STATE: "3 No conflict (K=1)",
  INVARIANT_4_PROOFS: "4 Proofs", INVARIANT_5_QUORUM: "5 Quorum", INVARIANT_6_ROLLBACK: "6 Rollback", INVARIANT_7_ATTRIBUTION: "7 Attribution",
};
export const time = text => `${text.slice(0, 10)} ${text.slice(11, 19)}`;
export const short = hash => `${hash.slice(0, 12)}…`;
export const named = id => (/^[0-9a-f]{64}$/.test(id) ? h("span", { title: id }, short(id)) : visible(id));
export const counted = (count, one, many = `${one}s`) => `${count.toLocaleString("en")} ${count === 1 ? one : many}`;
export const tally = (items, key) => { const found = new Map(); for (const item of items) { const name = key(item); if (name !== null && name !== undefined) found.set(name, (found.get(name) ?? 0) + 1); } return [...found].sort((a, b) => b[1] - a[1] || (a[0] < b[0] ? -1 : 1)); };

export const badge = text => h("span", { class: `badge ${text.toLowerCase()}` }, text.replace("_", " ").toLowerCase());
export function table(caption, columns, rows, kind = "") {
  return h("div", { class: `scroll ${kind}`, tabindex: 0, role: "region", "aria-label": caption }, h("table", null, h("caption", null, caption),
    h("thead", null, h("tr", null, columns.map(([name, kind]) => h("th", { scope: "col", class: kind }, name)))),
    h("tbody", null, rows.map(cells => h("tr", null, cells.map((cell, at) => h(at ? "td" : "th", { class: columns[at][1], scope: at ? null : "row" }, cell)))))));
}

/** A picture that scrolls where there is less room than its words need. */
const picture = (...parts) => h("div", { class: "scroll" }, svg(...parts));
const X = 104, SCALE = 22;
/** The four scores and their composite as bars from 0 to 10, against the floor in force. */
export function pillarsPicture(entry, floor) {
  const rows = [...Object.entries(PILLARS).map(([key, name]) => [name, entry.pillars_scores[key]]), ["Composite", entry.composite_score]];
  const height = rows.length * 30 + 30, said = rows.map(([name, score]) => `${name} ${score ?? "not scored"}`).join(", ");
  return picture("svg", { class: "picture", viewBox: `0 0 376 ${height}`, role: "img", "aria-label": `${said}; floor ${floor ?? "unknown"}` },
    rows.map(([name, score], at) => {
      const y = 8 + at * 30;
      return [svg("text", { x: X - 12, y: y + 15, "text-anchor": "end" }, name), svg("rect", { class: "track", x: X, y, width: 10 * SCALE, height: 20, rx: 3 }),
        score === undefined || score === null ? svg("text", { class: "faint", x: X + 8, y: y + 15 }, "not scored")
          : [svg("rect", { class: floor !== null && score < floor ? "low" : "bar", x: X, y, width: Math.max(2, score * SCALE), height: 20, rx: 3 }),
            svg("text", { class: "value", x: X + 10 * SCALE + 8, y: y + 15 }, String(score))]];
    }),
    floor === null ? null : [svg("line", { class: "floor", x1: X + floor * SCALE, x2: X + floor * SCALE, y1: 2, y2: rows.length * 30 + 6 }),
      svg("text", { class: "floor-label", x: X + floor * SCALE, y: rows.length * 30 + 21, "text-anchor": "middle" }, `floor ${floor}`)]);
}
/** Scores over time, one row a pillar. `points`: [{time (ms), scores: {name: number}, floor}]. */
export function scoresPicture(points) {
  const names = { composite: "Composite", ...PILLARS }, row = 58, width = 900, left = 116, right = 16;
  const used = Object.entries(names).filter(([key]) => points.some(point => typeof point.scores[key] === "number"));
  if (!used.length) return h("p", { class: "faint" }, "No entry here has scores.");
  const times = points.map(point => point.time), from = Math.min(...times), span = Math.max(1, Math.max(...times) - from);
  const x = at => left + (width - left - right) * (times.length === 1 ? 0.5 : (at - from) / span), height = used.length * row + 24;
  const say = used.map(([key, name]) => { const scores = points.map(point => point.scores[key]).filter(score => typeof score === "number"); return `${name} from ${Math.min(...scores).toFixed(1)} to ${Math.max(...scores).toFixed(1)}`; });
  return picture("svg", { class: "picture wide", viewBox: `0 0 ${width} ${height}`, role: "img", "aria-label": `Scores over time. ${say.join("; ")}.` },
    used.map(([key, name], at) => {
      const y = score => at * row + row - 8 - score * (row - 16) / 10, scored = points.filter(point => typeof point.scores[key] === "number");
      return [svg("text", { x: left - 12, y: y(5) + 4, "text-anchor": "end" }, name), svg("line", { class: "axis", x1: left, x2: width - right, y1: y(0), y2: y(0) }),
        svg("polyline", { class: "floor", points: points.filter(point => typeof point.floor === "number").map(point => `${x(point.time).toFixed(1)},${y(point.floor).toFixed(1)}`).join(" ") }),
        svg("polyline", { class: "line", points: scored.map(point => `${x(point.time).toFixed(1)},${y(point.scores[key]).toFixed(1)}`).join(" ") }),
        scored.length > 300 ? null : scored.map(point => svg("circle", { class: typeof point.floor === "number" && point.scores[key] < point.floor ? "low" : "dot", cx: x(point.time).toFixed(1), cy: y(point.scores[key]).toFixed(1), r: 3 })),
        [10, 0].map(score => svg("text", { class: "faint", x: left - 6, y: y(score) + 4, "text-anchor": "end" }, score))];
    }),
    svg("text", { class: "faint", x: left, y: height - 6 }, time(new Date(from).toISOString())),
    times.length > 1 ? svg("text", { class: "faint", x: width - right, y: height - 6, "text-anchor": "end" }, time(new Date(from + span).toISOString())) : null);
}
/** Horizontal bars: [[name, count]]. */
export function barsPicture(label, rows) {
  const most = Math.max(1, ...rows.map(([, count]) => count));
  return picture("svg", { class: "picture", viewBox: `0 0 400 ${rows.length * 26 + 6}`, role: "img", "aria-label": `${label}: ${rows.map(([name, count]) => `${name} ${count}`).join(", ")}` },
    rows.map(([name, count], at) => [svg("text", { x: 168, y: at * 26 + 19, "text-anchor": "end" }, name.length > 23 ? `${name.slice(0, 22)}…` : name),
      svg("rect", { class: count ? "bar" : "track", x: 178, y: at * 26 + 5, width: Math.max(2, 160 * count / most), height: 18, rx: 3 }),
      svg("text", { class: "value", x: 186 + Math.max(2, 160 * count / most), y: at * 26 + 19 }, count.toLocaleString("en"))]));
}
/** When things happened, a line for each kind: [[name, times in ms]]. */
export function momentsPicture(label, rows) {
  const left = 142, width = 420, all = rows.flatMap(([, times]) => times), from = Math.min(...all), span = Math.max(1, Math.max(...all) - from), x = at => (left + 8 + (width - left - 50) * (from + span === from + 1 ? 0.5 : (at - from) / span)).toFixed(1), height = rows.length * 28 + 26;
  return picture("svg", { class: "picture", viewBox: `0 0 ${width} ${height}`, role: "img", "aria-label": `${label}: ${rows.map(([name, times]) => `${name} ${times.length}`).join(", ")}` },
    rows.map(([name, times], at) => { const y = at * 28 + 14; return [svg("text", { x: left - 12, y: y + 5, "text-anchor": "end" }, name), svg("line", { class: "axis", x1: left, x2: width - 34, y1: y, y2: y }), times.map(one => svg("circle", { class: "low moment", cx: x(one), cy: y, r: 5 })), svg("text", { class: times.length ? "value" : "faint", x: width - 24, y: y + 5 }, times.length)]; }),
    svg("text", { class: "faint", x: left, y: height - 4 }, day(from)), span > 1 ? svg("text", { class: "faint", x: width - 34, y: height - 4, "text-anchor": "end" }, day(from + span)) : null);
}
const day = at => new Date(at).toISOString().slice(0, 10);
/** How an error of a check is called: {kind, title, code}; could not look, another's log, or does not hold. */
export function verdictOf(error) {
  if (error.code === undefined) throw error;
  if (error.name === "NotChecked") return { kind: "unknown", title: "Not checked", code: null };
  return { kind: "bad", title: error.finding === "trust.mismatch" ? "Not the log of your key" : "Does not hold", code: error.finding || error.code };
}
/** Words from somebody else's log: what cannot be seen, or turns the reading direction, stands as an escape. */
export const visible = text => text.replace(/[\u0000-\u001f]/g, escaped).replace(HIDDEN, escaped);
const HIDDEN = /[\u007f-\u009f\u00ad\u061c\u180e\u200b-\u200f\u2028-\u202e\u2060-\u206f\ufeff\ufff9-\ufffb]|\udb40[\udc00-\udfff]/g;
const escaped = characters => [...Array(characters.length)].map((_, at) => `\\u${characters.charCodeAt(at).toString(16).padStart(4, "0")}`).join("");
/** A JSON value for people: names and values as text, nested as they are. */
export const json = (value, label) => h("pre", { tabindex: 0, role: "region", "aria-label": label }, JSON.stringify(value, null, 2).replace(HIDDEN, escaped));
