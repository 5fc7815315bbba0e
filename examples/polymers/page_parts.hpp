// The parts of the page that are the same in each.
#pragma once

namespace polymers {

inline constexpr char const* page_style = R"(
  :root { --ink: #1d2733; --dim: #64748b; --line: #dbe2ea; --accent: #1f6feb; --warm: #b45309; --paper: #ffffff; --back: #f4f6f9; }
  body { font: 15px/1.5 system-ui, sans-serif; color: var(--ink); background: var(--back); margin: 0; padding: 2rem; }
  main { max-width: 72rem; margin: auto; }
  h1 { font-size: 1.6rem; margin: 0 0 .3rem; } h2 { font-size: 1.15rem; margin: 2rem 0 .8rem; }
  p, dl { color: var(--dim); margin: .2rem 0 1rem; }
  dl { display: grid; grid-template-columns: max-content 1fr; gap: 0 1rem; font-size: .85rem; } dd { margin: 0; overflow-wrap: anywhere; }
  .cards { display: grid; grid-template-columns: repeat(auto-fill, minmax(min(21rem, 100%), 1fr)); gap: 1rem; }
  .card, .plot { background: var(--paper); border: 1px solid var(--line); border-radius: .6rem; padding: 1rem; break-inside: avoid; }
  .card svg { display: block; margin: 0 auto .4rem; max-width: 100%; }
  @media (min-width: 48rem) { .wide { grid-column: span 2; } .whole { grid-column: 1 / -1; } }
  code { color: var(--dim); font-size: .8rem; overflow-wrap: anywhere; } .card code { display: block; }
  .value { font-size: 1.5rem; font-weight: 600; } .value small { font-size: .9rem; font-weight: 400; color: var(--dim); }
  pre { margin: .3rem 0 0; font-size: .8rem; overflow-x: auto; }
  .error { color: #b42318; } .domain { font-size: .85rem; color: var(--dim); } .domain.out { color: var(--warm); }
  .plots { display: grid; grid-template-columns: repeat(auto-fit, minmax(min(26rem, 100%), 1fr)); gap: 1rem; max-width: 36rem; }
  .scroll { max-height: 32rem; overflow: auto; background: var(--paper); border: 1px solid var(--line); border-radius: .6rem; }
  table { border-collapse: collapse; width: 100%; font-size: .85rem; } td, th { padding: .25rem .6rem; text-align: left; border-bottom: 1px solid var(--line); }
  th { position: sticky; top: 0; background: var(--back); cursor: pointer; white-space: nowrap; } summary { cursor: pointer; margin: 1.5rem 0 .8rem; }
  text { font: 12px system-ui, sans-serif; fill: var(--dim); }
  @media (max-width: 40rem) {
    body { padding: 1rem .8rem; } dl { grid-template-columns: 1fr; } dd { margin-bottom: .4rem; }
    table { font-size: .75rem; } td, th { padding: .25rem .35rem; } td code { display: block; min-width: 6.5rem; } td:last-child { min-width: 7rem; }
    #filter { box-sizing: border-box; width: 100%; margin-bottom: .4rem; }
  }
  @media print {
    @page { margin: 14mm; }
    body { font-size: 12px; background: none; padding: 0; } .cards { grid-template-columns: repeat(3, 1fr); gap: .6rem; }
    .wide { grid-column: span 2; } .whole { grid-column: 1 / -1; } .card, .plot { padding: .6rem; } h2 { break-after: avoid; }
    .tools, details:not([open]) { display: none; } .scroll { max-height: none; overflow: visible; border: 0; }
    thead { display: table-header-group; } th { position: static; } tr { break-inside: avoid; } td, th { padding: .15rem .4rem; }
  }
)";

// Sorts the table by the column that is clicked, hides rows without the text of the filter, and offers
// what is shown as a file. Cells that a spreadsheet would compute get an apostrophe, as in --out.
inline constexpr char const* page_script = R"(
  const table = document.getElementById('rows'), body = table.tBodies[0];
  const cells = row => [...row.cells].map(cell => cell.textContent);
  const shown = () => [...body.rows].filter(row => !row.hidden);
  const count = () => { document.getElementById('count').textContent = shown().length + ' of ' + body.rows.length + ' rows'; };
  [...table.tHead.rows[0].cells].forEach((head, column) => head.addEventListener('click', () => {
    const down = head.dataset.order !== 'up';
    head.dataset.order = down ? 'up' : 'down';
    const value = row => { const text = row.cells[column].textContent, number = parseFloat(text); return text !== '' && text == number ? number : text; };
    const order = (a, b) => a === '' ? 1 : b === '' ? -1 : (a < b ? -1 : a > b ? 1 : 0) * (down ? 1 : -1);
    body.append(...[...body.rows].sort((one, other) => order(value(one), value(other))));
  }));
  document.getElementById('filter').addEventListener('input', event => {
    const wanted = event.target.value.toLowerCase();
    for (const row of body.rows) row.hidden = !row.textContent.toLowerCase().includes(wanted);
    count();
  });
  document.getElementById('download').addEventListener('click', () => {
    const safe = text => /^[=+\-@\t\r]/.test(text) && isNaN(text) ? "'" + text : text;
    const field = text => '"' + safe(text).replaceAll('"', '""') + '"';
    const lines = [cells(table.tHead.rows[0]), ...shown().map(cells)].map(row => row.map(field).join(','));
    const link = document.createElement('a');
    link.href = URL.createObjectURL(new Blob(['\ufeff' + lines.join('\r\n') + '\r\n'], {type: 'text/csv'}));
    link.download = 'glass-transitions.csv';
    link.click();
  });
  count();
)";

}  // namespace polymers
