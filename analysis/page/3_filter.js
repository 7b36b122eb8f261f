// The leaderboard's filter: `success > 60 and lora_rank <= 16`, or words that must all occur.
const SIGNS = /^(>=|<=|!=|==|=|>|<|~)$/;
const plain = name => name.toLowerCase().replace(/[^a-z0-9]+/g, "_").replace(/^_|_$/g, "");

function tokenise(text) {
  const parts = text.matchAll(/"([^"]*)"|>=|<=|!=|==|[=<>~()]|[^\s=<>!~()"]+|\S/g);
  return [...parts].map(part => ({ text: part[1] ?? part[0], isQuoted: part[1] !== undefined }));
}

function parseFilter(text, columns) {  // returns row => Boolean; throws Error with a line to show
  const tokens = tokenise(text);
  let at = 0;
  const is = word => at < tokens.length && !tokens[at].isQuoted
    && tokens[at].text.toLowerCase() === word;
  const take = word => is(word) && ++at > 0;

  function either() {
    const parts = [both()];
    while (take("or")) parts.push(both());
    return row => parts.some(part => part(row));
  }
  function both() {
    const parts = [];
    while (at < tokens.length && !is("or") && !is(")")) {
      if (take("and")) continue;
      parts.push(one());
    }
    if (!parts.length) throw Error("something is missing beside and, or, not");
    return row => parts.every(part => part(row));
  }
  function one() {
    if (take("not")) {
      if (at >= tokens.length) throw Error("something is missing after not");
      const part = one();
      return row => !part(row);
    }
    if (take("(")) {
      const part = either();
      if (!take(")")) throw Error("a ) is missing");
      return part;
    }
    const token = tokens[at++];
    const sign = tokens[at];
    if (sign && !sign.isQuoted && SIGNS.test(sign.text)) {
      at += 1;
      const value = tokens[at++];
      if (!value) throw Error("a value is missing after " + sign.text);
      return comparison(findColumn(token.text, columns), sign.text, value.text);
    }
    const word = token.text.toLowerCase();
    return row => row.textContent.toLowerCase().includes(word);
  }
  const whole = tokens.length ? either() : () => true;
  if (at < tokens.length) throw Error("there is one ) too many");
  return whole;
}

function findColumn(name, columns) {
  const asked = plain(name);
  const exact = columns.findIndex(column => plain(column) === asked);
  if (exact >= 0) return exact;
  const near = columns.map((column, i) => [plain(column), i]).filter(([c]) => c.startsWith(asked));
  if (near.length === 1) return near[0][1];
  throw Error("no column " + name + ": try " + columns.slice(0, 12).map(plain).join(", "));
}

function comparison(column, sign, wanted) {
  return row => {
    const value = row.cells[column].dataset.value;
    if (value === "") return false;
    const areNumbers = !isNaN(value) && !isNaN(wanted);
    const [a, b] = areNumbers ? [Number(value), Number(wanted)]
      : [value.toLowerCase(), wanted.toLowerCase()];
    switch (sign) {
      case ">": return a > b;
      case "<": return a < b;
      case ">=": return a >= b;
      case "<=": return a <= b;
      case "!=": return a !== b;
      case "~": return String(a).includes(String(b));
      default: return a === b;
    }
  };
}
