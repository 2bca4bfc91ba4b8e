// Makes elements. Words are set as text, never as markup: names of accounts are written by strangers.

const SVG = "http://www.w3.org/2000/svg";

export const byId = (id) => document.getElementById(id);

function fill(made, attributes, children) {
  for (const [key, value] of Object.entries(attributes)) {
    if (value !== undefined && value !== false) made.setAttribute(key, value);
  }
  made.append(...children);
  return made;
}

export const element = (name, attributes = {}, ...children) => fill(document.createElement(name), attributes, children);

export const svg = (name, attributes = {}, ...children) => fill(document.createElementNS(SVG, name), attributes, children);

/** A table whose cells know their column's name: a phone shows each row as a card. */
export function fillTable(id, columns, rows) {
  const heads = columns.map((column) => element("th", { scope: "col", role: "columnheader" }, column));
  const bodies = rows.map((cells) => {
    const made = cells.map((cell, index) =>
      element(index ? "td" : "th", {
        role: index ? "cell" : "rowheader", scope: index ? undefined : "row", "data-label": columns[index],
        class: typeof cell === "number" ? "number" : undefined,
      }, element("span", {}, typeof cell === "number" ? cell.toLocaleString(document.documentElement.lang) : cell)),
    );
    return element("tr", { role: "row" }, ...made);
  });
  const table = byId(id);
  table.setAttribute("role", "table");
  table.replaceChildren(
    element("thead", { role: "rowgroup" }, element("tr", { role: "row" }, ...heads)),
    element("tbody", { role: "rowgroup" }, ...bodies),
  );
  return [...table.tBodies[0].rows];
}
